"""Runs a command that must refuse, and holds what it says and leaves against the rules for that."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

Main = Callable[[Sequence[str]], None]


def contents(folder: Path) -> dict[Path, bytes | None]:
    """All that is in a folder; None for a folder's own content."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def refusal(main: Main, args: Sequence[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must refuse its input.

    Args:
        main: The command.
        args: Its arguments.
        folder: Where it could write; must stay as it is.
        capsys: Hears what it says.

    Returns:
        The one line.
    """
    before = contents(folder)
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(args)
    said = capsys.readouterr()
    assert stop.value.code == 2, said.err
    assert said.err.count("\n") == 1, said.err
    assert "Traceback" not in said.err
    assert "--verbose shows" not in said.err, "nobody foresaw this one"
    assert contents(folder) == before, "something was left behind, or is gone"
    return said.err
