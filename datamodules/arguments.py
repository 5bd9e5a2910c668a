"""Arguments of the data module as plain Python values, whichever library their numbers are of."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

Seeds = int | Sequence[int]  # one for each replica, or that of a single one


def whole(name: str, value: Any, least: float = -math.inf, most: float = math.inf) -> int:
    """A whole number of Python, numpy or torch, in a range, as Python's own; an error calls it `name`."""
    own = _own(value)
    if isinstance(own, bool) or not isinstance(own, int):
        raise ValueError(f"{name} must be a whole number, got {value!r}")
    _check_range(name, own, least, most)
    return own


def number(name: str, value: Any, least: float, most: float) -> float:
    """A number of Python, numpy or torch, in a range, as Python's own float; an error calls it `name`."""
    own = _own(value)
    if isinstance(own, bool) or not isinstance(own, int | float):
        raise ValueError(f"{name} must be a number, got {value!r}")
    _check_range(name, float(own), least, most)
    return float(own)


def seeds_of(name: str, value: Any) -> list[int]:
    """Seeds as Python's own numbers: of a list, array, tensor, range, ..., or a single one.

    Raises:
        ValueError: One is no whole number, or out of range.
    """
    own = _own(value)
    several = isinstance(own, Iterable) and not isinstance(own, str | bytes | dict | set)
    seeds = [whole(name, seed, 0) for seed in (own if several else [own])]
    if not seeds:
        raise ValueError("the number of seeds must be at least 1, got 0")
    if max(seeds) >= 2**32:
        raise ValueError(f"{name} must be below 2**32, all that torch's generators see, got {max(seeds)}")
    return seeds


def refuse_repeated(seeds: Sequence[int]) -> None:
    """Refuse replicas with the same pairs in the same order."""
    ((seed, count),) = Counter(seeds).most_common(1)
    if count > 1:
        raise ValueError(
            f"seed must name each replica once, got {seed} {count} times; take other seeds, or give"
            " stream_seed, too, for replicas that are to share their pairs"
        )


def _check_range(name: str, value: float, least: float, most: float) -> None:
    if not value >= least:  # so also NaN
        raise ValueError(f"{name} must be at least {least}, got {value}")
    if value > most:
        raise ValueError(f"{name} must be at most {most}, got {value}")


def _own(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value
