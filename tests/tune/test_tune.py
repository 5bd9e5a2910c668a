"""The command ``python -m tune``, as a person runs it."""

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import yaml
from events import events
from matplotlib.image import imread

import train
from scratch_framework.__main__ import main as scratch
from tune.__main__ import main
from tune.study.storage import StudyStorage
from tune.study.trials import POINT, is_finished

ROOT = Path(__file__).parents[2]
SIZES = ["--repeats", "2", "--max_epochs", "2", "--train_size", "40", "--val_size", "20", "--workers", "1"]


def tune(log_dir: Path, *flags: str) -> None:
    main([*SIZES, "--log_dir", str(log_dir), *flags])


def rows(folder: Path) -> list[dict[str, Any]]:
    with (folder / "trials.csv").open() as file:
        return list(csv.DictReader(file))


def refusal(capsys: pytest.CaptureFixture[str], log_dir: Path, *flags: str) -> str:
    with pytest.raises(SystemExit) as stop:
        tune(log_dir, *flags)
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    return message


def test_a_grid_leaves_its_files_and_is_exhausted_then(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--model", "auxiliary", "--n_trials", "5"]
    tune(tmp_path, *flags)
    folder = tmp_path / "auxiliary-paper-grid"
    trials = rows(folder)
    assert list(trials[0]) == ["number", "state", "value", "std", "lr", "alpha", "gamma", "seconds"]
    assert [(t["state"], t["lr"]) for t in trials] == [("COMPLETE", "0.05")] * 5
    best = min(trials, key=lambda trial: float(trial["value"]))
    settings = yaml.safe_load((folder / "best.yaml").read_text())
    assert settings["gamma"] == float(best["gamma"])
    for name in ("history", "parallel", "slice", "importances", "grid"):
        assert len(np.unique(imread(folder / f"{name}.png"))) > 20  # no blank page
    shown = optuna.load_study(study_name=folder.name, storage=StudyStorage(folder).open())
    assert shown.metric_names == ["validation error in %"]
    assert shown.best_value == pytest.approx(100 * float(best["value"]))
    trial = events(folder / "trials" / "0")
    assert {"val/error", "zone/val/error_low", "when_trained/val_error", "when_trained/test_error"} <= set(
        trial.Tags()["scalars"]
    )
    assert [scalar.step for scalar in trial.Scalars("val/error")] == [1, 2]  # batches of 50: one an epoch
    assert "study/history" in events(folder / "plots").Tags()["images"]
    capsys.readouterr()
    tune(tmp_path, *flags)
    assert "nothing is left to run: all 5 points of the grid" in capsys.readouterr().out
    assert rows(folder) == trials
    tune(tmp_path, "--model", "auxiliary", "--n_trials", "7")
    assert "going on with auxiliary-paper-grid: 5 of 7" in capsys.readouterr().out
    assert rows(folder)[:5] == trials
    main(["report", "--study_name", "auxiliary-paper-grid", "--log_dir", str(tmp_path), "--top", "2"])
    assert "7 trials complete, 0 pruned, 0 diverged" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--space", "modern"), "sampler grid needs choices, but lr has a range; take tpe or random"),
        (("--sampler", "sobol"), "--sampler must be one of grid, tpe, random"),
        (("--repeats", "0"), "repeats must be at least 1, got 0"),
        (("--n_trials", "0"), "n_trials must be at least 1, got 0"),
        (("--workers", "0"), "workers must be at least 1, got 0"),
        (("--timeout", "0"), "timeout must be above 0 and finite, got 0.0"),
        (("--train_size", "1"), "train_size must be at least 2, got 1"),
        (("--space", "modern", "--sampler", "tpe", "--train_size", "76"), "batch_size = 25 leave a last"),
        (("--model", "disc", "--data_dir", "."), "data_dir has no effect on disc"),
        (("--storage", "somewhere"), "storage must be an URL such as postgresql://"),
        (("--storage", "sybase://me:secret@host/db"), "storage must be an URL such as postgresql://"),
        (("--storage", "postgres//me:secret@host/db"), "got 'postgres//me:***@host/db'"),
        (("--storage", "postgresql://me:secret@host:port/db"), "got 'postgresql:***@host:port/db'"),
        (
            ("--storage", "postgresql://me:secret@127.0.0.1:9/db"),
            "postgresql://me:***@127.0.0.1:9/db cannot be",
        ),
        (("--study_name", "a/b"), "name must be a plain folder name"),
    ],
)
def test_what_is_wrong_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], message: str
) -> None:
    said = refusal(capsys, tmp_path, *flags)
    assert message in said
    assert "secret" not in said


