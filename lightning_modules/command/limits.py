"""Ranges of the numbers that a user gives."""

import math

# Beyond these a number is a slip of the hand, which would fill the memory or never end.
MOST_RUNS = 100_000
MOST_EPOCHS = 1_000_000
MOST_PROCESSES = 1024  # workers, and threads of each
MOST_CHANNELS = 1024  # and units of a layer
MOST_EXAMPLES = 100_000_000  # pairs or points of all runs together: gigabytes


def check_range(name: str, value: float, least: float, most: float = math.inf) -> None:
    """Refuse a number below `least` or above `most`, infinity and NaN; the error calls it `name`."""
    if not value >= least:  # so also NaN
        raise ValueError(f"{name} must be at least {least}, got {value}")
    if value > most or value == math.inf:
        rule = "finite" if most == math.inf else f"at most {most}"
        raise ValueError(f"{name} must be {rule}, got {value}")
