"""Hyperparameters that may differ between replicas, and their seeds."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from lightning_modules.command.limits import check_range
from lightning_modules.command.plain import plain

PerReplica = float | Sequence[float]  # one number for all replicas, or one each
Seeds = int | Sequence[int]  # one for each replica, or that of a single one


def as_seeds(seed: Seeds) -> list[int]:
    """The seeds of R replicas, as Python's own numbers.

    Args:
        seed: R seeds, or a single one.

    Raises:
        ValueError: One is no whole number from 0, or there is none.
    """
    values = _plain_numbers("seed", seed, int)
    seeds: list[int] = values if isinstance(values, list) else [values]
    check_range("the number of seeds", len(seeds), 1)
    check_range("seed", min(seeds), 0)
    return seeds


def refuse_repeated(seeds: Sequence[int], *settings: PerReplica) -> None:
    """Refuse replicas that are one training counted twice.

    Args:
        seeds: R seeds.
        settings: Hyperparameters; where one differs between replicas, a seed may repeat.

    Raises:
        ValueError: A seed repeats.
    """
    (seed, count), *_ = Counter(seeds).most_common(1)
    if count > 1 and not any(isinstance(setting, list) for setting in settings):
        raise ValueError(
            f"seed must name each replica once, got {seed} {count} times: these would be one training that is"
            f" counted {count} times; take other seeds, or give each replica its own lr"
        )


def as_plain(name: str, value: Any) -> PerReplica:
    """A setting as Python's own numbers.

    Args:
        name: What to call it in an error.
        value: One number for all replicas, or a list, array, tensor, ... of one each.

    Raises:
        ValueError: It holds something else.
    """
    numbers: PerReplica = _plain_numbers(name, value, float)
    return numbers


def per_replica(name: str, value: PerReplica, replicas: int, positive: bool = False) -> list[float]:
    """Spread a setting over R replicas.

    Args:
        name: What to call it in an error.
        value: One number for all, or R numbers.
        replicas: Number of replicas R.
        positive: Whether 0 is out of range.

    Returns:
        R numbers.

    Raises:
        ValueError: There are not R of them, or one is out of range.
    """
    numbers = as_plain(name, value)
    values = list(numbers) if isinstance(numbers, Sequence) else [numbers] * replicas
    if len(values) != replicas:
        raise ValueError(f"{name} must be one number or one for each of {replicas} seeds, got {len(values)}")
    for number in values:
        if not (number > 0 if positive else number >= 0) or number == float("inf"):
            rule = "above 0" if positive else "at least 0"
            raise ValueError(f"{name} must be {rule} and finite, got {number}")
    return values


def _plain_numbers(name: str, value: Any, kind: type) -> Any:
    own = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(own, Iterable) and not isinstance(own, str | bytes | dict | set):
        return [plain(name, item, kind) for item in own]
    return plain(name, own, kind)
