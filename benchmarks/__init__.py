"""Commands that print the figures in the docs; README.md lists them.

The commands lie in three rooms, and each has a short name: `python -m benchmarks.study` finds speed/study.py,
because the rooms are on this package's path. Code imports by the full name, such as benchmarks.speed.study.
"""

import sys
from pathlib import Path

from lightning_modules.command import cli

__path__ += [str(Path(__file__).parent / room) for room in ("speed", "results", "docs")]

if sys.argv[0] == "-m":  # Python is to run a command, and imports it next
    cli.leave_at_interrupt()
