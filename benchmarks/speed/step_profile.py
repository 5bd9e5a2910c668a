"""Where the time of a training step goes, by what computes it.

Command line:
    python -m benchmarks.step_profile
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.speed.harness import check_call, show
from benchmarks.speed.machine import one_core, profiler, restart_on_one_core
from benchmarks.speed.step import bare
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
COLUMNS = {"part": "{part}", "us a replica-step": "{microseconds:.0f}", "share": "{share:.0%}"}


def shares(events: Iterable[Any], total: float) -> dict[str, float]:
    """Microseconds of each part, and of the rest of the total, from the events of torch's profiler."""
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
    check_call(None, replicas=replicas, turns=turns)
    quiet()
    one_core()
    for model in ("cnn", "weight_sharing"):
        contestant = bare(model, "fused", replicas)
        for _ in range(turns):
            contestant.turn()
        with profiler() as profile:
            total = contestant.turn().seconds * 1e6
        rows = [
            {"part": part, "microseconds": own / contestant.work, "share": own / total}
            for part, own in shares(profile.key_averages(), total).items()
        ]
        rate = contestant.flops * contestant.work / total / 1e3
        show(f"{model}, R = {replicas}: {rate:.0f} GFLOP/s under the profiler", COLUMNS, rows)


if __name__ == "__main__":
    restart_on_one_core()
    cli.run(step_profile, "python -m benchmarks.step_profile")
