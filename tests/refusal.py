"""Runs a command that must refuse, and holds what it says and leaves against the rules for that."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

Main = Callable[[Sequence[str]], None]


def contents(folder: Path) -> dict[Path, bytes | None]:
    """All that is in a folder; None for a folder's own content."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def one_line(main: Main, args: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must refuse its input, by one line; return that."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(args)
    said = capsys.readouterr().err
    assert stop.value.code == 2, said
    assert said.count("\n") == 1, said
    return said


def refusal(main: Main, args: Sequence[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Likewise; the folder where it could write must stay as it is, and the line be meant for the user."""
    before = contents(folder)
    said = one_line(main, args, capsys)
    assert "Traceback" not in said
    assert "--verbose shows" not in said, "nobody foresaw this one"
    assert contents(folder) == before, "something was left behind, or is gone"
    return said
