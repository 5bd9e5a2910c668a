"""What docs/replicate.md says of each feature of Lightning, tried on three replicas of an ordinary net."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning import callbacks
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.plugins.precision import MixedPrecision
from pytorch_lightning.strategies import DeepSpeedStrategy, FSDPStrategy
from pytorch_lightning.tuner.tuning import Tuner
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from lightning_modules import ReplicaLoader, ReplicatedModule
from lightning_modules.replicas.apart import refuse_coupling

PAGE = Path(__file__).parents[3] / "docs" / "replicate.md"
SEEDS, LR = [5, 17, 40], [0.1, 0.01, 0.02]
DRAWS = torch.Generator().manual_seed(0)
X = torch.rand(48, 6, generator=DRAWS, dtype=torch.float64)
Y = X.sum(1, keepdim=True).sin()


def make_net() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 1))


def build(number: int | None, lr: Any = LR, **options: Any) -> ReplicatedModule:
    """All replicas, or only that of one number."""
    seeds = SEEDS if number is None else [SEEDS[number]]
    rates = lr[number] if number is not None and isinstance(lr, list) else lr
    return ReplicatedModule(make_net, F.mse_loss, seeds, rates, **options)


def trainer(**options: Any) -> pl.Trainer:
    quiet = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    own = {"max_epochs": 2, "precision": "64-true", "accelerator": "cpu", "logger": False, **quiet, **options}
    return pl.Trainer(**{name: value for name, value in own.items() if value is not None})


def data(dtype: torch.dtype = torch.float64) -> DataLoader[Any]:
    return DataLoader(TensorDataset(X.to(dtype), Y.to(dtype)), 12)


def assert_as_alone(options: Callable[[], dict[str, Any]], lr: Any = LR, atol: float = 1e-12) -> None:
    together, alone = build(None, lr), build(1, lr)
    for module in (together, alone):
        run = trainer(**options())
        dtype = torch.float64 if run.precision == "64-true" else torch.float32
        run.fit(module, data(dtype), data(dtype))
    pairs = zip(together.replica(1).parameters(), alone.replica(0).parameters(), strict=True)
    for ours, own in pairs:
        torch.testing.assert_close(ours, own, rtol=0, atol=atol)


def assert_refused(line: str, lr: Any = LR, module: dict[str, Any] | None = None, **options: Any) -> None:
    with pytest.raises(ValueError, match=line) as refusal:
        trainer(**options).fit(build(None, lr, **(module or {})), data())
    assert "\n" not in str(refusal.value)


def accumulation() -> None:
    assert_as_alone(lambda: {"accumulate_grad_batches": 2})


def clipping() -> None:
    assert_as_alone(lambda: {"gradient_clip_val": 0.05})
    assert_as_alone(lambda: {"gradient_clip_val": 0.001, "gradient_clip_algorithm": "value"})


def precision() -> None:
    assert_as_alone(lambda: {"precision": "bf16-mixed"}, atol=1e-2)
    # Lightning has float16 on GPUs only; its plugin can be had here too.
    half = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))
    assert_refused("precision 16-mixed skips the step of all 3", precision=None, plugins=[half])


def checkpoint_and_early_stopping(folder: Path) -> None:
    best = callbacks.ModelCheckpoint(folder, monitor="val/loss")
    stop = callbacks.EarlyStopping("val/loss", patience=1, min_delta=100)
    run, module = trainer(callbacks=[best, stop], enable_checkpointing=True, max_epochs=9), build(None)
    run.fit(module, data(), data())
    assert run.current_epoch == 2  # the second has not improved: all three end
    assert best.best_model_score is not None
    assert best.best_model_score.item() <= module.epoch_metrics("val")["val/loss"].mean().item() + 1e-6


def swa() -> None:
    assert_as_alone(lambda: {"callbacks": [callbacks.StochasticWeightAveraging(0.02, 1)]}, lr=0.01)
    assert_refused("same lr", callbacks=[callbacks.StochasticWeightAveraging(0.02)])


def ema() -> None:
    assert_as_alone(lambda: {"callbacks": [callbacks.EMAWeightAveraging()]})


def monitor_of_rates(folder: Path) -> None:
    monitor, log = callbacks.LearningRateMonitor(), CSVLogger(folder)
    trainer(callbacks=[monitor], logger=log, log_every_n_steps=1).fit(build(None), data())
    assert {rate for rates in monitor.lrs.values() for rate in rates} == {max(LR)}


def lr_find(folder: Path) -> None:
    module = build(None)
    run = trainer(default_root_dir=folder, enable_checkpointing=True, max_epochs=9)
    found = Tuner(run).lr_find(module, data(), num_training=20, early_stop_threshold=None)
    assert found is not None
    assert module.lr == [found.suggestion()] * 3


def ddp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    monkeypatch.setattr("torch.distributed.all_reduce", lambda count: count.fill_(48))
    gradients = []
    for own in (slice(0, 32), slice(32, 48)):  # two processes, which average their gradients
        torch.manual_seed(0)
        module = build(None).double().eval()
        module.training_step((X[own], Y[own]), 0).backward()
        gradients.append([p.grad for p in module.parameters()])
    monkeypatch.undo()
    module = build(None).double().eval()
    module.training_step((X, Y), 0).backward()
    for parameter, first, second in zip(module.parameters(), *gradients, strict=True):
        assert first is not None
        assert second is not None
        torch.testing.assert_close(parameter.grad, (first + second) / 2)
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    with pytest.raises(ValueError, match="take one process"):
        next(iter(ReplicaLoader((X, Y), 12, SEEDS)))


def compiled() -> None:
    plain, module = build(None), build(None)
    trainer().fit(plain, data())
    graph: Any = torch.compile(module, backend="eager")  # traced as ever; its code is not generated
    trainer().fit(graph, data())
    for ours, own in zip(module.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, own, rtol=0, atol=1e-12)


def sharding() -> None:
    for kind in (FSDPStrategy, DeepSpeedStrategy):
        run: Any = SimpleNamespace(strategy=kind.__new__(kind))
        with pytest.raises(ValueError, match="divides parameters"):
            refuse_coupling(run, LR)


def pruning() -> None:
    assert_refused("prune one replica", callbacks=[callbacks.ModelPruning("l1_unstructured")])


def plateau() -> None:
    assert_refused("take another", module={"schedule": torch.optim.lr_scheduler.ReduceLROnPlateau})


ROWS: dict[str, Callable[..., None]] = {
    "`accumulate_grad_batches`": accumulation,
    "`gradient_clip_val`": clipping,
    "`precision`": precision,
    "`ModelCheckpoint(monitor)`, `EarlyStopping`": checkpoint_and_early_stopping,
    "`StochasticWeightAveraging`": swa,
    "`EMAWeightAveraging`": ema,
    "`LearningRateMonitor`": monitor_of_rates,
    "`Tuner.lr_find`": lr_find,
    '`strategy="ddp"`': ddp,
    "`torch.compile`": compiled,
    '`strategy="fsdp"`, `"deepspeed"`': sharding,
    "`ModelPruning`": pruning,
    "`ReduceLROnPlateau`": plateau,
}


# torch.compile loads for ten seconds.
@pytest.mark.parametrize(
    "row", [pytest.param(row, marks=[pytest.mark.slow] * (row == "`torch.compile`")) for row in ROWS]
)
def test_a_feature_does_what_the_page_says(row: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    takes = ROWS[row].__annotations__
    given = {"folder": tmp_path, "monkeypatch": monkeypatch}
    ROWS[row](**{name: value for name, value in given.items() if name in takes})


TWO_PROCESSES = """
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from lightning_modules import ReplicatedModule

