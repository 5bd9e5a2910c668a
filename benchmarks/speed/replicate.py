"""A training step of R ordinary nets: `replicate`, and every other way that we know.

Command lines:
    python -m benchmarks.replicate                 tens of minutes, most of them for Equinox's convolutions
    python -m benchmarks.replicate --nets cnn,mlp --replicas 1,16 --ways replicate,vmap        a minute
    python -m benchmarks.replicate --nets mlp --replicas 2 --turns 1 --steps 1     some seconds

All train by SGD with the same batches from the same weights. Before they are timed, the losses of some steps
are compared in float64, without dropout. They take turns on one core with one thread; only the plain loop
as one process a core has all cores. Times are of a step of one replica, ratios to the plain loop of one net,
medians over turns. Megabytes are the nets' weights and what tensors of a step hold at most beside them.
"""

from __future__ import annotations

import importlib.util
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.speed.harness import (
    Contestant,
    check_call,
    in_processes,
    numbers,
    prove_equal,
    save,
    show,
    take_turns,
)
from benchmarks.speed.machine import machine_line, one_core, peak_memory
from benchmarks.speed.replicated.equinox_way import EquinoxScan
from benchmarks.speed.replicated.nets import NETS, Task
from benchmarks.speed.replicated.torch_ways import Ensemble, Module, PlainLoop, Replicate, Vmap
from lightning_modules.command import cli
from lightning_modules.command.cores import core_count

if TYPE_CHECKING:
    from collections.abc import Callable

LOOPED = 4  # nets that the plain loop trains at most in a turn: each of them takes the same time
WAYS: dict[str, Callable[[Task], Any]] = {
    "plain loop": PlainLoop,  # comes first: it is what the others are compared with
    "replicate": Replicate,
    "module": Module,
    "vmap": Vmap,
    "ensemble": Ensemble,
    "equinox": EquinoxScan,
}
NEEDS = {"ensemble": "tensordict", "equinox": "equinox"}
COLUMNS = {
    "net": "{net}",
    "R": "{replicas:d}",
    "contestant": "{contestant}",
    "µs a replica-step": "{median:.0f}",
    "ratio": "{ratio:.2f}x",
    "MB": "{megabytes:.1f}",
}


def replicate(
    nets: str = ",".join(NETS),
    replicas: str = "1,4,16,64",
    ways: str = "replicate,module,vmap,ensemble,equinox",
    turns: int = 7,
    steps: int = 5,
    out: str | None = None,
    verbose: bool = False,
) -> None:
    """Time a training step of R nets.

    Args:
        nets: Of cnn, tutorial, normalised, mlp, colour and transformer, separated by commas.
        replicas: Numbers of nets R, separated by commas.
        ways: Who takes turns with the plain loop, separated by commas: replicate; module, a step of
            ReplicatedModule; vmap of grad by torch.func; ensemble, tensordict's EnsembleModule; equinox, with
            vmap and scan of JAX.
        turns: Turns of each contestant, after one to warm up.
        steps: Training steps in a turn.
        out: JSON file for the table, every turn and the machine.
        verbose: Whether to show tracebacks.
    """
    check_call(out, turns=turns, steps=steps)
    names, counts = nets.split(","), numbers("replicas", replicas)
    for name in names:
        if name not in NETS:
            raise cli.CommandError(f"nets must be of {', '.join(NETS)}, got {name}")
    for way in ways.split(","):
        if way not in WAYS:
            raise cli.CommandError(f"ways must be of {', '.join([*WAYS][1:])}, got {way}")
    makers, absent = present(ways.split(","))
    alone = {name: by_processes(Task(name, 1, steps), turns) for name in names}
    cores = core_count()
    one_core()
    rows, remarks = list[dict[str, Any]](), list[str]()
    for name in names:
        able = {way: make for way, make in makers.items() if proven(name, way, remarks)}
        for count in counts:
            rows += timed(Task(name, count, steps), able, turns)
        rows.append(whole_machine(name, cores, alone[name], rows))
    show(f"one core, {turns} turns of {steps} steps\n{machine_line()}", COLUMNS, rows)
    for line in absent + remarks:
        print(line)
    save(out, rows=rows, remarks=absent + remarks)


def present(ways: list[str]) -> tuple[dict[str, Callable[[Task], Any]], list[str]]:
    """The plain loop and those whose packages are installed, and a line for each other one."""
    absent = {
        way: NEEDS[way] for way in ways if way in NEEDS and importlib.util.find_spec(NEEDS[way]) is None
    }
    lines = [f"{way} is left out: {name} is not installed" for way, name in absent.items()]
    wanted = {"plain loop", *ways} - absent.keys()
    return {way: make for way, make in WAYS.items() if way in wanted}, lines


def proven(net: str, way: str, remarks: list[str]) -> bool:
    """Whether a contestant can train this net; if so, it has the plain loop's losses.

    Raises:
        RuntimeError: It has others.
    """
    task = Task(net, 3, 4, torch.float64, dropout=False)
    try:
        losses = WAYS[way](task).run()
    except (NotImplementedError, RuntimeError) as error:
        remarks.append(f"{net}, {way}: cannot train it: {str(error).splitlines()[0]}")
        return False
    expected = PlainLoop(task).run()
    prove_equal(f"{net}, {way}: losses", losses, expected if losses.dim() == 2 else expected.sum(1))
    return True


def timed(task: Task, ways: dict[str, Callable[[Task], Any]], turns: int) -> list[dict[str, Any]]:
    """A row of the table for each contestant."""
    everyone, rows = list[Contestant](), list[dict[str, Any]]()
    for way, make in ways.items():
        count = min(task.replicas, LOOPED) if way == "plain loop" else task.replicas
        program = make(Task(task.net, count, task.steps))
        one = Contestant(way, program.run, task.steps * count)
        everyone.append(one)
        used = megabytes(way, program, task)
        rows.append({"net": task.net, "replicas": task.replicas, "megabytes": used})
    take_turns(everyone, turns)
    return [row | one.row(everyone[0], 1e6) for row, one in zip(rows, everyone, strict=True)]


def megabytes(way: str, program: Any, task: Task) -> float:
    """Weights, and what the first turn holds at most beside them."""
    if way == "equinox":
        return program.megabytes()
    if way == "plain loop":  # it holds one net at a time
        task = Task(task.net, 1, task.steps)
        program = PlainLoop(task)
    weights = sum(value.nbytes for value in NETS[task.net].make().state_dict().values())
    return peak_memory(program.run) + task.replicas * weights / 1e6


def by_processes(task: Task, turns: int) -> float:
    """Seconds a replica-step of the plain loop as one process a core, all at the same time."""
    jobs = [partial(loop_alone, task, turns)] * core_count()
    return median(in_processes(jobs)) / task.steps / len(jobs)


def loop_alone(task: Task, turns: int) -> float:
    """Seconds of a turn of the plain loop, the median."""
    one = Contestant("plain loop", PlainLoop(task).run)
    take_turns([one], 10 * turns, warm_up=turns)
    return one.seconds


def whole_machine(net: str, cores: int, seconds: float, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The row of the plain loop as one process a core, beside the first row, which is of the plain loop."""
    loop = next(row["median"] for row in rows if row["net"] == net)
    name = f"plain loop, {cores} processes"
    return {"net": net, "contestant": name, "median": 1e6 * seconds, "ratio": loop / 1e6 / seconds}


if __name__ == "__main__":
    cli.run(replicate, "python -m benchmarks.replicate")
