"""Time a training step of chapter 2's nets: the framework from scratch beside torch, numpy, JAX, tinygrad.

    python -m benchmarks.scratch_step
    python -m benchmarks.scratch_step --repeats 200 --recipes paper --replicas 16,32,48 --out step.json

The step is that of the two recipes (`experiments.disc.recipe`): their nets, losses, reductions and
optimisers, batches of 50, float32, on one core; only a schedule is left out. All contestants start from the
same weights and see the same batches; first they must agree in float64. Then they take turns of 100 steps in
processor time, so that other programs hit all alike and little. JAX and tinygrad take part where they are
installed (``pip install -e .[bench]``), torch.compile where it finds a C++ compiler.
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
from torch._dynamo.exc import BackendCompilerFailed

from benchmarks.speed.disc import batched, rivals
from benchmarks.speed.disc import contestants as ours
from benchmarks.speed.disc.task import STEPS, Run, Task
from benchmarks.speed.machine import machine, one_core, restart_on_one_core
from scratch_framework.experiments.disc.recipe import RECIPES

if TYPE_CHECKING:
    from collections.abc import Callable

    from scratch_framework.experiments.disc.recipe import Recipe

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
        Contestant("torch.nn, autograd, torch.optim", ours.torch_nn),
        Contestant("torch.nn, autograd, fused optimiser", partial(ours.torch_nn, fused=True)),
        Contestant("torch.compile, fused optimiser", partial(ours.torch_nn, fused=True, compile_loss=True)),
        *(Contestant(f"torch.func, vmap, R={count}", batched.torch_vmap, count) for count in many),
        *(Contestant(f"torch, baddbmm, autograd, R={count}", batched.torch_baddbmm, count) for count in many),
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


def check(present: list[Contestant], most: int, recipe: Recipe, tolerance: float = 1e-8) -> dict[str, str]:
    """Refuse contestants that compute something else.

    Args:
        present: Who takes part.
        most: The largest number of replicas.
        recipe: What they train.
        tolerance: Largest difference, for a point, of a float64 loss after two epochs from torch.nn's;
            tinygrad keeps its learning rate in float32, which shows in the ninth digit.

    Returns:
        Why some cannot take part, by name: torch.compile or tinygrad finds no compiler that serves it.

    Raises:
        RuntimeError: A contestant computes something else.
    """
    task = Task.draw(most, torch.float64, recipe)
    points = recipe.batch_size if recipe.reduction == "sum" else 1
    expected = []
    for replica in range(most):
        run = ours.torch_nn(task.part(replica, 1))
        run()
        expected += run()
    absent = {}
    for one in present:
        try:
            run = one.make(task.part(0, one.replicas))
            run()
            losses = run()
        except (BackendCompilerFailed, OSError, NotImplementedError) as error:  # the latter two: tinygrad's
            absent[one.name] = f"cannot compile here: {str(error).splitlines()[0]}"
            continue
        for replica, loss in enumerate(losses):
            if not abs(loss - expected[replica]) < tolerance * points:
                raise RuntimeError(
                    f"{one.name}: replica {replica} has loss {loss}, in torch.nn it is {expected[replica]}"
                )
    return absent


def measure(present: list[Contestant], most: int, recipe: Recipe, repeats: int) -> dict[str, list[float]]:
    """Let all take turns.

    Args:
        present: Who takes part.
        most: The largest number of replicas.
        recipe: What they train.
        repeats: Turns of each.

    Returns:
        Microseconds per step of a replica, by name, one for each turn.
    """
    task = Task.draw(most, torch.float32, recipe)
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


def report(
    everyone: list[Contestant], times: dict[str, list[float]], absent: dict[str, str]
) -> list[dict[str, Any]]:
    """Make a row of each contestant.

    Args:
        everyone: Those that take part, and those that cannot.
        times: From `measure`.
        absent: Why some do not take part, by name.

    Returns:
        Rows by name, median, quartiles and ratio to the first; or name and reason.
    """
    measure_of_all = statistics.median(times[everyone[0].name])
    rows: list[dict[str, Any]] = []
    for one in everyone:
        if one.name in absent:
            rows.append({"name": one.name, "absent": absent[one.name]})
            continue
        low, median, high = statistics.quantiles(times[one.name])
        ratio = measure_of_all / median
        rows.append({"name": one.name, "median": median, "quartiles": [low, high], "ratio": ratio})
    return rows


def show(rows: list[dict[str, Any]], name: str, repeats: int) -> None:
    """Print the table.

    Args:
        rows: From `report`.
        name: The recipe's.
        repeats: Turns of each.
    """
    about = ", ".join(f"{name} {value or 'not installed'}" for name, value in machine(PACKAGES).items())
    table = Table(title=f"A training step of recipe {name}, {repeats} turns each", caption=about)
    table.add_column("contestant")
    for column in ("us per replica-step", "quartiles", "one torch.nn net = 1"):
        table.add_column(column, justify="right")
    for row in rows:
        if "absent" in row:
            table.add_row(row["name"], row["absent"], "", "")
            continue
        low, high = row["quartiles"]
        table.add_row(row["name"], f"{row['median']:.1f}", f"{low:.1f} .. {high:.1f}", f"{row['ratio']:.1f}x")
    Console(width=120).print(table)


def compete(recipe: Recipe, replicas: list[int], repeats: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Check and time everyone on one recipe.

    Args:
        recipe: What to train.
        replicas: Numbers of replicas.
        repeats: Turns of each.

    Returns:
        Rows of the table, and all times.
    """
    everyone, most = contestants(replicas), max(replicas)
    absent = {one.name: "not installed" for one in everyone if not find_spec(one.needs)}
    absent |= check([one for one in everyone if one.name not in absent], most, recipe)
    times = measure([one for one in everyone if one.name not in absent], most, recipe, repeats)
    return report(everyone, times, absent), times


def at_least(least: int) -> Callable[[str], int]:
    """Read a whole number that must not be smaller."""

    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, got {value}")
        return value

    return number


def main(arguments: list[str] | None = None) -> None:
    """Run the command.

    Args:
        arguments: Command line; the process's own by default.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0], allow_abbrev=False)
    parser.add_argument(
        "--repeats", type=at_least(2), default=100, help="turns of each contestant (default: 100)"
    )
    parser.add_argument(
        "--recipes",
        nargs="+",
        choices=list(RECIPES),
        default=list(RECIPES),
        help="what to train (default: all)",
    )
    parser.add_argument(
        "--replicas", type=listed, default=[1, 16, 32, 48], help="numbers of replicas (default: 1,16,32,48)"
    )
    parser.add_argument("--out", type=Path, help="JSON file to write")
    flags = parser.parse_args(arguments)
    one_core()
    result: dict[str, Any] = {"machine": machine(PACKAGES), "repeats": flags.repeats, "recipes": {}}
    for name in flags.recipes:
        rows, times = compete(RECIPES[name], flags.replicas, flags.repeats)
        show(rows, name, flags.repeats)
        result["recipes"][name] = {"rows": rows, "microseconds": times}
    if flags.out:
        flags.out.write_text(json.dumps(result, indent=1))


def listed(text: str) -> list[int]:
    """Read numbers of at least 1 with commas between."""
    return [at_least(1)(part) for part in text.split(",")]


if __name__ == "__main__":
    restart_on_one_core()
    main()
