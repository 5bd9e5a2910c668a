"""Commands: typed flags from a function's signature, and one clear line for whatever is wrong.

Exit codes: 0 done, 2 refused or failed, 130 Ctrl-C.
"""

import argparse
import errno
import logging
import os
import re
import shlex
import signal
import sys
import threading
from argparse import ArgumentError
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from io import TextIOWrapper
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from lightning_modules.command.blame import CommandError as CommandError
from lightning_modules.command.blame import origin
from lightning_modules.command.forkserver import leave_if_imported
from lightning_modules.command.masking import keep_passwords, masked, masked_output, print_traceback
from lightning_modules.command.settings import Flag

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

_prog: ContextVar[str] = ContextVar("prog", default="")
_command_line: ContextVar[str] = ContextVar("command_line", default="")
_rank: ContextVar[int] = ContextVar("rank", default=0)


ADVICE = {
    errno.ENOSPC: "make room on that disk",
    errno.EDQUOT: "make room on that disk",
    errno.EROFS: "choose a folder that can be written",
    errno.EACCES: "choose a folder that you may read and write",
    errno.EPERM: "choose a folder that you may read and write",
}
# Flags by their names, in all commands: paths, where ~ is the home folder, and names, where it is not.
PATHS = frozenset(
    ("log_dir", "data_dir", "out", "folder", "checkpoint", "images", "onnx", "state_dict", "studies", "nets")
)
NAMES = frozenset(("name", "study_name"))
BOOLEANS = ("true", "false", "yes", "no", "null")
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
    args = sys.argv[1:] if args is None else args
    start = prog if prog.startswith("python") else f"python {prog}"
    _prog.set(prog)
    keep_passwords(args)
    _command_line.set(shlex.join([*start.split(), *map(masked, args)]))
    _rank.set(0)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that lacks ± costs no result
    verbose = _asks_for_traceback(args)  # also of errors in the flags
    try:
        settings = _read_files(args)
        verbose = verbose or settings.get("verbose") is True
        parser = _parser(command, prog, positional, flags)
        with masked_output():  # of --print_config
            options = vars(parser.parse_args(_spelt_out(parser, args) if positional else args))
        options.pop("config")
        verbose = options["verbose"]
        logging.getLogger("lightning_modules").setLevel(logging.WARNING if verbose else logging.ERROR)
        _refuse_nothing(parser, options, args, settings)
        with _quiet_writers():
            command(**{flag: _at_home(flag, value) for flag, value in options.items()})
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


