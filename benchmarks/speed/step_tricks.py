"""What each trick of the compiled step buys, and where the time of a step still goes.

    python -m benchmarks.step_tricks
    python -m benchmarks.step_tricks --repeats 400 --replicas 1,32

The tricks are switched off one at a time; all variants take turns on one core, as in `scratch_step`.
"""

from __future__ import annotations

import argparse
import statistics
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.speed.disc.contestants import scratch_compiled, scratch_plain
from benchmarks.speed.disc.task import STEPS, Run, Task
from benchmarks.speed.machine import one_core, restart_on_one_core
from benchmarks.speed.scratch_step import TURN
from scratch_framework.fast import compiled_pass
from scratch_framework.fast.fused_layers import Identity, InPlaceReLU, InPlaceTanh
from scratch_framework.fast.fused_losses import PlainLoss
from scratch_framework.fast.parameter_vector import ParameterVector

if TYPE_CHECKING:
    from collections.abc import Callable

OPERATIONS = [  # all that a step calls
    *("baddbmm_", "sigmoid_", "lerp_", "relu_", "sign_", "square_"),
    *("mul_", "addcmul_", "addcmul", "sub_", "copy_", "clone"),
]


def tanh(self: Identity, y: Tensor) -> None:
    """The function itself."""
    y.tanh_()


def slope_by_where(self: Identity, y: Tensor, grad: Tensor) -> None:
    """ReLU's slope as one first writes it."""
    grad.copy_(grad.where(y > 0, 0))


TRICKS: dict[str, dict[Any, dict[str, Any]]] = {
    "tanh by tanh": {InPlaceTanh: {"gain": 1.0, "forward": tanh}},
    "ReLU's slope by where": {InPlaceReLU: {"backward": slope_by_where}},
    "loss by the plain criterion": {compiled_pass: {"fused_loss": PlainLoss}},
    "a step for each parameter": {ParameterVector: {"attach_optimizer": lambda self, optimizer: None}},
}


class Variant:
    """A training with some of the tricks switched off."""

    def __init__(self, make: Callable[[], Run], patches: dict[Any, dict[str, Any]]) -> None:
        """Start the training.

        Args:
            make: Starts it.
            patches: What to replace, by owner and name.
        """
        self.patches, self.times = patches, list[float]()
        with self.switched():
            self.run = make()

    def switched(self) -> ExitStack:
        """Switch the tricks off for a while."""
        stack = ExitStack()
        for owner, names in self.patches.items():
            stack.enter_context(patch.multiple(owner, **names))
        return stack

    def turn(self) -> None:
        """Train 100 steps and note the microseconds of one."""
        with self.switched():
            self.run()
            start = time.process_time()
            for _ in range(TURN):
                self.run()
            self.times.append((time.process_time() - start) / (TURN * STEPS) * 1e6)


def variants(replicas: int) -> dict[str, Variant]:
    """The compiled step, with each trick off, with all off, and the plain step."""
    task = Task.draw(replicas, torch.float32)
    count = None if replicas == 1 else replicas

    def make() -> Run:
        return scratch_compiled(task, count)

    every = {owner: names for patches in TRICKS.values() for owner, names in patches.items()}
    named = {name: Variant(make, patches) for name, patches in TRICKS.items()}
    return {
        "compiled": Variant(make, {}),
        **named,
        "all four": Variant(make, every),
        "the plain framework": Variant(lambda: scratch_plain(task, count), {}),
    }


def timed(operation: Callable[..., Any], times: list[float]) -> Callable[..., Any]:
    """Wrap an operation to note the seconds of each call."""

    def call(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        result = operation(*args, **kwargs)
        times.append(time.perf_counter() - start)
        return result

    return call


def operations(replicas: int, repeats: int) -> tuple[dict[str, tuple[int, float]], float]:
    """Time every call into torch of a compiled step, from inside.

    Args:
        replicas: R.
        repeats: Epochs to time with a clock around every call, and as many without.

    Returns:
        Calls and microseconds of a step by operation, the sum over its calls of their medians; and
        microseconds of the whole step without the clocks.
    """
    run = scratch_compiled(Task.draw(replicas, torch.float32), None if replicas == 1 else replicas)
    idle, epochs = list[float](), list[float]()
    times: dict[str, list[float]] = {name: [] for name in OPERATIONS}
    wrapped: dict[str, Any] = {name: timed(getattr(Tensor, name), times[name]) for name in OPERATIONS}
    nothing = timed(lambda *args, **kwargs: None, idle)
    for _ in range(repeats):
        run()
        start = time.process_time()
        run()
        epochs.append(time.process_time() - start)
        for _ in range(STEPS):
            nothing(None, beta=0)
        with patch.multiple(Tensor, **wrapped):
            run()
    found = {}
    for name, seconds in times.items():
        calls = len(seconds) // (repeats * STEPS)
        total = sum(statistics.median(seconds[place::calls]) for place in range(calls))
        found[name] = (calls, (total - calls * statistics.median(idle)) * 1e6)
    return found, statistics.median(epochs) / STEPS * 1e6


def show_tricks(times: dict[str, list[float]], replicas: int) -> None:
    """Print what each trick buys."""
    table = Table(title=f"compiled step, R={replicas}, us a step")
    for column in ("without", "median", "quartiles", "costs more"):
        table.add_column(column, justify="left" if column == "without" else "right")
    base = statistics.median(times["compiled"])
    for name, values in times.items():
        low, median, high = statistics.quantiles(values)
        more = f"{median - base:+.1f} ({median / base - 1:+.0%})"
        table.add_row(name, f"{median:.1f}", f"{low:.1f} .. {high:.1f}", more)
    Console(width=110).print(table)


def show_operations(found: dict[str, tuple[int, float]], step: float, replicas: int) -> None:
    """Print where the time goes."""
    table = Table(title=f"inside a compiled step, R={replicas}")
    for column in ("operation", "calls", "us", "share"):
        table.add_column(column, justify="left" if column == "operation" else "right")
    inside = sum(microseconds for _, microseconds in found.values())
    calls = sum(count for count, _ in found.values())
    rest = ("Python around them", (0, step - inside))
    for name, (count, microseconds) in [*found.items(), rest, ("the step", (calls, step))]:
        table.add_row(name, str(count or ""), f"{microseconds:.1f}", f"{microseconds / step:.0%}")
    Console(width=110).print(table)


def main(arguments: list[str] | None = None) -> None:
    """Run the command.

    Args:
        arguments: Command line; the process's own by default.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--repeats", type=int, default=100, help="turns of each variant (default: 100)")
    parser.add_argument("--replicas", default="1,32", help="numbers of replicas (default: 1,32)")
    flags = parser.parse_args(arguments)
    one_core()
    for replicas in map(int, flags.replicas.split(",")):
        everyone = variants(replicas)
        for _ in range(flags.repeats):
            for variant in everyone.values():
                variant.turn()
        times = {name: variant.times for name, variant in everyone.items()}
        show_tricks(times, replicas)
        show_operations(*operations(replicas, flags.repeats), replicas)


if __name__ == "__main__":
    restart_on_one_core()
    main()
