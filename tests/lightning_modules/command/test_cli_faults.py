"""An error that is meant for the user is one line; any other shows where it arose."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lightning_modules.command import cli
from lightning_modules.command.blame import CommandError
from lightning_modules.command.limits import check_range
from lightning_modules.training.workers import run_jobs


def failing(fault: str, verbose: bool = False) -> None:
    """Fail.

    Args:
        fault: How.
        verbose: Whether to chat.
    """
    FAULTS[fault]()


def fail_in_worker(fault: str, report: Callable[[Any], None]) -> None:
    FAULTS[fault]()


def failing_in_a_worker(fault: str, verbose: bool = False) -> None:
    """Fail elsewhere.

    Args:
        fault: How.
        verbose: Whether to chat.
    """
    run_jobs([partial(fail_in_worker, fault)], 1, lambda number, value: None)


class OddError(CommandError):
    """A refusal that cannot travel."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def refuse(error: Exception) -> None:
    raise error


def assert_nothing() -> None:
    assert not FAULTS


def unpack() -> None:
    ((_, _two),) = dict[str, tuple[int, int]]().values()


FAULTS: dict[str, Callable[[], Any]] = {
    "check_range": lambda: check_range("runs", 0, 1),
    "ValueError of ours": lambda: refuse(ValueError("coats must be\n at least 1")),
    "OSError of ours": lambda: refuse(FileNotFoundError("nowhere: no such folder")),
    "OSError with a name": lambda: Path("/proc/nowhere").read_bytes(),
    "odd": lambda: refuse(OddError(1, 2)),
    "KeyError": lambda: dict[str, int]()["coat"],
    "KeyError of ours": lambda: refuse(KeyError("coat")),
    "AssertionError": assert_nothing,
    "unpack": unpack,
    "int": lambda: int("coat"),
    "numpy": lambda: np.zeros(2) + np.zeros(3),
    "torch": lambda: torch.optim.SGD([torch.zeros(1)], lr=-1.0),
    "json": lambda: json.loads("{"),
    "no text": lambda: refuse(RuntimeError()),
}


REFUSED = {
    "check_range": "runs must be at least 1, got 0",
    "ValueError of ours": "coats must be at least 1",
    "OSError of ours": "nowhere: no such folder",
    "OSError with a name": "/proc/nowhere: No such file or directory",
    "odd": "1 and 2",
}


def complaint(capsys: pytest.CaptureFixture[str], command: Callable[..., None], *args: str) -> str:
    with pytest.raises(SystemExit) as caught:
        cli.run(command, "paint", args)
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1, said
    return said.removeprefix("paint: error: ").removesuffix("\n")


@pytest.mark.parametrize("fault", FAULTS)
def test_only_what_is_raised_for_the_user_hides_where_it_arose(
    fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = complaint(capsys, failing, "--fault", fault)
    if fault in REFUSED:
        assert said == REFUSED[fault]
    else:
        assert said.startswith("unexpected ")
        assert " (at tests/lightning_modules/command/test_cli_faults.py:" in said
        assert said.endswith("; --verbose shows the whole traceback)")


@pytest.mark.parametrize("fault", ["KeyError", "torch", "no text", "odd", "check_range"])
def test_an_error_of_a_worker_says_the_same_as_one_of_the_command(
    fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    here = complaint(capsys, failing, "--fault", fault)
    assert complaint(capsys, failing_in_a_worker, "--fault", fault) == here


def test_an_error_without_a_text_shows_the_line_that_raised_it(capsys: pytest.CaptureFixture[str]) -> None:
    said = complaint(capsys, failing, "--fault", "no text")
    assert said.startswith("unexpected RuntimeError (at tests/lightning_modules/command/test_cli_faults.py:")
    assert ": raise error; --verbose" in said