def test_a_study_of_another_definition_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--study_name", "mine", "--model", "cnn"]
    tune(tmp_path, *flags, "--n_trials", "1")
    for other, message in (
        (["--model", "disc"], "begun with model cnn, not disc"),
        (["--sampler", "random"], "begun with sampler grid, not random"),
        (["--repeats", "3"], "begun with repeats 2, not 3"),
    ):
        said = refusal(capsys, tmp_path, *flags, *other)
        assert message in said
    (tmp_path / "theirs").mkdir()
    optuna.create_study(storage=StudyStorage(tmp_path / "theirs").open(), study_name="theirs").ask()
    assert "was not made by python -m tune" in refusal(capsys, tmp_path, "--study_name", "theirs")
    (tmp_path / "older").mkdir()
    older = optuna.create_study(storage=StudyStorage(tmp_path / "older").open(), study_name="older")
    older.set_user_attr("definition", {"model": "cnn", "trials_per_fit": 1})
    said = refusal(capsys, tmp_path, "--study_name", "older")
    assert "older was made by another version (0.1.0?) of python -m tune; choose another study_name" in said
    (tmp_path / "mine").rename(tmp_path / "moved")
    said = refusal(capsys, tmp_path, "--study_name", "moved")
    assert "moved/study.db holds the study mine, not moved: give its folder that name again" in said


def test_a_report_of_nothing_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["report", "--study_name", "none", "--log_dir", str(tmp_path)])
    assert "there is no study none in" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("space", ["paper", "modern"])
@pytest.mark.parametrize("model", ["cnn", "weight_sharing", "auxiliary", "disc"])
def test_the_best_trials_file_is_a_command(tmp_path: Path, model: str, space: str) -> None:
    flags = ["--model", model, "--space", space, "--sampler", "tpe", "--pruner", "hyperband"]
    tune(tmp_path, *flags, "--n_trials", "4", "--study_name", "study")
    where = ["--config", str(tmp_path / "study" / "best.yaml"), "--log_dir", str(tmp_path), "--name", "best"]
    if model == "disc":
        scratch([*where, "--runs", "1"])
    else:
        train.main([*where, "--runs", "1", "--train_pairs", "100"])
    assert (tmp_path / "best" / "results.json").exists()


@pytest.mark.slow
def test_two_commands_at_once_share_a_study_on_a_server(tmp_path: Path, postgresql: str) -> None:
    """As two machines do: each has its own folder, both have the server."""
    command = [sys.executable, "-m", "tune", *SIZES, "--model", "auxiliary", "--storage", postgresql]
    command += ["--n_trials", "24", "--study_name", "shared"]
    machines = [
        subprocess.Popen([*command, "--workers", workers, "--log_dir", str(tmp_path / name)], cwd=ROOT)
        for name, workers in (("one", "1"), ("two", "12"))  # alone they would make programs of 8 and 2 trials
    ]
    assert [machine.wait() for machine in machines] == [0, 0]
    storage = StudyStorage(tmp_path, postgresql).open()
    trials = optuna.load_study(study_name="shared", storage=storage).get_trials()
    points = [trial.user_attrs[POINT] for trial in trials if is_finished(trial)]
    assert sorted(points) == list(range(24))
    assert all(len(rows(tmp_path / name / "shared")) == 24 for name in ("one", "two"))
