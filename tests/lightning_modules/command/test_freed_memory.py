"""Memory that is freed stays with a process that wants it so."""

import os
import platform
import subprocess
import sys

import pytest

# Pages that the system hands out, where blocks of 16 MB are asked for and freed again and again.
SCRIPT = """
import resource
from lightning_modules.command.freed_memory import keep_freed_memory

def pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    parts = [b"x" * 2**24 for _ in range(8)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if {kept}:
    keep_freed_memory()
print(*[pages() for _ in range(4)])
"""


def pages(kept: bool) -> list[int]:
    command = [sys.executable, "-c", SCRIPT.format(kept=kept)]
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(command, env=plain, capture_output=True, text=True, check=True)
    return [int(number) for number in done.stdout.split()]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")
def test_pages_are_handed_out_once_where_memory_is_kept_and_each_time_where_it_is_not() -> None:
    first, *again = pages(kept=True)
    assert max(again) < first / 10
    assert pages(kept=False)[-1] > first / 2
