"""Passwords of databases, kept out of whatever a command prints or writes."""

import io
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from types import TracebackType
from urllib.parse import quote, unquote

PASSWORD_IS = r"(?i:password|passwd|pwd)(?:=|%3D)"  # `?password=`, `?sslpassword=`, `odbc_connect=PWD%3D`

_passwords: ContextVar[frozenset[str]] = ContextVar("passwords", default=frozenset())


def keep_passwords(args: Sequence[str]) -> None:
    """Look for passwords in a command's arguments; `masked` then hides them wherever they appear."""
    pattern = rf"(?s)(?://[^/:@]*|^[^/:@]*):(?!//)(.+)@|{PASSWORD_IS}([^&;]+)"
    found = {group for arg in args for match in re.findall(pattern, arg) for group in match if group}
    as_libraries_write = {unquote(one) for one in found} | {quote(unquote(one)) for one in found}
    _passwords.set(frozenset(found | as_libraries_write))


def masked(text: str) -> str:
    """A text without the passwords of URLs in it, and without those of this command's arguments."""
    for password in sorted(_passwords.get(), key=len, reverse=True):  # as a word, lest `a` hides every a
        text = re.sub(rf"(?<!\w){re.escape(password)}(?!\w)", "***", text)
    text = re.sub(r"(//[^\s/:@]*:)\S*@", r"\1***@", text)  # to the last @: one in a password may stand bare
    text = re.sub(r"(?<![\w/])(\w[\w.+-]*:)(?!//)\S*@", r"\1***@", text)  # a URL that lacks its slashes
    return re.sub(rf"({PASSWORD_IS})[^&;\s'\"]*", r"\1***", text)


@contextmanager
def masked_output() -> Iterator[None]:
    """Mask what is printed in this block."""
    said = io.StringIO()
    try:
        with redirect_stdout(said):
            yield
    finally:
        print(masked(said.getvalue()), end="")


def print_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an error as Python does, but for passwords; to be `sys.excepthook`."""
    print(masked("".join(traceback.format_exception(kind, error, trace))), end="", file=sys.stderr)