@contextmanager
def imports() -> Iterator[None]:
    """For heavy imports: in this block Ctrl-C ends the command at once.

    A library that is being imported may swallow a KeyboardInterrupt, or take it for an error of its own.
    """

    def leave(*_: object) -> None:
        _say(INTERRUPTED)
        os._exit(130)

    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield
        return
    before = signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


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

    Args:
        rank: Its number.
    """
    _rank.set(rank)


def _parser(
    command: Callable[..., None], prog: str, positional: Mapping[str, str], flags: Sequence[Flag]
) -> "ArgumentParser":
    from jsonargparse import ArgumentParser  # here, so that Ctrl-C during its import is met too

    parser = ArgumentParser(prog=prog, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--config", action="config", help="YAML file of these settings; later flags win.")
    meaning = "Show what libraries say, and tracebacks."
    parser.add_argument("-v", "--verbose", type=bool, default=False, help=meaning)
    for number, (name, meaning) in enumerate(positional.items(), 1):
        parser.add_argument(name, nargs="*" if number == len(positional) else None, help=meaning)
    if not flags:
        parser.add_function_arguments(command, skip={"verbose", *positional})
    group = parser.add_argument_group((command.__doc__ or "").partition("\n")[0])
    for flag in (flag for flag in flags if flag.name != "verbose"):
        group.add_argument(f"--{flag.name}", type=flag.type, default=flag.default, help=flag.help)
    for action in _booleans(parser):
        action.nargs, action.const = "?", True
    return parser


def _booleans(parser: "ArgumentParser") -> list[argparse.Action]:
    return [action for action in parser._actions if getattr(action, "_typehint", None) in (bool, bool | None)]


def _spelt_out(parser: "ArgumentParser", args: Sequence[str]) -> list[str]:
    """Give a boolean flag that stands alone its value, lest a positional argument be taken for it."""
    flags = {flag for action in _booleans(parser) for flag in action.option_strings}
    return [
        f"{arg}=true" if arg in flags and following.lower() not in BOOLEANS else arg
        for arg, following in pairwise([*args, ""])
    ]


def _asks_for_traceback(args: Sequence[str]) -> bool:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-v", "--verbose", nargs="?", default="false", const="true")
    return parser.parse_known_args(args)[0].verbose.lower() not in ("false", "no", "null")


def _read_files(args: Sequence[str]) -> dict[str, Any]:
    """All settings of the files that flags name.

    A file that holds none is refused by its name, which jsonargparse does not say.
    """
    import yaml

    together: dict[str, Any] = {}
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", action="append", nargs="?", default=[])
    for name in parser.parse_known_args(args)[0].config:
        if name is None or not Path(_expanded(name)).is_file():
            continue  # jsonargparse says so
        what = f"{name} must be a YAML file of settings, such as a run's config.yaml"
        try:
            settings = yaml.safe_load(Path(_expanded(name)).read_text(encoding="utf-8"))
        except (ValueError, yaml.YAMLError, RecursionError) as error:
            raise CommandError(f"{what}: {error}") from error
        if not isinstance(settings, dict):
            raise CommandError(f"{what}: it holds no settings by name")
        for flag, value in settings.items():
            items = value if isinstance(value, list) else [value]
            if any(isinstance(item, list | dict) for item in items):
                raise CommandError(f"{what}: {flag} must be a plain value")
        together |= settings
    return together


def _refuse_nothing(
    parser: "ArgumentParser", options: Mapping[str, Any], args: Sequence[str], settings: Mapping[str, Any]
) -> None:
    """Refuse an empty path or name, and a null that would be taken for a flag that was left out.

    A shell makes the former of a variable that is not set.
    """
    for flag, value in options.items():
        if flag in PATHS | NAMES and (value == "" or (isinstance(value, list) and "" in value)):
            raise CommandError(f"{flag} must not be empty")
    for action in parser._actions:
        if getattr(action, "_typehint", None) != str | None or options[action.dest] is not None:
            continue
        given = any(arg.partition("=")[0] in action.option_strings for arg in args)
        if given or (action.dest in NAMES and action.dest in settings):
            raise CommandError(f"{action.dest} must not be null; leave it out for what is the default")


def _at_home(flag: str, value: Any) -> Any:
    """A path with the home folder for ~, which a shell leaves in `--out=~/x`, and a settings file has."""
    if flag not in PATHS or value is None:
        return value
    return [_expanded(path) for path in value] if isinstance(value, list) else _expanded(value)


def _expanded(path: str) -> str:
    return os.path.expanduser(path)  # noqa: PTH111  # Path.expanduser fails where there is no such user


def _one_line(error: Exception) -> str:
    text = " ".join(masked(str(error)).split())
    if isinstance(error, ArgumentError):
        return _wrong_flag(text)
    if isinstance(error, OSError) and error.filename and error.strerror:
        advice = ADVICE.get(error.errno or 0)
        return f"{error.filename}: {error.strerror}" + (f"; {advice}" if advice else "")
    if isinstance(error, MemoryError) or re.search(r"can't allocate memory|out of memory", text):
        return "there is not enough memory for this; take fewer runs, pairs or replicas, or a smaller net"
    if (where := origin(error)) is None:
        return text
    what = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return f"unexpected {what} (at {where}; --verbose shows the whole traceback)"


def _wrong_flag(text: str) -> str:
    """What jsonargparse says, shorter; it says the value once for each type that it could have been of."""
    # Parser key "lr": ... Expected a <class 'float'> - ... Given value type: <class 'str'> Given value: x
    pattern = r'Parser key "(.+?)": .*?Expected an? (.+?)(?:\.| -| Given) .*?(?:Got|Given) value: ?(.*)'
    if re.match("unrecognized|argument --|Option |the following arguments", text):
        return f"{text}; --help lists all flags"
    if not (wrong := re.fullmatch(pattern, text)):
        return re.sub(r'^Parser key "(.+?)":', r"--\1:", text)
    name, expected, value = wrong.groups()
    value = value.rpartition("Given value:")[2].strip() or "nothing"
    expected = re.sub(r"<class '(\w+)'>|typing\.", r"\1", expected)
    if value.lower().strip("+-.") in ("nan", "inf", "infinity"):
        expected = "a finite number"
    return f"--{name}: expected {expected}, got {value}"


def _say(message: str) -> None:
    process = f"process {_rank.get()}: " if _rank.get() else ""
    print(masked(f"{_prog.get()}: error: {process}{message}"), file=sys.stderr, flush=True)
