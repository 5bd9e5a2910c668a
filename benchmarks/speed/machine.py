"""The machine under a benchmark: what it is, what it can, and how to hold a process to one core of it."""

from __future__ import annotations

import os
import platform
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.profiler import ProfilerActivity, profile

from lightning_modules.results.provenance import versions

if TYPE_CHECKING:
    from collections.abc import Callable

RIVALS = ("jax", "tinygrad", "tensordict", "equinox")
PACKAGES = ("torch", "pytorch-lightning", "numba", "numpy", "optuna", *RIVALS)


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


def machine() -> dict[str, str | int | None]:
    """Describe what figures were measured on: processor, number of cores, and versions."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "CPU": models[0] if models else platform.processor(),
        "CPUs": os.cpu_count(),
        **versions(PACKAGES),
    }


def machine_line() -> str:
    """The machine in a line below a table's title, without what is not installed."""
    return ", ".join(f"{name} {value}" for name, value in machine().items() if value is not None)


def matmul_peak(dtype: torch.dtype = torch.float32, size: int = 1024, repeats: int = 20) -> float:
    """GFLOP/s that this process's threads reach on the fastest of some matrix products."""
    a, b = torch.ones(size, size, dtype=dtype), torch.ones(size, size, dtype=dtype)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        a @ b
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds) / 1e9


def profiler(profile_memory: bool = False) -> profile:
    """Torch's profiler of what a CPU computes."""
    os.environ["KINETO_LOG_LEVEL"] = "99"  # else it tells of each start and stop
    return profile(activities=[ProfilerActivity.CPU], profile_memory=profile_memory)


def peak_memory(turn: Callable[[], object]) -> float:
    """Megabytes that tensors made in a turn hold at most, but for what an operation holds only inside.

    It must be the first turn of a contestant, so that nothing is kept from an earlier one.
    """
    with profiler(profile_memory=True) as memory:
        turn()
    held = most = 0
    for event in memory.events():  # in the order of time, each with what it allocates minus what it frees
        held += event.self_cpu_memory_usage
        most = max(most, held)
    return most / 1e6
