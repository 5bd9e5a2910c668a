"""The machine under a benchmark: what it is, and how to hold a process to one core of it."""

from __future__ import annotations

import os
import platform
import sys
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable


def one_core() -> None:
    """Keep the process on one core, whatever pools of threads its libraries bring."""
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def restart_on_one_core() -> None:
    """Start the command anew on one core, unless it is on one.

    A library asks for the number of cores when it is imported, and starts as many threads. So the process
    must be held to its core before.
    """
    if hasattr(os, "sched_setaffinity") and len(cores := os.sched_getaffinity(0)) > 1:
        os.sched_setaffinity(0, {max(cores)})
        os.execv(sys.executable, sys.orig_argv)  # the same command


def machine(packages: Iterable[str]) -> dict[str, str | int | None]:
    """Describe what figures were measured on.

    Args:
        packages: Names of the libraries that matter.

    Returns:
        Processor, number of them, and versions; None for what is not installed.
    """
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "CPU": models[0] if models else platform.processor(),
        "CPUs": os.cpu_count(),
        "Python": platform.python_version(),
        **{name: version(name) if find_spec(name) else None for name in packages},
    }


def matmul_peak(dtype: torch.dtype = torch.float32, size: int = 1024, repeats: int = 20) -> float:
    """The best rate that this process's threads reach on a matrix product.

    Args:
        dtype: Of the matrices.
        size: Their side.
        repeats: Products to time; the fastest counts.

    Returns:
        GFLOP/s.
    """
    a, b = torch.ones(size, size, dtype=dtype), torch.ones(size, size, dtype=dtype)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        a @ b
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds) / 1e9
