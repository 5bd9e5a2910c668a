"""A study in this process: programs one after the other, and nothing of a finished one stays."""

import gc
import weakref
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from datamodules import DigitPairs
from lightning_modules import PlainCNN
from lightning_modules.execution import Choice
from lightning_modules.protocol import Study, make_trainer, run_study


def a_study(folder: Path, choice: Choice) -> Study:
    trainer = {"max_epochs": 1, "accelerator": "cpu", "precision": "64-true"}
    return Study(
        module=PlainCNN,
        settings=[{"seed": seed, "lr": 0.05} for seed in range(3)],
        data=partial(DigitPairs, train_pairs=40, val_pairs=20, test_pairs=30),
        trainer=trainer,
        execution=choice.on(make_trainer(trainer), 3),
        checkpoint=folder / "checkpoint.ckpt",
    )


def test_one_worker_trains_programs_one_after_the_other_to_the_same_figures_and_checkpoint(
    tmp_path: Path,
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "three").mkdir()
    reports: list[int] = []
    together = run_study(a_study(tmp_path / "one", Choice(workers=1)), lambda first, figures: None)
    apart = run_study(
        a_study(tmp_path / "three", Choice(workers=1, replicas=1)),
        lambda first, figures: reports.append(first),
    )
    assert apart.runs == together.runs
    assert reports == [0, 1, 2]
    states = [
        torch.load(tmp_path / name / "checkpoint.ckpt", weights_only=True)["state_dict"]
        for name in ("one", "three")
    ]
    for name, value in states[0].items():
        assert torch.equal(states[1][name], value), name
    assert [path.name for path in (tmp_path / "three").iterdir()] == ["checkpoint.ckpt"]


def test_finished_modules_are_forgotten_though_the_collector_is_told_what_stays(tmp_path: Path) -> None:
    modules: list[weakref.ref[PlainCNN]] = []

    def watched(**settings: Any) -> PlainCNN:
        module = PlainCNN(**settings)
        modules.append(weakref.ref(module))
        return module

    study = a_study(tmp_path, Choice(workers=1, replicas=1))
    run_study(replace(study, module=watched), lambda first, figures: None)
    gc.collect()
    assert len(modules) == 3
    assert [module() for module in modules] == [None] * 3
