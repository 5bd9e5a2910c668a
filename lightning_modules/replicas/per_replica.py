"""Hyperparameters that may differ between replicas, and their seeds."""

from collections import Counter
from collections.abc import Sequence

from lightning_modules.command.limits import check_range
from lightning_modules.command.plain import PerReplica, plain, plain_numbers

Seeds = int | Sequence[int]  # one for each replica, or that of a single one


def as_seeds(seed: Seeds) -> list[int]:
    """The seeds of R replicas, as Python's own numbers.

    Args:
        seed: R seeds, or a single one.

    Raises:
        ValueError: One is no whole number from 0, or there is none.
    """
    values = plain_numbers("seed", seed, int)
    seeds: list[int] = values if isinstance(values, list) else [values]
    check_range("the number of seeds", len(seeds), 1)
    check_range("seed", min(seeds), 0)
    return seeds


def seeds_of_each(seeds: Sequence[int]) -> list[int]:
    """The seeds of R replicas, where a single number could be taken for R.

    Args:
        seeds: R seeds.

    Raises:
        ValueError: It is a single number, one is no whole number from 0, or there is none.
    """
    numbers = plain_numbers("seeds", seeds, int)
    if not isinstance(numbers, list):
        raise ValueError(f"seeds must be one for each replica, such as range({seeds}), got {seeds}")
    return as_seeds(numbers)


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


def per_replica(name: str, value: PerReplica, replicas: int) -> list[float]:
    """Spread a setting over R replicas.

    Args:
        name: What to call it in an error.
        value: One number for all, or R numbers.
        replicas: Number of replicas R.

    Returns:
        R numbers.

    Raises:
        ValueError: There are not R of them.
    """
    values = list(value) if isinstance(value, Sequence) else [value] * replicas
    if len(values) != replicas:
        raise ValueError(f"{name} must be one number or one for each of {replicas} seeds, got {len(values)}")
    return values


def replica_number(index: int, replicas: int) -> int:
    """The number of one of R replicas, as Python's own.

    Raises:
        IndexError: There is no such replica.
    """
    number = plain("replica", index, int)
    if not 0 <= number < replicas:
        raise IndexError(f"replica must lie in 0..{replicas - 1}, got {index}")
    return number
