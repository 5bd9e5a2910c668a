"""One replica diverges in the middle of a study: it touches no other one, and the study ends as it should."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from events import events

import train
from datamodules import DigitPairs
from lightning_modules.command.cli import CommandError
from lightning_modules.models.base import PairModule
from lightning_modules.models.loading import load_model, select_runs
from lightning_modules.models.recipes import RECIPES, resolve
from lightning_modules.models.registry import MODULES
from lightning_modules.replicas.state import export_replica
from lightning_modules.report.__main__ import main as report
from lightning_modules.training import runner as protocol
from lightning_modules.training.runner import make_trainer

SEEDS = [7, 3, 5]
SMALL = {"width": 4}


class Diverge(pl.Callback):
    """Spoils the weights of some replicas before a step."""

    def __init__(self, replicas: Sequence[int], step: int, value: float = math.nan) -> None:
        self.replicas, self.step, self.value = replicas, step, value

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, PairModule)
        if trainer.global_step == self.step:
            for parameter in pl_module.network.parameters():
                parameter.data.unflatten(0, (len(pl_module.seeds), -1))[list(self.replicas)] = self.value


def fit(model: str, recipe: str, changes: Mapping[str, Any], callbacks: list[pl.Callback]) -> PairModule:
    settings = resolve(RECIPES[recipe], [model], {**changes, "batch_size": 20})[model]
    module = MODULES[model].from_settings(settings, SEEDS)
    data = DigitPairs(train_pairs=60, val_pairs=20, seed=SEEDS, **settings.taken_by("DigitPairs"))
    trainer = make_trainer({"max_epochs": 3, "accelerator": "cpu"}, callbacks=callbacks)
    trainer.fit(module, data)
    return module


@pytest.mark.parametrize(
    ("model", "recipe", "changes", "step", "value"),
    [
        ("cnn", "paper", {}, 4, math.inf),
        ("weight_sharing", "paper", {}, 1, math.nan),
        ("auxiliary", "paper", {}, 7, 1e30),
        ("cnn", "modern", SMALL, 5, math.nan),
        ("cnn", "modern", {**SMALL, "swap_trunks": False}, 2, math.nan),
        ("cnn", "modern", {**SMALL, "swap_trunks": False}, 8, -math.inf),
        ("cnn", "modern", {"branches": "early", **SMALL}, 3, 1e30),
        ("weight_sharing", "modern", SMALL, 6, math.inf),
        ("auxiliary", "modern", SMALL, 4, math.nan),
    ],
)
def test_the_others_are_to_the_bit_what_they_are_without_it(
    model: str, recipe: str, changes: dict[str, Any], step: int, value: float
) -> None:
    whole = fit(model, recipe, changes, [])
    spoilt = fit(model, recipe, changes, [Diverge([1], step, value)])
    for r in (0, 2):
        state = export_replica(spoilt.network.state_dict(), r, 3)
        for name, tensor in export_replica(whole.network.state_dict(), r, 3).items():
            assert torch.equal(state[name], tensor), name
        for stage in ("train", "val"):
            for tag, figure in whole.epoch_metrics(stage).items():
                assert spoilt.epoch_metrics(stage)[tag][r] == figure[r], tag


TINY = ["--accelerator", "cpu", "--max_epochs", "3", "--train_pairs", "60", "--val_pairs", "20"]
TINY += ["--test_pairs", "40", "--workers", "1", "--recipe", "modern", "--width", "4"]

Study = Callable[..., Path]


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """Trains one in which some replicas diverge at the fourth step."""

    def run(name: str, lost: Sequence[int], *flags: str, step: int = 3) -> Path:
        def spoilt(arguments: Mapping[str, Any], callbacks: list[pl.Callback] | None = None) -> pl.Trainer:
            return make_trainer(arguments, [*(callbacks or []), *([Diverge(lost, step)] if lost else [])])

        monkeypatch.setattr(protocol, "make_trainer", spoilt)
        train.main([*TINY, "--log_dir", str(tmp_path), "--name", name, *flags])
        return tmp_path / name

    return run


def results(folder: Path) -> Any:
    return json.loads((folder / "results.json").read_text())


def test_a_study_ends_with_all_files_counts_its_sound_runs_and_says_so(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--model", "cnn", "--swap_trunks", "false", "--runs", "3"]
    whole = results(study("whole", [], *flags))
    with pytest.raises(SystemExit):
        study("spoilt", [1], *flags)
    printed = capsys.readouterr()
    assert "cnn of seed 1 diverged" in printed.err
    assert "2 of 3" in printed.out
    assert "diverged, and left out: 1 of cnn" in printed.out
    folder = tmp_path / "spoilt"
    own = results(folder)
    assert [row.get("diverged") for row in own["rows"]] == [None, True, None]
    for k in (0, 2):
        assert own["rows"][k] == whole["rows"][k]
    sound = [whole["rows"][k]["test_error"] for k in (0, 2)]
    summary = own["summary"][0]
    assert summary["test_error_mean"] == pytest.approx(sum(sound) / 2)
    assert (summary["n"], summary["diverged"]) == (2, 1)
    curve = events(folder / "cnn")
    (tested,) = curve.Scalars("when_trained/test_error")
    assert tested.value == pytest.approx(sum(sound) / 2)
    assert curve.Scalars("when_trained/diverged")[-1].value == 1
    assert all(math.isfinite(event.value) for event in curve.Scalars("train/loss"))
    assert (folder / "results.png").stat().st_size > 5000
    report([str(folder)])
    page = (folder / "report.html").read_text()
    assert "n = 2 of 3; 1 diverged" in page
    assert "modern, 2 of 3 runs; 1 diverged" in page.replace("\n", "")
    model = load_model(folder / "cnn" / "checkpoint.ckpt")
    assert select_runs(model, folder) == [1]
    assert model.seeds == [0, 2]


def test_where_all_runs_diverged_nothing_crashes_and_no_mean_is_told(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        study("lost", [0, 1], "--model", "weight_sharing", "--runs", "2")
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert "0 of 2" in printed.out
    folder = tmp_path / "lost"
    assert results(folder)["summary"][0]["test_error_mean"] is None
    assert "NaN" not in (folder / "results.json").read_text()
    report([str(folder)])
    assert "All runs diverged" in (folder / "report.html").read_text()
    with pytest.raises(CommandError, match="not finite in net 0, 1: its training diverged"):
        select_runs(load_model(folder / "weight_sharing" / "checkpoint.ckpt"), folder)


@pytest.mark.parametrize(
    ("flag", "lost", "diverged"),
    [
        ("--restarts", [0, 2], None),
        ("--restarts", [0, 1, 2], True),
        ("--ensemble", [1], True),
    ],
)
def test_a_restart_that_diverged_is_never_chosen_and_an_ensemble_needs_all_its_members(
    flag: str, lost: list[int], diverged: bool | None, study: Study, tmp_path: Path
) -> None:
    try:
        study("spoilt", lost, "--model", "weight_sharing", "--runs", "2", flag, "3", "--val_pairs", "0")
    except SystemExit:
        assert diverged
    rows = results(tmp_path / "spoilt")["rows"]
    assert [row.get("diverged") for row in rows] == [diverged, None]
    model = load_model(tmp_path / "spoilt" / "weight_sharing" / "checkpoint.ckpt")
    assert len(model.seeds) == (2 if flag == "--restarts" else 6)
    if diverged is None:
        assert select_runs(model, tmp_path) == []
