"""Time a training step of the paper's net: the framework from scratch beside torch.nn, numpy, JAX, tinygrad.

    python -m benchmarks.scratch_step
    python -m benchmarks.scratch_step --repeats 200 --replicas 16,32,48 --out step.json

Net 2-25-25-25-1 with Tanh ReLU ReLU Tanh, mean squared error, SGD with weight decay, batches of 50, float32,
on one core. All contestants start from the same weights and see the same batches; first they must agree in
float64. Then they take turns of 100 steps in processor time, so that other programs hit all alike and little.
JAX and tinygrad take part where they are installed (``pip install -e .[bench]``).
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import step_contestants as ours
from benchmarks import step_rivals as rivals
from benchmarks.machine import machine, one_core
from benchmarks.step_task import STEPS, Run, Task

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGES = ("torch", "numpy", "jax", "tinygrad")
WARM_UP = 3  # epochs before the first turn; tinygrad compiles in its second
TURN = 5  # epochs of a turn, after one more that refills the caches


class Contestant(NamedTuple):
    """One row of the table."""

    name: str
    make: Callable[[Task], Run]
    replicas: int = 1
    needs: str = "torch"  # package without which it cannot take part


def contestants(replicas: list[int]) -> list[Contestant]:
    """All that take part; the first is the measure of the others.

    Args:
        replicas: Numbers of replicas to time; 1 stands for the single net, which is always there.

    Returns:
        Contestants in the order of the table.
    """
    many = [count for count in replicas if count > 1]
    return [
        Contestant("torch.nn, autograd, optim.SGD", ours.torch_nn),
        Contestant("torch.nn, autograd, fused SGD", partial(ours.torch_nn, fused=True)),
        Contestant("numpy by hand", ours.numpy_by_hand, needs="numpy"),
        Contestant("JAX, jit of a step", rivals.jax_step, needs="jax"),
        Contestant("JAX, jit of a scan", rivals.jax_scan, needs="jax"),
        *(Contestant(f"JAX, vmap and scan, R={count}", rivals.jax_vmap_scan, count, "jax") for count in many),
        Contestant("tinygrad, TinyJit", rivals.tinygrad_jit, needs="tinygrad"),
        Contestant("scratch, plain", ours.scratch_plain),
        Contestant("scratch, compiled", ours.scratch_compiled),
        Contestant("scratch, compiled, inference_mode", ours.scratch_inference),
        *(
            Contestant(f"scratch, compiled, R={count}", partial(ours.scratch_compiled, replicas=count), count)
            for count in many
        ),
    ]


def check(present: list[Contestant], most: int, tolerance: float = 1e-8) -> None:
    """Refuse contestants that compute something else.

    Args:
        present: Who takes part.
        most: The largest number of replicas.
        tolerance: Largest difference of a float64 loss after two epochs from torch.nn's; tinygrad keeps its
            learning rate in float32, which shows in the ninth digit.
    """
    task = Task.draw(most, torch.float64)
    expected = []
    for replica in range(most):
        run = ours.torch_nn(task.part(replica, 1))
        run()
        expected += run()
    for one in present:
        run = one.make(task.part(0, one.replicas))
        run()
        for replica, loss in enumerate(run()):
            if not abs(loss - expected[replica]) < tolerance:
                raise RuntimeError(
                    f"{one.name}: replica {replica} has loss {loss}, in torch.nn it is {expected[replica]}"
                )


def measure(present: list[Contestant], most: int, repeats: int) -> dict[str, list[float]]:
    """Let all take turns.

    Args:
        present: Who takes part.
        most: The largest number of replicas.
        repeats: Turns of each.

    Returns:
        Microseconds per step of a replica, by name, one for each turn.
    """
    task = Task.draw(most, torch.float32)
    runs = {one.name: one.make(task.part(0, one.replicas)) for one in present}
    for run in runs.values():
        for _ in range(WARM_UP):
            run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for one in present:
            run = runs[one.name]
            run()
            start = time.process_time()
            for _ in range(TURN):
                run()
            seconds = time.process_time() - start
            times[one.name].append(seconds / (TURN * STEPS * one.replicas) * 1e6)
    return times


def report(everyone: list[Contestant], times: dict[str, list[float]]) -> list[dict[str, Any]]:
    """Make a row of each contestant.

    Args:
        everyone: Those that take part, and those that are not installed.
        times: From `measure`.

    Returns:
        Rows by name, median, quartiles and ratio to the first; absent ones have the name alone.
    """
    measure_of_all = statistics.median(times[everyone[0].name])
    rows: list[dict[str, Any]] = []
    for one in everyone:
        row: dict[str, Any] = {"name": one.name}
        if one.name in times:
            low, median, high = statistics.quantiles(times[one.name])
            row |= {"median": median, "quartiles": [low, high], "ratio": measure_of_all / median}
        rows.append(row)
    return rows


def show(rows: list[dict[str, Any]], repeats: int) -> None:
    """Print the table.

    Args:
        rows: From `report`.
        repeats: Turns of each.
    """
    about = ", ".join(f"{name} {value or 'not installed'}" for name, value in machine(PACKAGES).items())
    table = Table(title=f"A training step of the paper's net, {repeats} turns each", caption=about)
    table.add_column("contestant")
    for column in ("us per replica-step", "quartiles", "torch.nn = 1"):
        table.add_column(column, justify="right")
    for row in rows:
        if "median" in row:
            low, high = row["quartiles"]
            table.add_row(
                row["name"], f"{row['median']:.1f}", f"{low:.1f} .. {high:.1f}", f"{row['ratio']:.1f}x"
            )
        else:
            table.add_row(row["name"], "not installed", "", "")
    Console(width=120).print(table)


def main(arguments: list[str] | None = None) -> None:
    """Run the command.

    Args:
        arguments: Command line; the process's own by default.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--repeats", type=int, default=100, help="turns of each contestant (default: 100)")
    parser.add_argument("--replicas", default="1,16,32,48", help="numbers of replicas (default: 1,16,32,48)")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    flags = parser.parse_args(arguments)
    one_core()
    replicas = [int(count) for count in flags.replicas.split(",")]
    everyone = contestants(replicas)
    present = [one for one in everyone if find_spec(one.needs)]
    check(present, max(replicas))
    times = measure(present, max(replicas), flags.repeats)
    rows = report(everyone, times)
    show(rows, flags.repeats)
    if flags.out:
        result = {"machine": machine(PACKAGES), "repeats": flags.repeats, "rows": rows, "microseconds": times}
        flags.out.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
