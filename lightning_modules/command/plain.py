"""Arguments as plain Python values, of the type that a hint names; anything else is refused in one line.

Numbers of numpy and torch become Python's own: a checkpoint that holds others does not load weights-only.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from numbers import Real
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

CONSTRUCTORS: Mapping[Any, Callable[[Any], Any]] = {bool: bool, int: int, float: float, str: os.fspath}
PerReplica = float | Sequence[float]  # one number for all replicas, or one each
WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def plain(name: str, value: object, hint: object) -> Any:
    """Make a value plain.

    Args:
        name: What to call it in an error.
        value: The value; a scalar of numpy or torch counts as the number that it holds.
        hint: Its type: bool, int, float, str, None, a Literal of texts, or a union of these.

    Returns:
        The value as Python's own type.

    Raises:
        ValueError: It is not of that type.
    """
    own = value.tolist() if hasattr(value, "tolist") else value
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    for kind in kinds:
        if _fits(own, kind):
            return own if own is None else CONSTRUCTORS.get(kind, str)(own)
    choices = [choice for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind)]
    words = [WORDS[kind] for kind in kinds if kind in WORDS]
    wanted = " or ".join([f"one of {', '.join(choices)}"] * bool(choices) + words)
    raise ValueError(f"{name} must be {wanted}, got {value!r}{nearest(str(value), choices)}")


def plain_numbers(name: str, value: Any, kind: type) -> Any:
    """Make a number, or each of a list, array or tensor of numbers, plain.

    Raises:
        ValueError: It is, or holds, something else.
    """
    own = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(own, Iterable) and not isinstance(own, str | bytes | dict | set):
        return [plain(name, item, kind) for item in own]
    return plain(name, own, kind)


def refuse_unknown(owner: str, name: str, known: Iterable[str]) -> None:
    """Refuse a setting that does not exist, and name the one that may be meant."""
    if name not in (names := sorted(known)):
        meant = nearest(name, names) or f"; it has {', '.join(names)}"
        raise ValueError(f"{owner} has no setting {name}{meant}")


def nearest(word: str, choices: Iterable[str]) -> str:
    """The end of an error, with the choice that may be meant, where one is like the word."""
    near = get_close_matches(word.lower(), choices, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _fits(value: Any, kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return isinstance(value, str) and value in get_args(kind)
    if isinstance(value, bool):  # which Python counts among the numbers
        return kind is bool
    if kind is str:
        return isinstance(value, str | os.PathLike)
    return isinstance(value, Real if kind is float else kind)
