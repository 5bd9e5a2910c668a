"""What a GPU would run, on the CPU: torch's operations, R in the dozens, nothing that waits for the host."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from datamodules import DigitPairs
from lightning_modules import PairModule
from lightning_modules.models.registry import MODULES
from lightning_modules.replicas.dropout import Dropout
from lightning_modules.replicas.fused.sequential import set_engine

MANY = list(range(64))


class NoWaiting(TorchDispatchMode):
    """Refuses what makes the host wait for the device: to read a number, or to learn a shape from values."""

    WAITS = ("_local_scalar_dense", "nonzero", "is_nonzero", "masked_select", "unique", "equal")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert not any(name in str(func) for name in self.WAITS), f"{func} waits for the device"
        return func(*args, **(kwargs or {}))


def an_epoch(module: PairModule, data: DigitPairs) -> None:
    """Train on every pair once, as the Trainer does."""
    optimizer = module.make_optimizer()
    for number, batch in enumerate(data.train_dataloader()):
        loss = module.training_step(batch, number)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def replicas(
    model: str, engine: Any, layout: Any = "auto", seeds: Sequence[int] = MANY
) -> tuple[PairModule, DigitPairs]:
    module = MODULES[model](seed=seeds, lr=0.01).double()
    set_engine(module.network, engine, layout)
    data = DigitPairs(train_pairs=40, val_pairs=0, batch_size=20, seed=seeds)
    data.setup()
    data.train_digits = type(data.train_digits)(data.train_digits.images.double(), data.train_digits.labels)
    return module, data


@pytest.mark.parametrize(
    ("model", "layout"),
    [
        ("cnn", "contiguous"),
        ("auxiliary", "channels_last"),
        *(
            pytest.param(model, layout, marks=pytest.mark.slow)
            for model, layout in (
                ("cnn", "channels_last"),
                ("weight_sharing", "channels_last"),
                ("weight_sharing", "contiguous"),
                ("auxiliary", "contiguous"),
            )
        ),
    ],
)
def test_64_replicas_by_torchs_operations_train_as_by_the_fused_ones(model: str, layout: Any) -> None:
    trained: list[dict[str, Tensor]] = []
    for engine, own_layout in (("fused", "channels_last"), ("torch", layout)):
        torch.manual_seed(0)  # no Trainer here, whose epochs seed dropout
        module, data = replicas(model, engine, own_layout)
        an_epoch(module, data)
        trained.append(module.network.state_dict())
    for name, value in trained[0].items():
        torch.testing.assert_close(trained[1][name], value, rtol=1e-9, atol=1e-9, msg=name)


@pytest.mark.parametrize("model", MODULES)
def test_no_step_of_an_epoch_waits_for_the_device(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Dropout, "mask", Dropout._device_mask)  # what other devices draw by
    module, data = replicas(model, "torch", seeds=MANY[:4])
    with NoWaiting():  # type: ignore[no-untyped-call]
        an_epoch(module, data)


def test_the_watch_itself_sees_a_number_being_read() -> None:
    with pytest.raises(AssertionError, match="waits"), NoWaiting():  # type: ignore[no-untyped-call]
        torch.ones(1).item()
