"""Whatever the Trainer is asked for, a replica is what its seed is when trained alone; or it is refused."""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning import callbacks
from pytorch_lightning.plugins.precision import MixedPrecision
from torch import nn

from datamodules import DigitPairs
from lightning_modules import PairModule, PlainCNN, WeightSharing
from lightning_modules.models.settings import PlainCNNSettings
from lightning_modules.replicas.apart import clip_norms, weigh_by_pairs
from lightning_modules.replicas.state import export_replica
from lightning_modules.training import studies
from lightning_modules.training.execution import ExecutionConfig

SEEDS = [7, 3, 5]
LR = [0.01, 0.005, 0.02]


def trainer(**arguments: Any) -> pl.Trainer:
    return pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"max_epochs": 2, **arguments},
    )


def fit(seeds: list[int], lr: Any, arguments: Callable[[], dict[str, Any]]) -> PairModule:
    module = PlainCNN(seed=seeds, lr=lr)
    data = DigitPairs(train_pairs=60, val_pairs=20, test_pairs=2, batch_size=20, seed=seeds)
    trainer(precision="64-true", **arguments()).fit(module, data)
    return module


OPTIONS: dict[str, tuple[Any, Callable[[], dict[str, Any]]]] = {
    "clipping by norm": (LR, lambda: {"gradient_clip_val": 0.5}),
    "clipping by value": (LR, lambda: {"gradient_clip_val": 1e-3, "gradient_clip_algorithm": "value"}),
    "accumulation": (LR, lambda: {"accumulate_grad_batches": 2, "gradient_clip_val": 0.5}),
    "anomalies": (LR, lambda: {"detect_anomaly": True}),
    "steps": (LR, lambda: {"max_epochs": None, "max_steps": 4, "val_check_interval": 2}),
    "one batch": (LR, lambda: {"overfit_batches": 1}),
    "fewer batches": (LR, lambda: {"limit_train_batches": 2, "reload_dataloaders_every_n_epochs": 1}),
    "averaged weights": (0.01, lambda: {"callbacks": [callbacks.StochasticWeightAveraging(0.01, 0.5)]}),
    "moving average": (LR, lambda: {"callbacks": [callbacks.EMAWeightAveraging()]}),
    "accumulation by epoch": (LR, lambda: {"callbacks": [callbacks.GradientAccumulationScheduler({1: 3})]}),
}


@pytest.mark.parametrize("option", OPTIONS)
def test_a_replica_is_what_its_seed_is_alone_under_each_option_of_the_trainer(option: str) -> None:
    rates, arguments = OPTIONS[option]
    together = fit(SEEDS, rates, arguments).network.state_dict()
    number = 1
    alone = fit(SEEDS[number : number + 1], rates[number] if rates is LR else rates, arguments)
    for name, value in export_replica(together, number, len(SEEDS)).items():
        torch.testing.assert_close(value, alone.network.state_dict()[name], rtol=1e-9, atol=1e-11, msg=name)


def test_clipping_is_torchs_for_each_replica_and_the_norm_of_the_others_does_not_matter() -> None:
    torch.manual_seed(0)
    shapes = [(6, 4), (6,), (12, 2, 3, 3)]
    parameters = [nn.Parameter(torch.zeros(shape, dtype=torch.float64)) for shape in shapes]
    frozen = nn.Parameter(torch.zeros(3))  # without a gradient
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
        parameter.grad[: len(parameter) // 3] *= (
            1e-3  # the first replica's is small, the second's is not finite
        )
        parameter.grad[len(parameter) // 3 : 2 * len(parameter) // 3] = torch.nan
    expected = []
    for r in range(3):
        own = [nn.Parameter(p.detach().chunk(3)[r].clone()) for p in parameters]
        for mine, whole in zip(own, parameters, strict=True):
            assert whole.grad is not None
            mine.grad = whole.grad.chunk(3)[r].clone()
        torch.nn.utils.clip_grad_norm_(own, 0.5)
        expected.append([mine.grad for mine in own])
    clip_norms([*parameters, frozen], 0.5, 3)
    for r in range(3):
        for parameter, theirs in zip(parameters, expected[r], strict=True):
            assert parameter.grad is not None
            torch.testing.assert_close(parameter.grad.chunk(3)[r], theirs, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("algorithm", ["norm", "value"])
def test_mixed_precision_clips_under_the_fused_optimiser(algorithm: str) -> None:
    module, largest = WeightSharing(seed=[0, 1]), list[float]()

    class Watch(pl.Callback):
        def on_before_zero_grad(self, *_: Any) -> None:
            largest.extend(p.grad.abs().max().item() for p in module.parameters() if p.grad is not None)

    options = {"precision": "bf16-mixed", "gradient_clip_val": 1e-3, "gradient_clip_algorithm": algorithm}
    data = DigitPairs(train_pairs=60, val_pairs=0, test_pairs=2, batch_size=20, seed=[0, 1])
    trainer(**options, max_epochs=1, callbacks=[Watch()]).fit(module, data)
    assert largest
    assert 0 < max(largest) <= 1e-3 * 1.01


class LineSearch(PlainCNN):
    """A user's own choice of optimiser."""

    def configure_optimizers(self) -> Any:
        return torch.optim.LBFGS(self.network.parameters())


def half() -> dict[str, Any]:
    """Lightning has float16 on GPUs only; its plugin can be had here too."""
    return {"plugins": [MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))]}


