"""Disks that are full or cannot be written: one line says so, what was finished is kept, and it goes on."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from disks import Disk
from refusal import Main, refusal

import train
from lightning_modules.predict.__main__ import main as predict
from lightning_modules.report.__main__ import main as report
from scratch_framework.__main__ import main as scratch
from tune.__main__ import main as tune

pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
PAIRS = "--max_epochs 1 --train_pairs 20 --val_pairs 10 --test_pairs 10 --runs 1 --workers 1 --name mine"
TRAIN = ["--accelerator", "cpu", *PAIRS.split()]
RANKS = [*TRAIN, "--model", "cnn", "--devices", "2"]
DISC = [
    "--max_epochs",
    "1",
    "--runs",
    "1",
    "--train_points",
    "20",
    "--val_points",
    "10",
    "--test_points",
    "10",
    "--name",
    "mine",
]
DIGITS = ["--net", "cnn", *PAIRS.split()]
TUNE = ["--model", "disc", "--study_name", "mine", "--n_trials", "2", "--max_epochs", "1", "--repeats", "1"]
TUNE += ["--train_size", "20", "--val_size", "10", "--workers", "1"]

COMMANDS: dict[str, tuple[Main, list[str]]] = {
    "train": (train.main, TRAIN),
    "disc": (scratch, DISC),
    "digits": (scratch, DIGITS),
    "tune": (tune, TUNE),
}


def failure(main: Main, args: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must fail; return its one line, and nothing else is said there."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(args)
    said = capsys.readouterr().err
    assert stop.value.code == 2, said
    assert said.count("\n") == 1, said
    assert "Traceback" not in said
    assert "--verbose shows" not in said, "nobody foresaw this one"
    return said


@pytest.mark.parametrize("name", [*COMMANDS, "ranks"])
def test_a_read_only_folder_is_refused_before_anything_is_computed(
    name: str, disk: Disk, capsys: pytest.CaptureFixture[str]
) -> None:
    main, args = COMMANDS.get(name, (train.main, RANKS))
    disk.remount("ro")
    said = refusal(main, [*args, "--log_dir", str(disk.path)], disk.path, capsys)
    assert f"{disk.path}/mine cannot be made: Read-only file system; choose another log_dir" in said


def test_a_study_on_a_disk_that_became_read_only_is_not_touched(
    disk: Disk, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--log_dir", str(disk.path)]
    train.main([*TRAIN, *where, "--model", "cnn"])
    disk.remount("ro")
    study = disk.path / "mine"
    advice = "Read-only file system; choose a folder that can be written"
    resumed = [*TRAIN, *where, "--model", "cnn", "--resume"]
    assert f"{study}/.lock: {advice}" in refusal(train.main, resumed, disk.path, capsys)
    assert f"{study}/report.html: {advice}" in refusal(report, [str(study)], disk.path, capsys)
    checkpoint = str(study / "cnn" / "checkpoint.ckpt")
    export = [checkpoint, "--state_dict", str(disk.path / "net.pt")]
    early = f"{disk.path} cannot be written to: Read-only file system; choose another state_dict"
    assert early in refusal(predict, export, disk.path, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("left", [0, 3 * 4096, 10 * 4096])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_is_one_line_and_with_room_the_command_goes_on(
    name: str, left: int, disk: Disk, capsys: pytest.CaptureFixture[str]
) -> None:
    main, args = COMMANDS[name]
    args = [*args, "--log_dir", str(disk.path)]
    disk.fill(left)
    said = failure(main, args, capsys)
    assert "No space left" in said or "disk is full" in said or "could not be written" in said, said
    assert str(disk.path) in said, said
    disk.make_room()
    if name == "train":
        main([*args, "--resume"])
    elif name == "tune":
        main(args)  # it always goes on
    else:
        main([*args[: args.index("mine")], "again", *args[args.index("mine") + 1 :]])
    assert not [path for path in disk.path.rglob("*") if path.name.endswith((".part", ".tmp"))]


@pytest.mark.slow
def test_a_full_disk_ends_all_ranks_by_one_line_and_with_room_they_go_on(
    disk: Disk, capsys: pytest.CaptureFixture[str]
) -> None:
    args = [*RANKS, "--runs", "3", "--replicas", "1", "--log_dir", str(disk.path)]
    disk.fill(15 * 4096)  # for the study's files, and for no shard
    said = failure(train.main, args, capsys)
    assert ".part could not be written" in said
    disk.make_room()
    train.main([*args, "--resume"])
    assert len(rows(disk.path / "mine")) == 3
    assert not [path for path in disk.path.rglob("*") if path.name.endswith((".part", ".tmp"))]


def rows(study: Path) -> list[dict[str, Any]]:
    return json.loads((study / "results.json").read_text())["rows"]


@pytest.mark.slow
def test_models_that_were_finished_before_the_disk_was_full_stay_so(
    disk: Disk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fills when the first of three models is done; other programs write to it, too."""
    args = [*TRAIN, "--log_dir", str(disk.path)]
    monkeypatch.setattr(train_experiment(), "_finish", filling(train_experiment(), disk))
    said = failure(train.main, args, capsys)
    assert str(disk.path / "mine") in said
    first = rows(disk.path / "mine")
    assert "cnn" in {row["model"] for row in first}
    before = (disk.path / "mine" / "cnn" / "checkpoint.ckpt").read_bytes()
    monkeypatch.undo()
    disk.make_room()
    train.main([*args, "--resume"])
    after = rows(disk.path / "mine")
    assert after[: len(first)] == first
    assert [row["model"] for row in after] == ["cnn", "weight_sharing", "auxiliary"]
    assert (disk.path / "mine" / "cnn" / "checkpoint.ckpt").read_bytes() == before


def train_experiment() -> Any:
    from lightning_modules.training.experiment import Experiment

    return Experiment


def filling(experiment: Any, disk: Disk) -> Callable[..., None]:
    run_model = experiment._finish

    def run(self: Any, model: str, *more: Any) -> None:
        run_model(self, model, *more)
        if model == "cnn":
            disk.fill(5 * 4096)

    return run


@pytest.mark.slow
def test_trials_that_were_finished_before_the_disk_was_full_stay_so(
    disk: Disk, capsys: pytest.CaptureFixture[str]
) -> None:
    args = [*TUNE, "--log_dir", str(disk.path)]
    tune(args)
    trials = (disk.path / "mine" / "trials.csv").read_text()
    disk.fill(0)
    more = ["6" if before == "--n_trials" else arg for before, arg in zip(["", *args], args, strict=False)]
    said = failure(tune, more, capsys)
    assert str(disk.path / "mine") in said
    assert "full" in said or "No space left" in said or "cannot be used" in said
    assert (disk.path / "mine" / "trials.csv").read_text() == trials
    disk.make_room()
    tune(more)
    lines = (disk.path / "mine" / "trials.csv").read_text().splitlines()
    assert lines[:3] == trials.splitlines()
    assert len(lines) == 7
