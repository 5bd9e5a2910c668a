"""A training step of the paper's networks: the plain loop, and ours by engine, precision and replicas.

Command lines:
    python -m benchmarks.step                         about 4 minutes
    python -m benchmarks.step --replicas 1,8 --turns 5

All contestants of a network compute the same, which agreement.py proves first. They take turns of two epochs
on one core, one thread each, after a warm-up. Times are milliseconds for the step of one replica; ratios are
of the same turn, medians over turns.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.speed.agreement import prove_agreement
from benchmarks.speed.machine import machine, matmul_peak, one_core
from benchmarks.speed.plain_loop import BATCH_SIZE, PlainRun, step_flops
from datamodules import DigitPairs
from lightning_modules.command import cli
from lightning_modules.models.recipes import PAPER
from lightning_modules.models.registry import MODULES
from lightning_modules.replicas.fused.sequential import Engine, set_engine
from lightning_modules.training.runner import make_trainer, quiet

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGES = ("torch", "pytorch_lightning", "numba", "numpy")
EPOCHS = 2  # in a turn
PAIRS = 1000


@dataclass
class Contestant:
    """One way to train."""

    name: str
    replicas: int
    turn: Callable[[], None]  # trains two epochs
    dtype: torch.dtype = torch.float32
    milliseconds: list[float] = field(default_factory=list)  # of a replica-step, one for each turn

    def run(self) -> None:
        """Take a turn."""
        start = time.perf_counter()
        self.turn()
        steps = EPOCHS * PAIRS / BATCH_SIZE * self.replicas
        self.milliseconds.append((time.perf_counter() - start) / steps * 1e3)


def plain(model: str) -> Contestant:
    """The plain loop."""
    run = PlainRun(model, _data([0]), 0)

    def turn() -> None:
        for _ in range(EPOCHS):
            run.epoch()

    return Contestant("plain loop", 1, turn)


def bare(model: str, engine: Engine, replicas: int, precision: torch.dtype = torch.float32) -> Contestant:
    """Our module in a bare loop, without the Trainer."""
    seeds = list(range(replicas))
    module, loader = (
        MODULES[model].from_settings(PAPER.settings[model], seeds),
        _data(seeds).train_dataloader(),
    )
    set_engine(module.network, engine)
    optimizer = module.make_optimizer()
    half = precision == torch.bfloat16

    def turn() -> None:
        module.train()
        for _ in range(EPOCHS):
            for number, batch in enumerate(loader):
                with torch.autocast("cpu", torch.bfloat16, enabled=half):
                    loss = module.training_step(batch, number)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

    name = f"{engine}, R = {replicas}" + ", bf16-mixed" * half
    return Contestant(name, replicas, turn, precision)


def trained(model: str, replicas: int, precision: str) -> Contestant:
    """Our module under the Trainer, its metrics included; a new fit each turn."""
    seeds = list(range(replicas))
    module, data = MODULES[model].from_settings(PAPER.settings[model], seeds), _data(seeds)
    arguments = {"max_epochs": EPOCHS, "accelerator": "cpu", "precision": precision}
    half = precision != "32-true"
    name = f"fused, R = {replicas}, Trainer" + ", bf16-mixed" * half

    def turn() -> None:
        make_trainer(arguments).fit(module, data)

    return Contestant(name, replicas, turn, torch.bfloat16 if half else torch.float32)


def _data(seeds: list[int]) -> DigitPairs:
    data = DigitPairs(train_pairs=PAIRS, val_pairs=0, batch_size=BATCH_SIZE, seed=seeds)
    data.setup()
    return data


def contestants(model: str, replicas: list[int]) -> list[Contestant]:
    """All ways to train one model; the plain loop comes first."""
    most = max(replicas)
    return [
        plain(model),
        bare(model, "torch", 1),
        bare(model, "torch", most),
        *(bare(model, "fused", count) for count in replicas),
        bare(model, "fused", most, torch.bfloat16),
        trained(model, most, "32-true"),
        trained(model, most, "bf16-mixed"),
    ]


def row(
    model: str, one: Contestant, reference: Contestant, peaks: dict[torch.dtype, float]
) -> dict[str, Any]:
    """What is shown of a contestant."""
    ratios = [a / b for a, b in zip(reference.milliseconds, one.milliseconds, strict=True)]
    milliseconds = median(one.milliseconds)
    rate = step_flops(model, BATCH_SIZE) / milliseconds / 1e6
    return {
        "model": model,
        "contestant": one.name,
        "milliseconds": milliseconds,
        "quartiles": quantiles(one.milliseconds)[::2] if len(one.milliseconds) > 1 else None,
        "ratio": median(ratios),
        "gflops": rate,
        "peak_share": rate / peaks[one.dtype],
        "turns": one.milliseconds,
    }


def show(rows: list[dict[str, Any]], title: str) -> None:
    """Print the table."""
    table = Table(title=title, title_justify="left")
    for column in ("net", "contestant", "ms a replica-step", "ratio", "GFLOP/s", "of peak"):
        table.add_column(column, justify="left" if column in ("net", "contestant") else "right")
    for line in rows:
        table.add_row(
            *(line["model"], line["contestant"], f"{line['milliseconds']:.2f}", f"{line['ratio']:.2f}x"),
            *(f"{line['gflops']:.0f}", f"{line['peak_share']:.0%}"),
        )
    Console(width=130).print(table)


def step(
    turns: int = 15, replicas: str = "1,2,4,8,16", out: str | None = None, verbose: bool = False
) -> None:
    """Time a training step of two networks (auxiliary's is weight_sharing's, with two more cross entropies).

    Args:
        turns: Turns of each contestant, after one to warm up.
        replicas: Numbers of replicas, separated by commas; the largest is also timed under the Trainer.
        out: JSON file for the table, every turn and the machine.
        verbose: Whether to show tracebacks.
    """
    quiet()
    one_core()
    counts = [int(count) for count in replicas.split(",")]
    peaks = {dtype: matmul_peak(dtype) for dtype in (torch.float32, torch.bfloat16)}
    rows: list[dict[str, Any]] = []
    for model in ("cnn", "weight_sharing"):
        prove_agreement(model)
        everyone = contestants(model, counts)
        for _ in range(turns + 1):
            for one in everyone:
                one.run()
        for one in everyone:
            del one.milliseconds[0]
        rows += map(partial(row, model, reference=everyone[0], peaks=peaks), everyone)
        if model == "cnn":
            cost = _trainer_cost(everyone, max(counts))
    about = ", ".join(f"{name} {value}" for name, value in machine(PACKAGES).items())
    title = (
        f"one core, {turns} turns, peak {peaks[torch.float32]:.0f} (float32) and {peaks[torch.bfloat16]:.0f}"
    )
    show(rows, f"{title} (bfloat16) GFLOP/s\n{about}")
    Console().print(f"the Trainer costs {cost:.0f} us a replica-step at R = {max(counts)}")
    if out:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        result: dict[str, Any] = {"command": cli.command_line(), "machine": machine(PACKAGES), "rows": rows}
        result["trainer_us_per_replica_step"] = cost
        Path(out).write_text(json.dumps(result, indent=1))


def _trainer_cost(everyone: list[Contestant], replicas: int) -> float:
    """Median over turns of the microseconds that the Trainer adds, its fit() of two epochs included.

    It is the same for all networks; measured on the one whose step is shortest, it stands out best.
    """
    by_name = {one.name: one.milliseconds for one in everyone}
    without, under = by_name[f"fused, R = {replicas}"], by_name[f"fused, R = {replicas}, Trainer"]
    return 1e3 * median(b - a for a, b in zip(without, under, strict=True))


if __name__ == "__main__":
    cli.run(step, "python -m benchmarks.step")
