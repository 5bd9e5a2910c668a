"""Arguments of the data module as plain Python values, whichever library their numbers are of."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

Seeds = int | Sequence[int]  # one for each replica, or that of a single one


def whole(name: str, value: Any) -> int:
    """A whole number as Python's own.

    Args:
        name: What to call it in an error.
        value: A number of Python, numpy or torch.

    Raises:
        ValueError: It is no whole number.
    """
    own = _own(value)
    if isinstance(own, bool) or not isinstance(own, int):
        raise ValueError(f"{name} must be a whole number, got {value!r}")
    return own


def number(name: str, value: Any) -> float:
    """A number as Python's own float.

    Args:
        name: What to call it in an error.
        value: A number of Python, numpy or torch.

    Raises:
        ValueError: It is no number.
    """
    own = _own(value)
    if isinstance(own, bool) or not isinstance(own, int | float):
        raise ValueError(f"{name} must be a number, got {value!r}")
    return float(own)


def seeds_of(name: str, value: Any) -> list[int]:
    """Seeds as Python's own numbers.

    Args:
        name: What to call them in an error.
        value: Seeds in a list, array, tensor, range, ..., or a single one.

    Raises:
        ValueError: One is no whole number, or out of range.
    """
    own = _own(value)
    several = isinstance(own, Iterable) and not isinstance(own, str | bytes | dict | set)
    seeds = [whole(name, seed) for seed in (own if several else [own])]
    if not seeds:
        raise ValueError("the number of seeds must be at least 1, got 0")
    if min(seeds) < 0:
        raise ValueError(f"{name} must be at least 0, got {min(seeds)}")
    if max(seeds) >= 2**32:
        raise ValueError(f"{name} must be below 2**32, all that torch's generators see, got {max(seeds)}")
    return seeds


def refuse_repeated(seeds: Sequence[int]) -> None:
    """Refuse replicas with the same pairs in the same order.

    Args:
        seeds: R seeds.

    Raises:
        ValueError: One repeats.
    """
    ((seed, count),) = Counter(seeds).most_common(1)
    if count > 1:
        raise ValueError(
            f"seed must name each replica once, got {seed} {count} times; take other seeds, or give"
            " stream_seed, too, for replicas that are to share their pairs"
        )


def _own(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value
