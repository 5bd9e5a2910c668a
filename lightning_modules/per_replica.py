"""Settings that each of R replicas may have its own of."""

from collections.abc import Sequence

PerReplica = float | Sequence[float]  # one number for all replicas, or one each


def as_list(seed: int | Sequence[int]) -> list[int]:
    """The seeds of R replicas, one for a single number."""
    return [seed] if isinstance(seed, int) else list(seed)


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
    values = [float(value)] * replicas if isinstance(value, int | float) else [float(v) for v in value]
    if len(values) != replicas:
        raise ValueError(f"{name} must be one number or one for each of {replicas} seeds, got {len(values)}")
    for number in values:
        if not (number > 0 if positive else number >= 0) or number == float("inf"):
            rule = "above 0" if positive else "at least 0"
            raise ValueError(f"{name} must be {rule} and finite, got {number}")
    return values
