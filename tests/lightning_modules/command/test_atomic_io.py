"""A file that cannot be written is refused in one line, before anything is computed for it if possible."""

import errno
import os
from pathlib import Path
from typing import NoReturn

import pytest

from lightning_modules.command import atomic_io
from lightning_modules.command.atomic_io import atomic_write, check_file
from lightning_modules.command.cli import CommandError

CHANGE = "choose another out, or make it writable"


def refused(path: str) -> str:
    """What is said of a file that cannot be written; nothing is made, and nothing is gone."""
    before = sorted(Path().rglob("*"))
    with pytest.raises(CommandError) as refusal:
        check_file(Path(path))
    assert sorted(Path().rglob("*")) == before
    return str(refusal.value)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        (".", ". cannot be written: it is a folder; name a file in it"),
        ("folder", "folder cannot be written: it is a folder; name a file in it"),
        ("file/x.pt", "file exists; choose another name or remove it"),
        (
            "file/new/x.pt",
            f"file/new cannot be made: Not a directory; {CHANGE}",
        ),
        ("link/new/x.pt", "link is a link to gone, which is not there; make it, or choose another out"),
        ("pipe", "pipe cannot be written: it is a device or a pipe, not a file; choose another out"),
        ("x" * 250, f"{'x' * 250} cannot be written: File name too long; choose another out"),
        (f"{'x' * 300}/x.pt", f"{'x' * 300} cannot be made: File name too long; {CHANGE}"),
    ],
)
def test_a_file_that_cannot_be_written_is_refused(
    path: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("file").touch()
    Path("link").symlink_to("gone")
    os.mkfifo("pipe")
    assert refused(path) == why


def test_a_file_in_a_folder_that_takes_none_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**where: object) -> NoReturn:  # as a read-only disk does, or a folder of another user
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(atomic_io, "TemporaryFile", refuse)
    assert refused("x.pt") == f". cannot be written to: Read-only file system; {CHANGE}"
    assert refused("new/x.pt") == f"new cannot be made: Read-only file system; {CHANGE}"


def test_a_device_or_a_pipe_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is a device or a pipe, not a file"):
        atomic_write(tmp_path / "pipe", "")
    assert (tmp_path / "pipe").is_fifo()
    assert list(tmp_path.iterdir()) == [tmp_path / "pipe"]


def test_a_file_in_a_folder_that_can_be_made_is_not_refused_and_nothing_is_made(tmp_path: Path) -> None:
    check_file(tmp_path / "new" / "newer" / "step.json")
    assert list(tmp_path.iterdir()) == []


def test_a_new_file_and_one_that_is_there_can_be_written(tmp_path: Path) -> None:
    for content in ("one", "two"):
        check_file(tmp_path / "x.txt")
        atomic_write(tmp_path / "x.txt", content)
        assert (tmp_path / "x.txt").read_text() == content


def test_a_folder_is_not_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in (Path(), tmp_path):
        with pytest.raises(IsADirectoryError):
            atomic_write(folder, "")
    assert list(tmp_path.iterdir()) == []
