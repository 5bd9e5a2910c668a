"""How many cores this process may use."""

import os

from loky import cpu_count

from lightning_modules.command.blame import CommandError

LIMIT = "LOKY_MAX_CPU_COUNT"


def core_count() -> int:
    """Cores that affinity, the control group and LOKY_MAX_CPU_COUNT leave to this process."""
    try:
        return cpu_count()
    except ValueError as error:
        raise CommandError(
            f"the environment variable {LIMIT} must be a whole number, got {os.environ.get(LIMIT)!r}"
        ) from error
