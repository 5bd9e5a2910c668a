"""Commands: typed flags from a function's signature, and one clear line for whatever is wrong.

Exit codes: 0 done, 2 refused or failed, 130 Ctrl-C.
"""

import argparse
import errno
import io
import os
import re
import shlex
import signal
import sys
import threading
import traceback
from argparse import ArgumentError
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

_prog: ContextVar[str] = ContextVar("prog", default="")
_command_line: ContextVar[str] = ContextVar("command_line", default="")
_secrets: ContextVar[frozenset[str]] = ContextVar("secrets", default=frozenset())


ADVICE = {
    errno.ENOSPC: "make room on that disk",
    errno.EDQUOT: "make room on that disk",
    errno.EROFS: "choose a folder that can be written",
    errno.EACCES: "choose a folder that you may read and write",
    errno.EPERM: "choose a folder that you may read and write",
}
PASSWORD_IS = r"(?i:password|passwd|pwd)(?:=|%3D)"  # `?password=`, `?sslpassword=`, `odbc_connect=PWD%3D`
BOOLEANS = ("true", "false", "yes", "no", "null")
INTERRUPTED = "interrupted; what was finished is kept"


class CommandError(Exception):
    """Something that the user can mend; the message is one line that says what."""


def run(
    command: Callable[..., None],
    prog: str,
    args: Sequence[str] | None = None,
    positional: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Parse flags and call a function with them.

    Args:
        command: Its typed arguments become flags (of a boolean the name alone is enough), its docstring
            their help; it must take ``verbose``.
        prog: How the command is called, such as ``python -m tune``, or ``train.py``.
        args: Flags; those of the process by default.
        positional: Arguments of the command that are no flags, with their help; the last is a list.

    Raises:
        SystemExit: The command was refused, failed or was interrupted.
    """
    args = sys.argv[1:] if args is None else args
    start = prog if prog.startswith("python") else f"python {prog}"
    _prog.set(prog)
    _secrets.set(_passwords(args))
    _command_line.set(shlex.join([*start.split(), *map(masked, args)]))
    verbose = "-v" in args or "--verbose" in args
    try:
        _check_files(args)
        parser = _parser(command, prog, positional)
        with _masked_output():  # of --print_config
            options = vars(parser.parse_args(_spelt_out(parser, args) if positional else args))
        options.pop("config")
        with _quiet_writers():
            command(**options)
    except KeyboardInterrupt:
        _say(INTERRUPTED)
        sys.exit(130)
    except Exception as error:
        if verbose:
            sys.excepthook = _print_traceback
            raise
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


def masked(text: str) -> str:
    """A text without the passwords of URLs in it, and without those of this command's arguments.

    Args:
        text: Anything that is to be printed or written.
    """
    for secret in sorted(_secrets.get(), key=len, reverse=True):  # as a word, lest `a` hides every a
        text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "***", text)
    text = re.sub(r"(//[^\s/:@]*:)\S*@", r"\1***@", text)  # to the last @: one in a password may stand bare
    text = re.sub(r"(?<![\w/])(\w[\w.+-]*:)(?!//)\S*@", r"\1***@", text)  # a URL that lacks its slashes
    return re.sub(rf"({PASSWORD_IS})[^&;\s'\"]*", r"\1***", text)


def _passwords(args: Sequence[str]) -> frozenset[str]:
    """The passwords in arguments, as written and as a library may write them."""
    pattern = rf"(?s)(?://[^/:@]*|^[^/:@]*):(?!//)(.+)@|{PASSWORD_IS}([^&;]+)"
    found = {group for arg in args for match in re.findall(pattern, arg) for group in match if group}
    return frozenset(found | {unquote(one) for one in found} | {quote(unquote(one)) for one in found})


@contextmanager
def _masked_output() -> Iterator[None]:
    said = io.StringIO()
    try:
        with redirect_stdout(said):
            yield
    finally:
        print(masked(said.getvalue()), end="")


def _print_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    print(masked("".join(traceback.format_exception(kind, error, trace))), end="", file=sys.stderr)


def _parser(command: Callable[..., None], prog: str, positional: Mapping[str, str]) -> "ArgumentParser":
    from jsonargparse import ArgumentParser  # here, so that Ctrl-C during its import is met too

    parser = ArgumentParser(prog=prog, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--config", action="config", help="YAML file of these settings; later flags win.")
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="Show what libraries say, and tracebacks."
    )
    for number, (name, meaning) in enumerate(positional.items(), 1):
        parser.add_argument(name, nargs="*" if number == len(positional) else None, help=meaning)
    parser.add_function_arguments(command, skip={"verbose", *positional})
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


def _check_files(args: Sequence[str]) -> None:
    """Refuse a settings file that is none, by its name, which jsonargparse does not say."""
    import yaml

    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", action="append", nargs="?", default=[])
    for name in parser.parse_known_args(args)[0].config:
        if name is None or not Path(name).is_file():
            continue  # jsonargparse says so
        what = f"{name} must be a YAML file of settings, such as a run's config.yaml"
        try:
            settings = yaml.safe_load(Path(name).read_text(encoding="utf-8"))
        except (ValueError, yaml.YAMLError, RecursionError) as error:
            raise CommandError(f"{what}: {error}") from error
        if not isinstance(settings, dict):
            raise CommandError(f"{what}: it holds no settings by name")
        for flag, value in settings.items():
            items = value if isinstance(value, list) else [value]
            if any(isinstance(item, list | dict) for item in items):
                raise CommandError(f"{what}: {flag} must be a plain value")


def _one_line(error: Exception) -> str:
    text = " ".join(masked(str(error)).split())
    if isinstance(error, ArgumentError):
        return _wrong_flag(text)
    if isinstance(error, OSError) and error.filename and error.strerror:
        advice = ADVICE.get(error.errno or 0)
        return f"{error.filename}: {error.strerror}" + (f"; {advice}" if advice else "")
    if isinstance(error, CommandError | ValueError | OSError):
        return text
    if isinstance(error, MemoryError) or re.search(r"can't allocate memory|out of memory", text):
        return "there is not enough memory for this; take fewer runs, pairs or replicas, or a smaller net"
    return f"{type(error).__name__}: {text} (--verbose shows where)"  # nothing that we foresaw


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
    if os.environ.get("LOCAL_RANK", "0") == "0":  # of several processes one speaks
        print(masked(f"{_prog.get()}: error: {message}"), file=sys.stderr, flush=True)
