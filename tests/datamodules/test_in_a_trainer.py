"""Which batches training sees is a function of seed, epoch and batch, whatever the Trainer is asked for."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_lightning.callbacks import GradientAccumulationScheduler, ModelCheckpoint
from torch import Tensor

from datamodules import DigitPairs
from lightning_modules import PairModule, WeightSharing

Seen = dict[tuple[int, int], Tensor]


class Watch(pl.Callback):
    """Keeps the images of every training batch, by epoch and number."""

    def __init__(self) -> None:
        self.seen: Seen = {}

    def on_train_batch_start(self, trainer: pl.Trainer, module: Any, batch: Any, batch_idx: int) -> None:
        self.seen[trainer.current_epoch, batch_idx] = batch[0]


def trainer(*callbacks: pl.Callback, **arguments: Any) -> pl.Trainer:
    return pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
        **{"max_epochs": 3, "enable_checkpointing": False, **arguments},
    )


def pairs(**arguments: Any) -> DigitPairs:
    return DigitPairs(50, 20, 2, batch_size=10, **{"augment": "bicubic", **arguments})


def fit(data: DigitPairs, alone: bool = False, **arguments: Any) -> Seen:
    watch = Watch()
    if alone:
        data.setup()
        trainer(watch, **arguments).fit(WeightSharing(), data.train_dataloader())
    else:
        trainer(watch, **arguments).fit(WeightSharing(), data)
    return watch.seen


@pytest.fixture(scope="module")
def plain() -> Seen:
    """What training sees that is asked for nothing."""
    seen = fit(pairs())
    assert len(seen) == 15
    images = [image for batch in seen.values() for image in batch.flatten(0, 1).flatten(1)]
    assert len(torch.stack(images).unique(dim=0)) == 15 * 20  # each is warped by itself
    return seen


OPTIONS: list[dict[str, Any]] = [
    {"accumulate_grad_batches": 2},
    {"val_check_interval": 2},
    {"limit_train_batches": 3},
    {"reload_dataloaders_every_n_epochs": 1},
    {"max_epochs": None, "max_steps": 12},
    {"max_epochs": -1, "max_steps": 6, "accumulate_grad_batches": 2},
    {"alone": True},
    {"alone": True, "accumulate_grad_batches": 2, "limit_train_batches": 3},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_a_batch_depends_on_its_epoch_and_number_alone(options: dict[str, Any], plain: Seen) -> None:
    seen = fit(pairs(), **options)
    assert len(seen) >= 9
    for place, images in seen.items():
        assert torch.equal(images, plain[place]), place


@pytest.mark.parametrize("alone", [False, True])
def test_batches_that_are_to_be_overfitted_are_the_same_in_every_epoch(alone: bool) -> None:
    seen = fit(pairs(augment="none"), alone, overfit_batches=2)
    assert len(seen) == 6
    for (_, number), images in seen.items():
        assert torch.equal(images, seen[0, number])


@pytest.mark.parametrize(
    ("arguments", "first"),
    [
        ({"max_epochs": 4}, 2),
        ({"max_epochs": 4, "accumulate_grad_batches": 2}, 2),
        ({"max_epochs": 4, "limit_train_batches": 3}, 2),
        ({"max_epochs": None, "max_steps": 20}, 2),
        ({"max_epochs": -1, "max_steps": 11}, 2),
        ({"max_epochs": 100, "max_steps": 10}, 1),
        ({"max_epochs": 3}, 2),
    ],
)
def test_pairs_come_in_two_views_from_the_share_of_training_on(arguments: dict[str, Any], first: int) -> None:
    seen = fit(pairs(two_views_from=0.5), **arguments)
    for (epoch, _), images in seen.items():
        assert len(images) == (20 if epoch >= first else 10), epoch


@settings(max_examples=50)
@given(epochs=st.integers(1, 200), data=st.data())
def test_a_share_of_epochs_is_that_epoch_in_spite_of_rounding(epochs: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, epochs))
    module = pairs(two_views_from=first / epochs)
    module.trainer = cast(
        "pl.Trainer",
        SimpleNamespace(
            training=True,
            estimated_stepping_batches=20 * epochs,
            num_training_batches=20,
            accumulate_grad_batches=1,
        ),
    )
    assert [module._views(epoch) for epoch in range(epochs)] == [1] * first + [2] * (epochs - first)


@pytest.mark.parametrize(("share", "first"), [(0.28, 7), (0.2, 5), (0.56, 14), (0.07, 2)])
def test_the_second_view_comes_with_the_given_share_of_25_epochs(share: float, first: int) -> None:
    seen = fit(pairs(two_views_from=share), max_epochs=25, limit_train_batches=1, limit_val_batches=0)
    assert [len(images) for images in seen.values()] == [10] * first + [20] * (25 - first)


LATENT: dict[str, Any] = {"trunk": "modern", "width": 4, "head": "exact"}
ENDLESS: dict[str, Any] = {"max_epochs": -1, "max_time": "00:00:00:20"}
NEEDS_AN_END: list[tuple[Any, Any, dict[str, Any], str]] = [
    ({"schedule": "warmup_linear"}, {}, ENDLESS, "schedule warmup_linear needs an end of training: give the"),
    ({}, {"two_views_from": 0.5}, ENDLESS, "two_views_from is a share of training, which must have an end"),
    (
        {**LATENT, "consistency": 1.0, "two_views_from": 0.0},
        {"two_views_from": 0.0},
        ENDLESS,
        "needs an end of training",
    ),
    ({**LATENT, "reorder": True, "split_merged": True}, {}, ENDLESS, "needs an end of training"),
    (
        {"schedule": "warmup_linear"},
        {},
        {"callbacks": [GradientAccumulationScheduler({1: 2})]},
        "GradientAccumulationScheduler changes",
    ),
]


@pytest.mark.parametrize(("module", "data", "arguments", "message"), NEEDS_AN_END)
def test_a_share_of_a_training_without_a_known_end_is_refused(
    module: Any, data: Any, arguments: dict[str, Any], message: str
) -> None:
    arguments = dict(arguments)
    fitter = trainer(*arguments.pop("callbacks", []), **arguments)
    with pytest.raises(ValueError, match=message) as refusal:
        fitter.fit(WeightSharing(**module), pairs(**data))
    assert "\n" not in str(refusal.value)


def test_without_a_share_training_by_time_needs_no_end() -> None:
    data = pairs(two_views_from=0.0)
    watch = Watch()
    trainer(watch, max_epochs=-1, max_time={"seconds": 1}).fit(WeightSharing(), data)
    assert {len(images) for images in watch.seen.values()} == {20}


def test_a_loader_that_cannot_know_when_the_second_view_comes_says_so() -> None:
    data = pairs(two_views_from=0.5)
    with pytest.raises(ValueError, match="give the Trainer the data module, not its loader"):
        fit(data, alone=True)


class KeepAll(ModelCheckpoint):
    """Keeps a checkpoint after some steps, or each validation."""

    def __init__(self, folder: Path, **when: Any) -> None:
        super().__init__(folder, filename="{step}", save_top_k=-1, **when)


@pytest.mark.parametrize(
    ("when", "arguments"),
    [
        ({"every_n_train_steps": 1}, {}),
        ({}, {"val_check_interval": 2}),
        ({"every_n_train_steps": 1}, {"accumulate_grad_batches": 2}),
        ({"every_n_train_steps": 1}, {"limit_train_batches": 4}),
    ],
)
@pytest.mark.parametrize("model", [WeightSharing])
def test_training_goes_on_exactly_from_the_middle_of_an_epoch(
    model: Callable[..., PairModule], when: dict[str, Any], arguments: dict[str, Any], tmp_path: Path
) -> None:
    def train(path: str | None, *callbacks: pl.Callback) -> tuple[PairModule, Seen]:
        module, watch = model(seed=[3, 4]), Watch()
        options = {"enable_checkpointing": bool(callbacks), "max_epochs": 2, **arguments}
        fitter = trainer(watch, *callbacks, precision="64-true", num_sanity_val_steps=0, **options)
        fitter.fit(module, pairs(seed=[3, 4]), ckpt_path=path, weights_only=True)
        return module, watch.seen

    whole, seen = train(None, KeepAll(tmp_path, **when))
    paths = sorted(tmp_path.iterdir(), key=lambda path: int(path.stem.partition("=")[2]))
    assert len(paths) >= 4
    for path in paths[1:-1:3]:  # at the last nothing is left to train
        module, rest = train(str(path))
        assert rest.keys() == set(list(seen)[len(seen) - len(rest) :])
        for place, images in rest.items():
            assert torch.equal(images, seen[place])
        for name, value in whole.network.state_dict().items():
            assert torch.equal(module.network.state_dict()[name], value), (path.name, name)
        for tag, figure in whole.epoch_metrics("train").items():
            assert torch.equal(module.epoch_metrics("train")[tag], figure), (path.name, tag)


@pytest.mark.parametrize("split", ["val", "test"])
def test_fewer_pairs_than_processes_are_refused(split: str) -> None:
    data = DigitPairs(50, *((2, 20) if split == "val" else (20, 2)))
    data.setup()
    data.trainer = cast("pl.Trainer", SimpleNamespace(global_rank=0, world_size=3, overfit_batches=0))
    with pytest.raises(ValueError, match=f"{split}_pairs must be at least 3, one for each process, got 2"):
        getattr(data, f"{split}_dataloader")()


def test_a_loader_of_other_processes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = pairs()
    data.setup()
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    with pytest.raises(ValueError, match="shares its pairs among 1 processes, but there are 2"):
        next(iter(data.test_dataloader()))
