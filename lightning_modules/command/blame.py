"""Origin of an error: a mistake of the user gets one line, a fault of the program also its place."""

import linecache
from collections.abc import Iterator
from opcode import opmap
from pathlib import Path
from types import TracebackType

# Top-level names of the project's code; all other code is a library's.
PROJECT = {
    "__main__",
    "benchmarks",
    "datamodules",
    "lightning_modules",
    "scratch_framework",
    "tests",
    "train",
    "tune",
}
ROOT = Path(__file__).parents[2]
CARRIED = "digit_duel_origin"


class CommandError(Exception):
    """Something that the user can correct; the message is one line that says what."""


def origin(error: BaseException) -> str | None:
    """Where an error of the program, or of a library, arose.

    A ValueError or OSError is for the user where our own code raises it by a `raise` statement. Where a
    library, or an expression of ours, raises one, the program is wrong; but what the operating system
    answers, such as a full disk, is no mistake of the program.

    Returns:
        File and line of the innermost frame of our code, and what stands there if the error has no text, as
        an assertion's; None for an error that is for the user.
    """
    if CARRIED in vars(error):
        return vars(error)[CARRIED]
    steps = list(_steps(error.__traceback__))
    if isinstance(error, CommandError) or (isinstance(error, OSError) and error.errno is not None):
        return None
    if isinstance(error, ValueError | OSError) and steps and _is_ours(steps[-1]) and _is_raise(steps[-1]):
        return None
    innermost = next((step for step in reversed(steps) if _is_ours(step)), None)
    return _place(innermost, with_source=not str(error)) if innermost else "an unknown place"


def carry_origin(error: BaseException, where: str | None) -> None:
    """Keep with an error where it arose: its traceback does not travel to another process."""
    vars(error)[CARRIED] = where


def _steps(trace: TracebackType | None) -> Iterator[TracebackType]:
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _is_ours(step: TracebackType) -> bool:
    return str(step.tb_frame.f_globals.get("__name__")).partition(".")[0] in PROJECT


def _is_raise(step: TracebackType) -> bool:
    return step.tb_frame.f_code.co_code[step.tb_lasti] == opmap["RAISE_VARARGS"]


def _place(step: TracebackType, with_source: bool) -> str:
    path, line = Path(step.tb_frame.f_code.co_filename), step.tb_lineno
    source = f": {linecache.getline(str(path), line).strip()}" if with_source else ""
    return f"{path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}:{line}{source}"
