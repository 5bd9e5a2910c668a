"""A study that was ended at any moment goes on to what it would have been, to the bit."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from filelock import FileLock
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import train
from datamodules import DigitPairs
from lightning_modules.cli import CommandError
from lightning_modules.execution import Choice
from lightning_modules.program_file import ProgramFile
from lightning_modules.protocol import Study, fit, run_study
from lightning_modules.recipes import MODULES, RECIPES, resolve
from lightning_modules.studies import make_study
from lightning_modules.study_log import EpochFigures

ROOT = Path(__file__).parents[2]
EPOCHS = 6
TINY = ["--accelerator", "cpu", "--train_pairs", "60", "--val_pairs", "20", "--test_pairs", "40"]


class KilledError(Exception):
    """Stands for the end of the process."""


def a_study(folder: Path, model: str, recipe: str, **overrides: Any) -> Study:
    folder.mkdir(exist_ok=True)
    if recipe == "modern":
        overrides = {"width": 4, **overrides}
    (settings,) = resolve(RECIPES[recipe], [model], overrides).values()

    def data(**more: Any) -> pl.LightningDataModule:
        return DigitPairs(**{"train_pairs": 60, "val_pairs": 20, "test_pairs": 40, **more, "batch_size": 20})

    return make_study(
        model,
        settings,
        [3, 4],
        data,
        {"max_epochs": EPOCHS, "accelerator": "cpu"},
        Choice(workers=1),
        checkpoint=folder / "checkpoint.ckpt",
        owner="a study",
        checkpoint_every=0.0,
    )


def dies_after(epochs: int) -> Callable[[EpochFigures], None]:
    def report(figures: EpochFigures) -> None:
        if figures.epoch == epochs:  # before anything of this epoch is kept
            raise KilledError

    return report


@pytest.mark.parametrize(
    ("model", "recipe", "overrides"),
    [
        *((model, recipe, {}) for model in MODULES for recipe in RECIPES),
        ("weight_sharing", "modern", {"restarts": 2}),
        ("auxiliary", "paper", {"ensemble": 2}),
    ],
)
def test_a_program_goes_on_after_any_epoch_to_the_same_bits(
    model: str, recipe: str, overrides: dict[str, Any], tmp_path: Path
) -> None:
    figures: list[EpochFigures] = []
    whole = a_study(tmp_path / "whole", model, recipe, **overrides)
    expected = run_study(whole, lambda first, epoch: figures.append(epoch))
    study = a_study(tmp_path / "cut", model, recipe, **overrides)
    (program,) = study.chunks()
    for epoch in (2, 3, 5):
        with pytest.raises(KilledError):
            fit(program, dies_after(epoch))
    resumed: list[EpochFigures] = []
    result = run_study(study, lambda first, epoch: resumed.append(epoch))
    assert result.runs == expected.runs
    assert resumed == figures
    assert [mistake.probability for mistake in result.mistakes] == [m.probability for m in expected.mistakes]
    one, other = (torch.load(s.checkpoint, weights_only=True) for s in (whole, study) if s.checkpoint)
    assert list(one) == list(other)
    for name, value in one["state_dict"].items():
        assert torch.equal(value, other["state_dict"][name]), name
