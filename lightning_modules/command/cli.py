"""Commands: typed flags from a function's signature, and one clear line for whatever is wrong.

Exit codes: 0 done, 2 refused or failed, 130 Ctrl-C.
"""

import atexit
import errno
import gc
import logging
import os
import re
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from io import TextIOWrapper
from pathlib import Path
from types import MappingProxyType

from lightning_modules.command.blame import CommandError as CommandError
from lightning_modules.command.blame import origin
from lightning_modules.command.collector import resting
from lightning_modules.command.forkserver import end_server, leave_if_imported
from lightning_modules.command.masking import keep_passwords, masked, print_traceback
from lightning_modules.command.parsing import asks_for_traceback, make_parser, parse, read_files
from lightning_modules.command.settings import Flag

_prog: ContextVar[str] = ContextVar("prog", default="python")
_command_line: ContextVar[str] = ContextVar("command_line", default="")
_rank: ContextVar[int] = ContextVar("rank", default=0)


ADVICE = {
    errno.ENOSPC: "make room on that disk",
    errno.EDQUOT: "make room on that disk",
    errno.EROFS: "choose a folder that can be written",
    errno.EACCES: "choose a folder that you may read and write",
    errno.EPERM: "choose a folder that you may read and write",
}
INTERRUPTED = "interrupted; what was finished is kept"


def run(
    command: Callable[..., None],
    prog: str,
    args: Sequence[str] | None = None,
    positional: Mapping[str, str] = MappingProxyType({}),
    flags: Sequence[Flag] = (),
) -> None:
    """Parse flags and call a function with them.

    Args:
        command: Its typed arguments become flags (of a boolean the name alone is enough), its docstring
            their help; it must take ``verbose``.
        prog: How the command is called, such as ``python -m tune``, or ``train.py``.
        args: Flags; those of the process by default.
        positional: Arguments of the command that are no flags, with their help; the last is a list.
        flags: The command's flags, in place of its typed arguments.

    Raises:
        SystemExit: The command was refused, failed or was interrupted.
    """
    leave_if_imported()
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    atexit.register(gc.freeze)  # the last collection would look through a million objects, for a second
    args = sys.argv[1:] if args is None else args
    start = prog if prog.startswith("python") else f"python {prog}"
    _prog.set(prog)
    keep_passwords(args)
    _command_line.set(shlex.join([*start.split(), *map(masked, args)]))
    _rank.set(0)
    if sys.stdout is None:  # closed by whoever started us
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  # as long as the process
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that lacks ± costs no result
    verbose = asks_for_traceback(args)  # also of errors in the flags
    try:
        settings = read_files(args)
        verbose = verbose or settings.get("verbose") is True
        options = parse(make_parser(command, prog, positional, flags), args, settings)
        verbose = options["verbose"]
        logging.getLogger("lightning_modules").setLevel(logging.WARNING if verbose else logging.ERROR)
        with _quiet_writers():
            command(**options)
    except KeyboardInterrupt:
        if not _rank.get():  # Ctrl-C of a terminal interrupts all processes
            _say(INTERRUPTED)
        sys.exit(130)
    except Exception as error:
        if verbose:
            sys.excepthook = print_traceback
            raise
        if not _rank.get() or origin(error):  # all processes refuse alike, but one may fail alone
            _say(_one_line(error))
        sys.exit(2)
    finally:
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C: we are leaving


@contextmanager
def imports(first_sign: bool = False) -> Iterator[None]:
    """For heavy imports: in this block Ctrl-C ends the command at once, and no garbage is collected.

    A library that is being imported may swallow a KeyboardInterrupt, or take it for an error of its own.

    Args:
        first_sign: Whether to say first that the command is loading, for one that computes long. In a
            terminal the next line is written over it.
    """
    if first_sign and os.environ.get("LOCAL_RANK", "0") == "0":  # if left over from another job: no sign
        print("loading", end="\r" if sys.stdout.isatty() else "\n", flush=True)
    with resting():
        in_main_thread = threading.current_thread() is threading.main_thread()  # signals are its own
        if not in_main_thread or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            yield
            return
        before = signal.signal(signal.SIGINT, _leave)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


def leave_at_interrupt() -> None:
    """For a package whose command is to be run, and imported, next: Ctrl-C ends it at once, until `run`."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)


def _leave(*_: object) -> None:
    end_server()
    _say(INTERRUPTED)
    os._exit(130)


@contextmanager
def _quiet_writers() -> Iterator[None]:
    """TensorBoard's thread prints a traceback of a failed write, which whoever writes next gets too."""
    before = threading.excepthook

    def hook(caught: threading.ExceptHookArgs) -> None:
        is_writer = type(caught.thread).__name__ == "_AsyncWriterThread"
        if not (is_writer and issubclass(caught.exc_type, OSError)):
            before(caught)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


def command_line() -> str:
    """The command that is running, as one would type it."""
    return _command_line.get()


def set_rank(rank: int) -> None:
    """Say which of the processes that train together this one is: what they all have to say, 0 says.

    The environment does not know: its variables may be left over from another job.
    """
    _rank.set(rank)


def _one_line(error: Exception) -> str:
    text = " ".join(masked(str(error)).split())
    if isinstance(error, OSError) and error.filename and error.strerror:
        advice = ADVICE.get(error.errno or 0)
        return f"{error.filename}: {error.strerror}" + (f"; {advice}" if advice else "")
    if isinstance(error, MemoryError) or re.search(r"can't allocate memory|out of memory", text):
        return "there is not enough memory for this; take fewer runs, pairs or replicas, or a smaller net"
    if (where := origin(error)) is None:
        return text
    what = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return f"unexpected {what} (at {where}; --verbose shows the whole traceback)"


def _say(message: str) -> None:
    process = f"process {_rank.get()}: " if _rank.get() else ""
    print(masked(f"{_prog.get()}: error: {process}{message}"), file=sys.stderr, flush=True)
