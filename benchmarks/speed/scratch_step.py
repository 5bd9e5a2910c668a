"""Time a training step of chapter 2's nets: the framework from scratch beside torch, numpy, JAX, tinygrad.

Command lines:
    python -m benchmarks.scratch_step                      about 10 minutes
    python -m benchmarks.scratch_step --repeats 200 --recipes paper --replicas 16,32,48 --out step.json

The step is that of the two recipes (`experiments.disc.recipe`): their nets, losses, reductions and
optimisers, batches of 50, float32, on one core; only a schedule is left out. All contestants start from the
same weights and see the same batches; first they must agree in float64. Then they take turns of 100 steps in
processor time, so that other programs hit all alike and little. JAX and tinygrad take part where they are
installed (``pip install -e .[bench]``), torch.compile where it finds a C++ compiler.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from torch._dynamo.exc import BackendCompilerFailed

from benchmarks.speed.disc import contestants, rivals
from benchmarks.speed.disc.task import STEPS, Run, Task
from benchmarks.speed.harness import Contestant, check_call, numbers, prove_equal, save, show, take_turns
from benchmarks.speed.machine import machine_line, one_core, restart_on_one_core
from lightning_modules.command import cli
from scratch_framework.experiments.disc.recipe import RECIPES, Recipe

TURN = 5  # epochs of a turn, after one more that refills the caches
TOLERANCE = 1e-8  # for a point: tinygrad keeps its learning rate in float32, which shows in the ninth digit
COLUMNS = {
    "contestant": "{contestant}",
    "us per replica-step": "{median:.1f}",
    "quartiles": "{quartiles[0]:.1f} .. {quartiles[1]:.1f}",
    "one torch.nn net = 1": "{ratio:.1f}x",
}


@dataclass(frozen=True)
class Entry:
    """Who wants to take part."""

    name: str
    make: Callable[[Task], Run]
    replicas: int = 1
    needs: str = "torch"  # package without which it cannot take part

    def contestant(self, task: Task) -> Contestant:
        """Somebody who trains the first of a task's nets, five epochs a turn."""
        run = self.make(task.part(0, self.replicas))

        def turn() -> None:
            for _ in range(TURN):
                run()

        return Contestant(self.name, turn, TURN * STEPS * self.replicas, prepare=run)


def entries(replicas: list[int]) -> list[Entry]:
    """All that want to take part; the first is the measure of the others. Single nets are always there."""
    many = [count for count in replicas if count > 1]
    return [
        Entry("torch.nn, autograd, torch.optim", contestants.torch_nn),
        Entry("torch.nn, autograd, fused optimiser", partial(contestants.torch_nn, fused=True)),
        Entry("torch.compile, fused optimiser", partial(contestants.torch_nn, fused=True, compile_loss=True)),
        *(Entry(f"torch.func, vmap, R={count}", contestants.torch_vmap, count) for count in many),
        *(Entry(f"torch, baddbmm, autograd, R={count}", contestants.torch_baddbmm, count) for count in many),
        Entry("numpy by hand", rivals.numpy_by_hand, needs="numpy"),
        Entry("JAX, jit of a step", partial(rivals.jax_run, scan=False), needs="jax"),
        Entry("JAX, jit of a scan", rivals.jax_run, needs="jax"),
        *(
            Entry(f"JAX, vmap and scan, R={count}", partial(rivals.jax_run, replicas=count), count, "jax")
            for count in many
        ),
        Entry("tinygrad, TinyJit", rivals.tinygrad_jit, needs="tinygrad"),
        Entry("scratch, plain", partial(contestants.scratch, compiled=False)),
        Entry("scratch, compiled", contestants.scratch),
        Entry("scratch, compiled, inference_mode", partial(contestants.scratch, inference=True)),
        *(
            Entry(f"scratch, compiled, R={count}", partial(contestants.scratch, replicas=count), count)
            for count in many
        ),
    ]


def prove(everyone: list[Entry], most: int, recipe: Recipe) -> dict[str, str]:
    """Prove that all have torch.nn's float64 losses after two epochs, for at most so many replicas.

    Returns:
        Why some cannot take part, by name: a library is missing, or finds no compiler that serves it.

    Raises:
        RuntimeError: One computes something else.
    """
    task = Task.draw(most, torch.float64, recipe)
    points = recipe.batch_size if recipe.reduction == "sum" else 1
    expected: list[float] = []
    for replica in range(most):
        expected += _losses(contestants.torch_nn(task.part(replica, 1)))
    absent = {}
    for one in everyone:
        if not find_spec(one.needs):
            absent[one.name] = "not installed"
            continue
        try:
            losses = _losses(one.make(task.part(0, one.replicas)))
        except (BackendCompilerFailed, OSError, NotImplementedError) as error:  # the latter two: tinygrad's
            absent[one.name] = f"cannot compile here: {str(error).splitlines()[0]}"
            continue
        prove_equal(f"{one.name}: losses", losses, expected[: one.replicas], TOLERANCE * points)
    return absent


def _losses(run: Run) -> list[float]:
    run()
    return run()


def compete(recipe: Recipe, replicas: list[int], repeats: int) -> list[dict[str, Any]]:
    """Check and time everyone on one recipe; the rows of the table."""
    everyone, most = entries(replicas), max(replicas)
    absent = prove(everyone, most, recipe)
    task = Task.draw(most, torch.float32, recipe)
    present = {one.name: one.contestant(task) for one in everyone if one.name not in absent}
    take_turns(list(present.values()), repeats, clock=time.process_time)  # tinygrad compiles in the warm-up
    reference = present[everyone[0].name]
    return [
        present[one.name].row(reference, 1e6)
        if one.name in present
        else {"contestant": f"{one.name}: {absent[one.name]}"}
        for one in everyone
    ]


def scratch_step(
    repeats: int = 100,
    recipes: str = ",".join(RECIPES),
    replicas: str = "1,16,32,48",
    out: str | None = None,
    verbose: bool = False,
) -> None:
    """Time a training step of chapter 2's nets.

    Args:
        repeats: Turns of each contestant.
        recipes: What to train, separated by commas.
        replicas: Numbers of replicas, separated by commas.
        out: JSON file for the tables, every turn and the machine.
        verbose: Whether to show tracebacks.
    """
    check_call(out, repeats=repeats)
    one_core()
    counts, names, tables = numbers("replicas", replicas), recipes.split(","), {}
    if unknown := set(names) - set(RECIPES):
        raise cli.CommandError(f"recipes must be among {', '.join(RECIPES)}, got {', '.join(unknown)}")
    for name in names:
        tables[name] = compete(RECIPES[name], counts, repeats)
        title = f"A training step of recipe {name}, {repeats} turns each\n{machine_line()}"
        show(title, COLUMNS, tables[name])
    save(out, repeats=repeats, recipes=tables)


if __name__ == "__main__":
    restart_on_one_core()
    cli.run(scratch_step, "python -m benchmarks.scratch_step")
