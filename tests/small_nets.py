"""Small nets that are made in seconds, for the tests that ask some."""

import shutil
from functools import partial
from pathlib import Path

import torch

from datamodules import DigitPairs
from lightning_modules.command.file_format import FORMAT
from lightning_modules.models.base import PairModule
from lightning_modules.models.recipes import MODERN, resolve
from lightning_modules.models.registry import MODULES
from lightning_modules.results.runs import ModelRuns, Run, write_results
from lightning_modules.training.execution import ExecutionConfig
from lightning_modules.training.runner import run_study
from lightning_modules.training.studies import make_study


def train_readers(path: Path) -> Path:
    """Train three nets that read most digits; their checkpoint."""
    changes = {"width": 8, "two_views_from": 1.0, "max_epochs": 4}
    study = make_study(
        resolve(MODERN, ["auxiliary"], changes)["auxiliary"],
        [0, 1, 2],
        partial(DigitPairs, train_pairs=1000, val_pairs=0, test_pairs=50),
        {"accelerator": "cpu"},
        ExecutionConfig(workers=1),
        checkpoint=path,
    )
    run_study(study, lambda first, figures: None)
    return path


def lay_out_study(folder: Path, readers: Path) -> Path:
    """Make the folder of a study of two models: `auxiliary` reads digits, `cnn` has learnt nothing."""
    for model in ("auxiliary", "cnn"):
        (folder / model).mkdir(parents=True)
    shutil.copy(readers, folder / "auxiliary" / "checkpoint.ckpt")
    write_net(folder / "cnn" / "checkpoint.ckpt", MODULES["cnn"](seed=[0]))
    return folder


def write_net(path: Path, net: PairModule) -> Path:
    """Write the checkpoint of a module."""
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = {"format": FORMAT, "model": type(net).__name__, "hyper_parameters": dict(net.hparams)}
    torch.save(parts | {"state_dict": net.state_dict()}, path)
    return path


def write_study_results(study: Path, val_errors: list[float | None], diverged: list[bool]) -> None:
    """Write results of a study of `auxiliary`, the better the lower the seed, and `cnn`, which is worse."""
    runs = [
        Run(seed, 0.0, 0.01 * (seed + 1), val_error=error, diverged=lost or None)
        for seed, (error, lost) in enumerate(zip(val_errors, diverged, strict=True))
    ]
    models = [ModelRuns("cnn", "paper", [Run(0, 0.0, 0.4)]), ModelRuns("auxiliary", "modern", runs)]
    write_results(study / "results.json", models, "train.py", {})
