"""The grid of the paper: every setting once, stopped anywhere, never twice."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from matplotlib.image import imread

from scratch_framework.experiments.disc import search
from scratch_framework.experiments.disc.grid import main
from scratch_framework.experiments.disc.points import Reading
from scratch_framework.experiments.disc.recipe import PAPER
from scratch_framework.experiments.disc.scratch_learner import ScratchLearner
from scratch_framework.experiments.disc.training import evaluate, examples, train_epoch

ROOT = Path(__file__).parents[4]
TINY = ["--repeats", "2", "--max_epochs", "1", "--train_points", "60", "--val_points", "40"]


def run(log_dir: Path, name: str, *args: str) -> list[dict[str, Any]]:
    main([*TINY, "--log_dir", str(log_dir), "--name", name, *args])
    return json.loads((log_dir / name / "grid.json").read_text())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grids")
    run(folder, "whole")
    return folder


def rows_of(log_dir: Path, name: str) -> list[dict[str, Any]]:
    return json.loads((log_dir / name / "grid.json").read_text())


def test_every_setting_is_scored_and_the_best_comes_first(whole: Path) -> None:
    rows = rows_of(whole, "whole")
    settings = {(row["activations"], row["lr"], row["weight_decay"]) for row in rows}
    assert len(rows) == len(settings) == 3 * 2 * 2**4
    assert {lr for _, lr, _ in settings} == {1e-3, 5e-3, 1e-2}
    assert {decay for *_, decay in settings} == {0, 1e-6}
    means = [row["val_error_mean"] for row in rows]
    assert means == pytest.approx(sorted(means))
    for row in rows:
        assert len(row["val_errors"]) == 2
        assert row["val_error_mean"] == pytest.approx(sum(row["val_errors"]) / 2)
    with (whole / "whole" / "grid.csv").open() as file:
        assert [float(row["val_error_mean"]) for row in csv.DictReader(file)] == means
    pixels = imread(whole / "whole" / "grid.png")
    assert (
        len(np.unique(pixels.reshape(-1, pixels.shape[-1]), axis=0)) > 20
    )  # shades of errors: no blank figure


def test_a_score_is_that_of_a_training_by_itself(whole: Path) -> None:
    row = next(
        row
        for row in rows_of(whole, "whole")
        if row["activations"] == "tanh,relu,relu,tanh" and (row["lr"], row["weight_decay"]) == (0.005, 1e-6)
    )
    learner = ScratchLearner(PAPER, [0, 1], 2)
    train, val = (
        examples(PAPER, Reading().draw(split, count, [0, 1]), torch.float32)
        for split, count in (("train", 60), ("val", 40))
    )
    train_epoch(learner, PAPER, train, 0)
    assert evaluate(learner, PAPER, val)[1].tolist() == pytest.approx(row["val_errors"])


def test_an_interrupted_grid_goes_on_and_ends_with_the_same_scores(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained: list[object] = []
    train = search.Search.train

    def stopped(self: search.Search, folder: Path, group: Any, *args: Any) -> None:
        if len(trained) == 5:
            raise KeyboardInterrupt
        trained.append(group)
        train(self, folder, group, *args)

    monkeypatch.setattr(search.Search, "train", stopped)
    with pytest.raises(SystemExit) as caught:
        run(tmp_path, "cut")
    assert caught.value.code == 130
    assert "interrupted" in capsys.readouterr().err
    assert not (tmp_path / "cut" / "grid.json").exists()
    first = list(trained)
    trained.clear()
    with pytest.raises(SystemExit):
        run(tmp_path, "cut")
    trained += first
    monkeypatch.undo()
    capsys.readouterr()
    assert run(tmp_path, "cut") == rows_of(whole, "whole")
    assert "10 of 16 groups are done" in capsys.readouterr().out
    assert len(set(map(str, trained))) == 10  # none was trained twice


def test_an_exhausted_grid_says_so_and_trains_nothing(
    whole: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = rows_of(whole, "whole")
    monkeypatch.setattr(search.Search, "train", None)
    assert run(whole, "whole") == before
    printed = capsys.readouterr().out
    assert "nothing is left to train" in printed
    assert "the best 10 of 96 settings" in printed


@pytest.mark.slow
def test_a_killed_grid_goes_on(tmp_path: Path) -> None:
    flags = ["--log_dir", str(tmp_path), "--name", "killed", "--repeats", "2", "--max_epochs", "12"]
    command = [sys.executable, "-m", "scratch_framework.experiments.disc.grid", *flags]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    while len(list(tmp_path.glob("killed/group_*.json"))) < 2:
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = {path: path.stat().st_mtime_ns for path in tmp_path.glob("killed/group_*.json")}
    assert 2 <= len(done) < 16
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    assert len(list(tmp_path.glob("killed/group_*.json"))) == 16
    assert {path: path.stat().st_mtime_ns for path in done} == done  # what was finished is not repeated
    assert len(rows_of(tmp_path, "killed")) == 96


def test_a_grid_that_died_before_its_first_line_can_be_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "born").mkdir()
    (tmp_path / "born" / "grid.yaml.tmp").write_text("repea")
    assert len(run(tmp_path, "born")) == 96


def refused(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    with pytest.raises(SystemExit) as caught:
        main([*TINY, *args])
    assert caught.value.code == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1, message
    return message


def test_another_grids_or_any_other_folder_is_refused(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = refused(capsys, "--log_dir", str(whole), "--name", "whole", "--max_epochs", "2")
    assert "was begun with max_epochs 1, not 2" in other
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "results.json").write_text("precious")
    assert "holds no grid" in refused(capsys, "--log_dir", str(tmp_path), "--name", "mine")
    (tmp_path / "file").touch()
    assert "file" in refused(capsys, "--log_dir", str(tmp_path / "file"), "--name", "any")


@pytest.mark.parametrize("flags", [["--compile", "false"], ["--mistake", "bias_per_row"], ["--seed", "1"]])
def test_a_grid_goes_on_with_the_settings_that_began_it_only(
    flags: list[str], whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "was begun with" in refused(capsys, "--log_dir", str(whole), "--name", "whole", *flags)


def test_the_step_that_is_chosen_may_be_named(whole: Path) -> None:
    run(whole, "whole", "--compile", "true")


def test_a_grid_of_an_older_version_is_refused(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = yaml.safe_load((whole / "whole" / "grid.yaml").read_text())
    del begun["compiled"]
    (tmp_path / "older").mkdir()
    (tmp_path / "older" / "grid.yaml").write_text(yaml.safe_dump(begun))
    message = refused(capsys, "--log_dir", str(tmp_path), "--name", "older")
    assert "compiled unknown, by an older version of this program, not True; choose another name" in message


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--repeats", "0"], "repeats must be at least 1, got 0"),
        (["--max_epochs", "0"], "max_epochs must be at least 1, got 0"),
        (["--seed", "-1"], "seed must be at least 0, got -1"),
        (["--val_points", "0"], "val_points must be at least 1, got 0"),
        (["--mistake", "bias_per_row", "--compile", "true"], "compile cannot train with mistake"),
        (["--test_points", "9"], "unrecognized arguments: --test_points"),
        (["--name", "a/b"], "name must be a plain folder name, got 'a/b'"),
    ],
)
def test_a_wrong_flag_is_one_line_and_leaves_nothing_behind(
    args: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refused(capsys, "--log_dir", str(tmp_path / "runs"), *args)
    assert not (tmp_path / "runs").exists()
