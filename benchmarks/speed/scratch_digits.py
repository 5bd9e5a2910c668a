"""A training step of the paper's digit networks: the framework from scratch beside torch.nn and autograd.

Command lines:
    python -m benchmarks.scratch_digits                         about 3 minutes
    python -m benchmarks.scratch_digits --replicas 1,5 --turns 3

On one core, one thread each, float32, batches of 50, dropout and look-up of images included. After a warm-up
all contestants of a network take turns of two epochs; times are milliseconds for the step of one replica,
ratios are of the same turn, medians over turns. Memory is the most that tensors hold at a time in a step,
beside weights and data. A second table says which layers the time goes to.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity, profile

from benchmarks.speed.machine import machine, matmul_peak, one_core, restart_on_one_core
from benchmarks.speed.plain_loop import BATCH_SIZE
from benchmarks.speed.step import EPOCHS, PAIRS, Contestant, plain, row
from datamodules import DigitPairs
from lightning_modules.command import cli
from lightning_modules.models.recipes import PAPER
from scratch_framework.experiments.digits.learner import make_learner

if TYPE_CHECKING:
    from collections.abc import Callable

    from scratch_framework.core.module import Module
    from scratch_framework.experiments.digits.learner import DigitLearner

PACKAGES = ("torch", "numpy")
STEPS = EPOCHS * PAIRS // BATCH_SIZE  # of a turn


def scratch(model: str, replicas: int) -> tuple[Contestant, DigitLearner]:
    """The framework: R networks in a plain loop.

    Args:
        model: The network.
        replicas: R.

    Returns:
        The contestant, and who learns in it.
    """
    seeds = list(range(replicas))
    data = DigitPairs(train_pairs=PAIRS, val_pairs=0, batch_size=BATCH_SIZE, seed=seeds)
    data.setup()
    loader = data.train_dataloader()
    learner = make_learner(model, seeds, PAPER.settings[model].of_module(), torch.float32)

    def turn() -> None:
        for _ in range(EPOCHS):
            for batch in loader:
                learner.step(batch)

    return Contestant(f"scratch, R = {replicas}", replicas, turn), learner


def peak_memory(turn: Callable[[], None]) -> int:
    """The most bytes that tensors made in a turn hold at a time, but for what an operation holds only inside.

    Args:
        turn: The first turn of a contestant, so that nothing is kept from an earlier one.

    Returns:
        Bytes.
    """
    os.environ["KINETO_LOG_LEVEL"] = "99"  # else torch's profiler tells of each start and stop
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        turn()
    held = most = 0
    for event in profiler.events():  # in the order of time, each with what it allocates minus what it frees
        held += event.self_cpu_memory_usage
        most = max(most, held)
    return most


def layer_times(learner: DigitLearner, turn: Callable[[], None]) -> dict[str, list[float]]:
    """Time every layer's passes in a turn.

    Args:
        learner: Whose layers.
        turn: What to time.

    Returns:
        Seconds of the forward and of the backward passes by kind of layer, and of "the rest" of the turn.
    """
    seconds: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])

    def timed(module: Module, number: int, passes: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any) -> Any:
            start = perf_counter()
            result = passes(*args)
            seconds[type(module).__name__][number] += perf_counter() - start
            return result

        return wrapped

    layers = [module for module in learner.model.modules() if not list(module.named_children())]
    for module in layers:
        for number, name in enumerate(("forward", "backward")):
            setattr(module, name, timed(module, number, getattr(module, name)))
    start = perf_counter()
    turn()
    total = perf_counter() - start
    for module in layers:
        del module.forward, module.backward  # the wrappers; the class's own are seen again
    rest = total - sum(map(sum, seconds.values()))
    return dict(sorted(seconds.items(), key=lambda item: -sum(item[1]))) | {"the rest": [rest, 0.0]}


def compete(model: str, replicas: list[int], turns: int, peak: float) -> tuple[list[dict[str, Any]], Any]:
    """Let torch.nn and the framework take turns.

    Args:
        model: The network.
        replicas: Numbers of replicas; of the last the layers are timed.
        turns: Turns of each, after one to warm up.
        peak: GFLOP/s of this core.

    Returns:
        Rows of the table; times by layer.
    """
    reference = plain(model)
    ours = [scratch(model, count) for count in replicas]
    everyone = [reference, *(contestant for contestant, _ in ours)]
    memory = {one.name: peak_memory(one.turn) for one in everyone}
    for _ in range(turns + 1):
        for one in everyone:
            one.run()
    for one in everyone:
        del one.milliseconds[0]
    rows = [row(model, one, reference, {torch.float32: peak}) for one in everyone]
    for line, one in zip(rows, everyone, strict=True):
        line["megabytes"], line["replicas"] = memory[one.name] / 1e6, one.replicas
    last, learner = ours[-1]
    return rows, layer_times(learner, last.turn)


def show(rows: list[dict[str, Any]], title: str) -> None:
    """Print the table of contestants."""
    table = Table(title=title, title_justify="left")
    table.add_column("net")
    table.add_column("contestant")
    for column in ("ms a replica-step", "ratio", "GFLOP/s", "of peak", "peak MB", "MB a replica"):
        table.add_column(column, justify="right")
    for line in rows:
        table.add_row(
            *(line["model"], line["contestant"], f"{line['milliseconds']:.2f}", f"{line['ratio']:.2f}x"),
            *(f"{line['gflops']:.0f}", f"{line['peak_share']:.0%}", f"{line['megabytes']:.1f}"),
            f"{line['megabytes'] / line['replicas']:.1f}",
        )
    Console(width=130).print(table)


def show_layers(model: str, replicas: int, layers: dict[str, list[float]]) -> None:
    """Print where the time goes."""
    table = Table(title=f"{model}, R = {replicas}: where a replica-step goes", title_justify="left")
    table.add_column("layers")
    for column in ("forward, us", "backward, us", "share"):
        table.add_column(column, justify="right")
    total = sum(map(sum, layers.values()))
    for name, (forward, backward) in layers.items():
        scale = 1e6 / (STEPS * replicas)
        table.add_row(
            name, f"{forward * scale:.0f}", f"{backward * scale:.0f}", f"{(forward + backward) / total:.0%}"
        )
    Console(width=130).print(table)


def step(turns: int = 15, replicas: str = "1,2,5", out: str | None = None, verbose: bool = False) -> None:
    """Time a training step of the three networks.

    Args:
        turns: Turns of each contestant, after one to warm up.
        replicas: Numbers of replicas, separated by commas; of the last the layers are timed.
        out: JSON file for the tables, every turn and the machine.
        verbose: Whether to show tracebacks.
    """
    one_core()
    counts, peak = [int(count) for count in replicas.split(",")], matmul_peak()
    rows: list[dict[str, Any]] = []
    layers: dict[str, Any] = {}
    for model in PAPER.settings:
        lines, layers[model] = compete(model, counts, turns, peak)
        rows += lines
    about = ", ".join(f"{name} {value}" for name, value in machine(PACKAGES).items())
    show(rows, f"one core, {turns} turns, peak {peak:.0f} GFLOP/s\n{about}")
    for model, times in layers.items():
        show_layers(model, counts[-1], times)
    if out:
        result = {"command": cli.command_line(), "machine": machine(PACKAGES), "rows": rows, "layers": layers}
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        Path(out).write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    restart_on_one_core()
    cli.run(step, "python -m benchmarks.scratch_digits")
