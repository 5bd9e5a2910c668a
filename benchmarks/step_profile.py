"""Where the time of a training step goes, by what computes it.

Command line:
    python -m benchmarks.step_profile
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity, profile

from benchmarks.machine import one_core
from benchmarks.plain_loop import BATCH_SIZE, step_flops
from benchmarks.step import EPOCHS, PAIRS, bare
from lightning_modules.command import cli
from lightning_modules.training.runner import quiet

if TYPE_CHECKING:
    from collections.abc import Iterable

# What to show it as, and how its operations are called in torch's profiler.
PARTS = {
    "pooled convolutions (numba)": ("PooledConvolution", "PooledConvolutionBackward"),
    "linear layers (BLAS)": ("aten::bmm", "aten::baddbmm", "aten::addmm", "aten::mm"),
    "ReLU, normalisation, dropout (numba)": ("Normalise", "NormaliseBackward"),
    "copies between layouts and types": ("aten::copy_",),
    "optimiser": ("aten::_fused_sgd_", "Optimizer.step#SGD.step", "Optimizer.zero_grad#SGD.zero_grad"),
    "look-up of images": ("aten::index_select",),
}


def shares(events: Iterable[Any], total: float) -> dict[str, float]:
    """Add up the events of each part.

    Args:
        events: From torch's profiler.
        total: Microseconds that all took.

    Returns:
        Part to microseconds, what belongs to none of them included.
    """
    own = {event.key: event.self_cpu_time_total for event in events}
    parts = {part: sum(own.get(key, 0) for key in keys) for part, keys in PARTS.items()}
    return parts | {"the rest: small operations, autograd, Python": total - sum(parts.values())}


def step_profile(replicas: int = 8, turns: int = 3, verbose: bool = False) -> None:
    """Profile the step of two networks on one core.

    Args:
        replicas: Number of replicas.
        turns: Turns of two epochs to warm up.
        verbose: Whether to show tracebacks.
    """
    os.environ["KINETO_LOG_LEVEL"] = "99"  # else torch's profiler tells of each start and stop
    quiet()
    one_core()
    for model in ("cnn", "weight_sharing"):
        contestant = bare(model, "fused", replicas)
        for _ in range(turns):
            contestant.run()
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            contestant.run()
        steps = EPOCHS * PAIRS / BATCH_SIZE * replicas
        total = contestant.milliseconds[-1] * steps * 1e3
        parts = shares(profiler.key_averages(), total)
        rate = step_flops(model, BATCH_SIZE) * steps / total / 1e3
        table = Table(title=f"{model}, R = {replicas}: {rate:.0f} GFLOP/s under the profiler")
        for column in ("part", "us a replica-step", "share"):
            table.add_column(column, justify="left" if column == "part" else "right")
        for part, microseconds in parts.items():
            table.add_row(part, f"{microseconds / steps:.0f}", f"{microseconds / total:.0%}")
        Console(width=110).print(table)


if __name__ == "__main__":
    cli.run(step_profile, "python -m benchmarks.step_profile")
