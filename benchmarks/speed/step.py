"""A training step of the three networks: the plain loop, and ours by engine, precision and replicas.

Command lines:
    python -m benchmarks.step                         about 5 minutes
    python -m benchmarks.step --replicas 1,8 --turns 5
    python -m benchmarks.step --recipe modern --replicas 8 --turns 4      our engines, 3 minutes

All contestants of a paper's network compute the same, which agreement.py proves first. They take turns of two
epochs on one core, one thread each, after a warm-up. Times are milliseconds for the step of one replica;
ratios are of the same turn, medians over turns. The plain loop does not know the modern recipe: our engines
are compared there.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from statistics import median
from typing import TYPE_CHECKING, Literal

import torch
from rich.console import Console
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.speed.agreement import ENGINES, prove_agreement
from benchmarks.speed.harness import Contestant, check_call, numbers, save, show, take_turns
from benchmarks.speed.machine import machine_line, matmul_peak, one_core, restart_on_one_core
from benchmarks.speed.plain_loop import BATCH_SIZE, PlainRun, digit_pairs, step_flops
from datamodules import DigitPairs
from lightning_modules.command import cli
from lightning_modules.models.recipes import MODERN, PAPER
from lightning_modules.models.registry import MODULES
from lightning_modules.models.settings import DATA
from lightning_modules.replicas.fused.sequential import Engine, set_engine
from lightning_modules.training.runner import make_trainer, quiet

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightning_modules.models.base import PairModule

EPOCHS = 2  # in a turn
PAIRS = 1000
MODERN_STEPS = 20  # in a turn, of one replica, by the modern recipe
DTYPES = (torch.float32, torch.bfloat16)

RecipeName = Literal["paper", "modern"]
COLUMNS = {
    "net": "{model}",
    "contestant": "{contestant}",
    "ms a replica-step": "{median:.2f}",
    "ratio": "{ratio:.2f}x",
    "GFLOP/s": "{gflops:.0f}",
    "of peak": "{peak_share:.0%}",
}


def digit_contestant(
    name: str,
    turn: Callable[[], None],
    model: str,
    replicas: int = 1,
    dtype: torch.dtype = torch.float32,
    pairs: int = PAIRS,
) -> Contestant:
    """Somebody who trains one of the paper's networks.

    Args:
        name: What to call it, without the number format.
        turn: Trains two epochs.
        model: The network.
        replicas: How many of it are trained at once.
        dtype: Of the products.
        pairs: Of an epoch.
    """
    half, work = ", bf16-mixed" * (dtype == torch.bfloat16), EPOCHS * pairs // BATCH_SIZE * replicas
    return Contestant(name + half, turn, work, flops=step_flops(model, BATCH_SIZE), dtype=dtype)


def plain(model: str, pairs: int = PAIRS) -> Contestant:
    """The plain loop."""
    run = PlainRun(model, digit_pairs(0, pairs), 0)

    def turn() -> None:
        for _ in range(EPOCHS):
            run.epoch()

    return digit_contestant("plain loop", turn, model, pairs=pairs)


def bare(model: str, engine: Engine, replicas: int, dtype: torch.dtype = torch.float32) -> Contestant:
    """Our module in a bare loop, without the Trainer."""
    seeds = list(range(replicas))
    module = MODULES[model].from_settings(PAPER.settings[model], seeds)
    loader = digit_pairs(seeds, PAIRS).train_dataloader()
    set_engine(module.network, engine)
    optimizer = module.make_optimizer()

    def turn() -> None:
        module.train()
        for _ in range(EPOCHS):
            for number, batch in enumerate(loader):
                with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
                    loss = module.training_step(batch, number)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

    return digit_contestant(f"{engine}, R = {replicas}", turn, model, replicas, dtype)


def trained(model: str, replicas: int, dtype: torch.dtype) -> Contestant:
    """Our module under the Trainer, its metrics included; a new fit each turn."""
    seeds = list(range(replicas))
    module, data = MODULES[model].from_settings(PAPER.settings[model], seeds), digit_pairs(seeds, PAIRS)
    turn = fits(module, data, EPOCHS, dtype)
    return digit_contestant(f"fused, R = {replicas}, Trainer", turn, model, replicas, dtype)


def modern(model: str, engine: Engine, replicas: int, dtype: torch.dtype) -> Contestant:
    """Our module of the modern recipe under the Trainer: one epoch of warped pairs, each in two views."""
    settings, seeds = replace(MODERN.settings[model], two_views_from=0.0), list(range(replicas))
    module = MODULES[model].from_settings(settings, seeds)
    set_engine(module.network, engine)
    pairs = MODERN_STEPS * settings.batch_size
    data = DigitPairs(train_pairs=pairs, val_pairs=0, seed=seeds, **settings.taken_by(DATA))
    name = f"{engine}, R = {replicas}, Trainer" + ", bf16-mixed" * (dtype == torch.bfloat16)
    turn, flops = fits(module, data, 1, dtype), _modern_flops(model)
    return Contestant(name, turn, MODERN_STEPS * replicas, flops=flops, dtype=dtype)


@cache
def _modern_flops(model: str) -> int:
    """Floating-point operations of a step in two views: thrice those of the products forward."""
    settings = MODERN.settings[model]
    module = MODULES[model].from_settings(settings, 0)
    set_engine(module.network, "torch")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(torch.zeros(2 * settings.batch_size, 2, 14, 14))
    return 3 * counter.get_total_flops()


def fits(module: PairModule, data: DigitPairs, epochs: int, dtype: torch.dtype) -> Callable[[], None]:
    """A turn that trains a module under the Trainer."""
    precision = "bf16-mixed" if dtype == torch.bfloat16 else "32-true"
    arguments = {"max_epochs": epochs, "accelerator": "cpu", "precision": precision}
    return lambda: make_trainer(arguments).fit(module, data)


def contestants(model: str, replicas: list[int], recipe: RecipeName) -> list[Contestant]:
    """The ways to train one model; the first is what the others are compared with."""
    most = max(replicas)
    if recipe == "modern":
        return [modern(model, engine, most, dtype) for dtype in DTYPES for engine in ENGINES]
    if model == "auxiliary":  # weight_sharing's step and two cross entropies: how engines compare is known
        return [plain(model), bare(model, "fused", most), trained(model, most, torch.float32)]
    return [
        plain(model),
        bare(model, "torch", 1),
        bare(model, "torch", most),
        *(bare(model, "fused", count) for count in replicas),
        bare(model, "fused", most, torch.bfloat16),
        *(trained(model, most, dtype) for dtype in DTYPES),
    ]


def step(
    turns: int = 15,
    replicas: str = "1,2,4,8,16",
    recipe: RecipeName = "paper",
    out: str | None = None,
    verbose: bool = False,
) -> None:
    """Time a training step of the three networks; of the paper's `auxiliary` by the fused engine only.

    Args:
        turns: Turns of each contestant, after one to warm up.
        replicas: Numbers of replicas, separated by commas; the largest is also timed under the Trainer.
        recipe: Settings of the networks. With `modern` our two engines are compared under the Trainer, with
            the largest number of replicas.
        out: JSON file for the table, every turn and the machine.
        verbose: Whether to show tracebacks.
    """
    check_call(out, turns=turns)
    quiet()
    one_core()
    counts = numbers("replicas", replicas)
    peaks = {dtype: matmul_peak(dtype) for dtype in DTYPES}
    rows, costs = [], list[float]()
    for model in MODULES:
        if recipe == "paper":
            prove_agreement(model)
        everyone = contestants(model, counts, recipe)
        take_turns(everyone, turns)
        rows += [{"model": model, **one.row(everyone[0], 1e3, peaks)} for one in everyone]
        if recipe == "paper":
            costs.append(_trainer_cost(everyone, max(counts)))
    single, half = peaks.values()
    title = f"one core, {turns} turns, peak {single:.0f} (float32) and {half:.0f} (bfloat16) GFLOP/s"
    show(f"{title}\n{machine_line()}", COLUMNS, rows)
    for cost in costs[:1]:  # the same for all networks; it stands out best where the step is shortest
        Console().print(f"the Trainer costs {cost:.0f} us a replica-step at R = {max(counts)}")
    save(out, rows=rows, trainer_us_per_replica_step=costs[0] if costs else None)


def _trainer_cost(everyone: list[Contestant], replicas: int) -> float:
    """Median over turns of the microseconds that the Trainer adds, its fit() of two epochs included."""
    by_name = {one.name: one for one in everyone}
    without, under = by_name[f"fused, R = {replicas}"], by_name[f"fused, R = {replicas}, Trainer"]
    pairs = zip(without.turns, under.turns, strict=True)
    return 1e6 * median(b.seconds - a.seconds for a, b in pairs) / under.work


if __name__ == "__main__":
    restart_on_one_core()
    cli.run(step, "python -m benchmarks.step")