def make_net():
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))

def fit(batch_size, **processes):
    x = torch.rand(48, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    loader = DataLoader(TensorDataset(x, x.sum(1, keepdim=True).sin()), batch_size)
    module = ReplicatedModule(make_net, F.mse_loss, [5, 17, 40], [0.1, 0.01, 0.02], optimizer=torch.optim.SGD)
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", precision="64-true", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, gradient_clip_val=0.05, **processes
    )
    trainer.fit(module, loader)
    return module.network.state_dict(), trainer.is_global_zero

alone, _ = fit(48, devices=1)
shared, main = fit(24, devices=2, strategy="ddp")
if main:
    for name, value in alone.items():
        torch.testing.assert_close(shared[name], value, rtol=0, atol=1e-12)
"""


@pytest.mark.slow
def test_two_processes_of_ddp_train_as_one_with_all_samples(tmp_path: Path) -> None:
    (tmp_path / "fit.py").write_text(TWO_PROCESSES)
    environment = {**os.environ, "PYTHONPATH": str(PAGE.parents[1])}
    subprocess.run([sys.executable, tmp_path / "fit.py"], env=environment, check=True, timeout=300)


def test_the_page_has_no_other_rows() -> None:
    (table,) = re.findall(r"^\| Lightning \| here \|\n.*?\n(.*?)\n\n", PAGE.read_text(), re.M | re.S)
    assert re.findall(r"^\| (.*?) \|", table, re.M) == list(ROWS)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
