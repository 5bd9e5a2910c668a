"""A file that cannot be written is refused in one line, before anything is computed for it if possible."""

from pathlib import Path

import pytest

from lightning_modules.command.atomic_io import atomic_write, check_file, make_room
from lightning_modules.command.cli import CommandError


@pytest.mark.parametrize(
    ("path", "why"),
    [
        (".", ". cannot be written: it is a folder; name a file in it"),
        ("new/x.pt", "new/x.pt cannot be written: there is no folder new; make it"),
        ("file/x.pt", "file/x.pt cannot be written: file is no folder"),
    ],
)
def test_a_file_that_cannot_be_written_is_refused(
    path: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with pytest.raises(CommandError) as refusal:
        check_file(Path(path))
    assert str(refusal.value) == why


def test_the_folder_of_a_file_is_made_or_refused(tmp_path: Path) -> None:
    make_room(None)
    make_room(str(tmp_path / "new" / "step.json"))
    assert (tmp_path / "new").is_dir()
    with pytest.raises(CommandError, match="it is a folder; name a file in it"):
        make_room(str(tmp_path))
    (tmp_path / "file").touch()
    with pytest.raises(CommandError, match="file exists; choose another name or remove it"):
        make_room(str(tmp_path / "file" / "step.json"))


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
