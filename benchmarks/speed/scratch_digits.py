"""A training step of the paper's digit networks: the framework from scratch beside torch.nn and autograd.

Command lines:
    python -m benchmarks.scratch_digits                         about 3 minutes
    python -m benchmarks.scratch_digits --replicas 1,5 --turns 9

On one core, one thread each, float32, batches of 50, dropout and look-up of images included. After a warm-up
all contestants of a network take turns of eight steps, which are short because the speed of a shared machine
moves. Times are milliseconds for the step of one replica, ratios are of the same turn, medians over turns.
Memory is the most that tensors hold at a time in a step, beside weights and data. A second table says which
layers the time goes to.
"""

from __future__ import annotations

from collections import defaultdict
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.speed.harness import Contestant, check_call, numbers, save, show, take_turns
from benchmarks.speed.machine import machine_line, matmul_peak, one_core, peak_memory, restart_on_one_core
from benchmarks.speed.plain_loop import BATCH_SIZE, digit_pairs
from benchmarks.speed.step import COLUMNS, EPOCHS, digit_contestant, plain
from lightning_modules.command import cli
from lightning_modules.models.recipes import PAPER
from scratch_framework.experiments.digits.learner import make_learner

if TYPE_CHECKING:
    from collections.abc import Callable

    from scratch_framework.core.module import Module
    from scratch_framework.experiments.digits.learner import DigitLearner

PAIRS = 4 * BATCH_SIZE  # of an epoch; a turn has two
MEMORY = {"peak MB": "{megabytes:.1f}", "MB a replica": "{megabytes_a_replica:.1f}"}
Rows = list[dict[str, Any]]
PASSES = {"forward, us": "{forward:.0f}", "backward, us": "{backward:.0f}"}
LAYERS = {"layers": "{layers}", **PASSES, "share": "{share:.0%}"}


def scratch(model: str, replicas: int, pairs: int = PAIRS) -> tuple[Contestant, DigitLearner]:
    """The framework: R networks in a plain loop; the contestant, and who learns in it."""
    seeds = list(range(replicas))
    loader = digit_pairs(seeds, pairs).train_dataloader()
    learner = make_learner(model, seeds, PAPER.settings[model].of_module(), torch.float32)

    def turn() -> None:
        for _ in range(EPOCHS):
            for batch in loader:
                learner.step(batch)

    return digit_contestant(f"scratch, R = {replicas}", turn, model, replicas, pairs=pairs), learner


def layer_times(learner: DigitLearner, contestant: Contestant) -> Rows:
    """Time every layer's passes in a turn: microseconds for the step of a replica, by kind of layer."""
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
    total = contestant.turn().seconds
    for module in layers:
        del module.forward, module.backward  # the wrappers; the class's own are seen again
    times = sorted(seconds.items(), key=lambda item: -sum(item[1]))
    times.append(("the rest", [total - sum(map(sum, seconds.values())), 0.0]))
    scale = 1e6 / contestant.work
    return [
        {"layers": name, "forward": ahead * scale, "backward": back * scale, "share": (ahead + back) / total}
        for name, (ahead, back) in times
    ]


def compete(model: str, replicas: list[int], turns: int, peak: float) -> tuple[Rows, Rows]:
    """Let torch.nn and the framework take turns; rows of the contestants, and of the last one's layers."""
    ours = [scratch(model, count) for count in replicas]
    everyone = [plain(model, PAIRS), *(contestant for contestant, _ in ours)]
    few = 2 * BATCH_SIZE  # pairs, as the profiler takes long
    short = [plain(model, few), *(scratch(model, count, few)[0] for count in replicas)]
    memory = [peak_memory(one.run) for one in short]
    take_turns(everyone, turns)
    rows = [
        {"model": model, "megabytes": megabytes, "megabytes_a_replica": megabytes / count}
        | one.row(everyone[0], 1e3, {torch.float32: peak})
        for one, megabytes, count in zip(everyone, memory, [1, *replicas], strict=True)
    ]
    last, learner = ours[-1]
    return rows, layer_times(learner, last)


def scratch_digits(
    turns: int = 75, replicas: str = "1,2,5", out: str | None = None, verbose: bool = False
) -> None:
    """Time a training step of the three networks.

    Args:
        turns: Turns of each contestant, after one to warm up.
        replicas: Numbers of replicas, separated by commas; of the last the layers are timed.
        out: JSON file for the tables, every turn and the machine.
        verbose: Whether to show tracebacks.
    """
    check_call(out, turns=turns)
    one_core()
    counts, peak = numbers("replicas", replicas), matmul_peak()
    tables = {model: compete(model, counts, turns, peak) for model in PAPER.settings}
    rows = [row for rows, _ in tables.values() for row in rows]
    show(f"one core, {turns} turns, peak {peak:.0f} GFLOP/s\n{machine_line()}", COLUMNS | MEMORY, rows)
    layers = {model: own for model, (_, own) in tables.items()}
    for model, own in layers.items():
        show(f"{model}, R = {counts[-1]}: where a replica-step goes", LAYERS, own)
    save(out, rows=rows, layers=layers)


if __name__ == "__main__":
    restart_on_one_core()
    cli.run(scratch_digits, "python -m benchmarks.scratch_digits")