REFUSED: list[tuple[type[PlainCNN], Any, Callable[[], dict[str, Any]], str]] = [
    (PlainCNN, 0.1, half, "precision 16-mixed skips the step of all 3 replicas.*take bf16-mixed"),
    (PlainCNN, 0.1, lambda: {"callbacks": [callbacks.ModelPruning("l1_unstructured")]}, "prune one replica"),
    (PlainCNN, LR, lambda: {"callbacks": [callbacks.StochasticWeightAveraging(0.1)]}, "same lr"),
    (LineSearch, 0.1, dict, "LBFGS does not train replicas apart"),
]


@pytest.mark.parametrize(("model", "lr", "arguments", "message"), REFUSED)
def test_what_would_couple_replicas_is_refused(
    model: type[PlainCNN], lr: Any, arguments: Callable[[], dict[str, Any]], message: str
) -> None:
    data = DigitPairs(train_pairs=60, val_pairs=0, test_pairs=2, seed=SEEDS)
    with pytest.raises(ValueError, match=message) as refusal:
        trainer(**arguments()).fit(model(seed=SEEDS, lr=lr), data)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("runs", "replicas", "settings", "refused"),
    [(2, None, {}, True), (2, 1, {}, False), (1, None, {}, False), (1, None, {"restarts": 2}, True)],
)
def test_a_study_whose_programs_would_couple_replicas_is_refused_before_it_begins(
    runs: int, replicas: int | None, settings: dict[str, Any], refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studies, "make_trainer", lambda arguments: trainer(**half()))
    choice = ExecutionConfig(workers=1, replicas=replicas)
    with pytest.raises(ValueError, match="precision 16-mixed skips") if refused else nullcontext():
        studies.make_study(PlainCNNSettings(**settings), range(runs), DigitPairs, {}, choice)


@pytest.mark.parametrize("arguments", [lambda: {**half(), "gradient_clip_val": 0.5}, REFUSED[1][2]])
def test_one_replica_may_do_it(arguments: Callable[[], dict[str, Any]]) -> None:
    data = DigitPairs(train_pairs=60, val_pairs=0, test_pairs=2)
    trainer(max_epochs=1, **arguments()).fit(PlainCNN(), data)


def gradient_of_process(sizes: list[int], rank: int, monkeypatch: pytest.MonkeyPatch) -> torch.Tensor:
    """Of the squares' mean over a process's share of the numbers 0, 1, 2, ..."""
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: len(sizes))
    monkeypatch.setattr("torch.distributed.all_reduce", lambda count: count.fill_(sum(sizes)))
    numbers = torch.arange(float(sum(sizes))).split(sizes)[rank]
    weight = torch.ones((), requires_grad=True)
    weigh_by_pairs((weight * numbers).square().mean(), len(numbers)).backward()
    assert weight.grad is not None
    return weight.grad


@pytest.mark.parametrize("sizes", [[2, 3], [5, 5], [1, 4, 2]])
def test_the_average_of_uneven_processes_gradients_is_the_mean_over_all_pairs(
    sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    gradients = [gradient_of_process(sizes, rank, monkeypatch) for rank in range(len(sizes))]
    expected = 2 * torch.arange(float(sum(sizes))).square().mean()
    torch.testing.assert_close(torch.stack(gradients).mean(), expected)


STEP = """
import sys
import torch
import pytorch_lightning as pl
from datamodules import DigitPairs
from lightning_modules import PlainCNN

def step(**processes):
    module = PlainCNN(seed=[0, 1], lr=[0.1, 0.01])
    module.network.eval()  # each process would normalise by its own pairs
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", precision="64-true", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, gradient_clip_val=1.0, **processes
    )
    trainer.fit(module, DigitPairs(train_pairs=5, val_pairs=0, test_pairs=2, batch_size=50, seed=[0, 1]))
    return module.network.state_dict(), trainer.is_global_zero

alone, _ = step(devices=1)
shared, main = step(devices=2, strategy="ddp")
if main:
    for name, value in alone.items():
        torch.testing.assert_close(shared[name], value, rtol=0, atol=1e-12)
"""


@pytest.mark.slow
def test_a_step_of_two_processes_with_uneven_shares_is_the_step_of_one_with_all_pairs(tmp_path: Path) -> None:
    (tmp_path / "step.py").write_text(STEP)
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    subprocess.run([sys.executable, tmp_path / "step.py"], env=environment, check=True, timeout=300)
