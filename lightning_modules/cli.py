"""Commands: typed flags from a function's signature, and one clear line for whatever is wrong.

Exit codes: 0 done, 2 refused or failed, 130 Ctrl-C.
"""

import re
import sys
from argparse import ArgumentError
from collections.abc import Callable, Sequence
from typing import Any

from jsonargparse import ArgumentParser


class CommandError(Exception):
    """Something that the user can mend; the message is one line that says what."""


def run(command: Callable[..., None], prog: str, args: Sequence[str] | None = None) -> None:
    """Parse flags and call a function with them.

    Args:
        command: Its typed arguments become flags, its docstring their help; it must take ``verbose``.
        prog: How the command is called.
        args: Flags; those of the process by default.

    Raises:
        SystemExit: The command was refused, failed or was interrupted.
    """
    parser = _parser(command, prog)
    try:
        options = vars(parser.parse_args(args))
    except ArgumentError as error:
        _fail(prog, _one_line(error), 2)
    options.pop("config")
    try:
        command(**options)
    except KeyboardInterrupt:
        _fail(prog, "interrupted; what was finished is kept", 130)
    except (CommandError, ValueError, OSError) as error:
        if options["verbose"]:
            raise
        _fail(prog, " ".join(str(error).split()), 2)


def _parser(command: Callable[..., None], prog: str) -> ArgumentParser:
    parser = ArgumentParser(prog=prog, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--config", action="config", help="YAML file of these settings; later flags win.")
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="Show what libraries say, and tracebacks."
    )
    parser.add_function_arguments(command, skip={"verbose"})
    return parser


def _one_line(error: ArgumentError) -> str:
    text = " ".join(str(error).split())
    # jsonargparse: Parser key "lr": ... Expected a <class 'float'> [- ...] ... value: x
    pattern = r'Parser key "(.+?)": .*?Expected an? (.+?)(?:\.| -) .*?value: (?!type)(.*)'
    if wrong := re.fullmatch(pattern, text):
        name, expected, value = wrong.groups()
        expected = re.sub(r"<class '(\w+)'>|typing\.", r"\1", expected)
        return f"--{name}: expected {expected}, got {value}"
    return re.sub(r'^Parser key "(.+?)":', r"--\1:", text)


def _fail(prog: str, message: str, code: int) -> Any:
    print(f"{prog}: error: {message}", file=sys.stderr)
    sys.exit(code)
