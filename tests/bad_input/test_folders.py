"""A folder that is there already, or cannot be made, is refused before worker processes are started."""

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pytest
from refusal import Main, refusal

import train
from scratch_framework.__main__ import main as scratch
from tune.__main__ import main as tune

COMMANDS: dict[str, tuple[Main, list[str]]] = {
    "train": (train.main, ["--accelerator", "cpu", "--runs", "2", "--workers", "2", "--name", "mine"]),
    "scratch": (scratch, ["--net", "cnn", "--runs", "2", "--workers", "2", "--name", "mine"]),
    "disc": (scratch, ["--runs", "2", "--name", "mine"]),
    "tune": (tune, ["--model", "cnn", "--workers", "2", "--study_name", "mine"]),
}


def refuse(
    command: str,
    more: Sequence[str],
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """What a command says that must not come so far as to start a worker."""

    def started() -> NoReturn:
        raise AssertionError("a worker was started first")

    for module in ("lightning_modules.training", "scratch_framework.experiments.digits"):
        monkeypatch.setattr(f"{module}.experiment.check_start", started)
    monkeypatch.setattr("tune.run.check_start", started)
    main, args = COMMANDS[command]
    return refusal(main, [*args, *more, "--log_dir", str(folder / "runs")], folder, capsys)


@pytest.mark.parametrize("command", ["train", "scratch", "disc"])
@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_the_name_of_a_study_that_is_there_is_refused_first(
    command: str,
    kind: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "runs").mkdir()
    place = tmp_path / "runs" / "mine"
    if kind == "folder":
        place.mkdir()
    elif kind == "file":
        place.touch()
    else:
        place.symlink_to("gone")
    said = refuse(command, [], tmp_path, capsys, monkeypatch)
    assert ("is a link to gone" if kind == "link" else "mine exists; choose another name") in said


@pytest.mark.parametrize("command", COMMANDS)
def test_a_log_dir_that_is_a_file_is_refused_first(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs").touch()
    said = refuse(command, [], tmp_path, capsys, monkeypatch)
    assert "cannot be made: Not a directory; choose another log_dir" in said


def test_a_study_to_resume_that_is_not_there_is_refused_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = refuse("train", ["--resume"], tmp_path, capsys, monkeypatch)
    assert "mine to resume; leave --resume out to begin it" in said
