"""What is to be measured on a GPU, by one command: agreement, steps a second, the grid of 320 trainings.

Command lines:
    python -m benchmarks.gpu --out runs/gpu.json                  made for less than 8 minutes on one GPU
    python -m benchmarks.gpu --accelerator cpu --replicas 1,2 --turns 1 --n_trials 2 --repeats 1

The second is a rehearsal on a CPU, where there are no CUDA graphs. No GPU was at hand yet: the part of the
graphs was never run. First the device must compute what the plain loop computes there, in float64. Then a
step is timed on a batch that lies on the device, in three precisions, with and without a CUDA graph of the
step. Ratios are to the plain loop, one net, on the same device and in the same precision. Last, `python -m
tune` trains the paper's grid, all 320 trainings, with its start and its plots. The plain loop's time for that
is the time of its steps alone. The tables are for docs/performance.md.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console

from benchmarks.speed.agreement import prove_agreement
from benchmarks.speed.harness import Contestant, check_call, numbers, save, show, take_turns
from benchmarks.speed.machine import machine_line
from benchmarks.speed.plain_loop import BATCH_SIZE, PlainRun, digit_pairs, tensors
from benchmarks.speed.tuning import grid_of, ours
from lightning_modules.command import cli
from lightning_modules.models.recipes import PAPER
from lightning_modules.models.registry import MODULES
from lightning_modules.replicas.dropout import Dropout
from lightning_modules.replicas.fused.sequential import set_engine
from lightning_modules.training.runner import asked_trainer, quiet

if TYPE_CHECKING:
    from collections.abc import Callable

PRECISIONS = ("32-true", "tf32", "bf16-mixed")
COLUMNS = {
    "net": "{model}",
    "precision": "{precision}",
    "contestant": "{contestant}",
    "replica-steps a second": "{rate:,.0f}",
    "ratio": "{ratio:.1f}x",
}
GRID = {"contestant": "{contestant}", "s": "{seconds:.1f}", "ratio": "{ratio:.1f}x"}


def set_precision(precision: str) -> None:
    """Choose how float32 is multiplied from here on; bfloat16 is autocast's, in the step."""
    products = "tf32" if precision == "tf32" else "ieee"
    torch.backends.cuda.matmul.fp32_precision = products
    torch.backends.cudnn.conv.fp32_precision = products  # type: ignore[attr-defined]


def plain_step(model: str, device: torch.device, precision: str) -> Callable[[], None]:
    """A step of the plain loop."""
    run = PlainRun(model, digit_pairs(0, BATCH_SIZE), 0)
    run.net.to(device)
    batch = [part.to(device) for part in tensors(run.data.train_set, run.data.train_digits)]

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16-mixed"):
            run.step(*batch)

    return step


def our_step(
    model: str, device: torch.device, precision: str, replicas: int, graph: bool
) -> Callable[[], None]:
    """A step of R replicas, in a bare loop or as one CUDA graph."""
    seeds = list(range(replicas))
    module = MODULES[model].from_settings(PAPER.settings[model], seeds).to(device)
    set_engine(module.network, "torch")
    batch: Any = [part.to(device) for part in next(iter(digit_pairs(seeds, BATCH_SIZE).train_dataloader()))]
    optimizer = module.make_optimizer()

    def step() -> None:
        with torch.autocast(
            device.type, torch.bfloat16, enabled=precision == "bf16-mixed", cache_enabled=not graph
        ):
            loss = module.training_step(batch, 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return _captured(module, step) if graph else step


def _captured(module: torch.nn.Module, step: Callable[[], None]) -> Callable[[], None]:
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):  # as torch's notes on CUDA graphs say
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    for layer in module.modules():
        if isinstance(layer, Dropout) and layer.device_generator is not None:
            graph.register_generator_state(layer.device_generator)
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def contestants(model: str, device: torch.device, precision: str, counts: list[int]) -> list[Contestant]:
    """All ways to train one model in one precision; the plain loop comes first. What fails is named."""
    ways = [("plain loop", 1, partial(plain_step, model, device, precision))]
    for count in counts:
        for graph in (False, True)[: 1 + (device.type == "cuda")]:
            name = f"R = {count}" + ", CUDA graph" * graph
            ways.append((name, count, partial(our_step, model, device, precision, count, graph)))
    everyone = []
    for name, count, make in ways:
        steps = 20 if count <= 64 else 5
        try:
            turn = partial(_turn, make(), steps, device)
        except RuntimeError as error:  # out of memory, or an operation that no graph can hold
            Console().print(f"{model}, {precision}, {name}: left out: {str(error).splitlines()[0]}")
            continue
        everyone.append(Contestant(name, turn, steps * count))
    return everyone


def _turn(step: Callable[[], None], steps: int, device: torch.device) -> None:
    for _ in range(steps):
        step()
    if device.type != "cpu":
        torch.accelerator.synchronize()


def gpu(
    accelerator: str = "gpu",
    replicas: str = "1,16,64,320,1000",
    turns: int = 3,
    n_trials: int | None = None,
    repeats: int = 5,
    max_epochs: int = 25,
    out: str | None = None,
    verbose: bool = False,
) -> None:
    """Check and time everything on one device.

    Args:
        accelerator: Lightning's: gpu, or cpu to rehearse.
        replicas: Numbers of replicas, separated by commas.
        turns: Turns of each contestant, after one to warm up.
        n_trials: Points of the grid; all 64 by default.
        repeats: Trainings of each.
        max_epochs: Epochs of each training.
        out: JSON file for the tables, every turn and the machine.
        verbose: Whether to show tracebacks.
    """
    check_call(out, turns=turns, repeats=repeats, max_epochs=max_epochs)
    quiet()
    counts = numbers("replicas", replicas)
    grid = grid_of(n_trials, repeats, max_epochs)
    device = asked_trainer({"accelerator": accelerator}).strategy.root_device
    rows: list[dict[str, Any]] = []
    for model in MODULES:
        prove_agreement(model, device)
        for precision in PRECISIONS:
            set_precision(precision)
            everyone = contestants(model, device, precision, counts)
            take_turns(everyone, turns)
            own = ({**one.row(everyone[0]), "rate": one.work / one.seconds} for one in everyone)
            rows += [{"model": model, "precision": precision, **row} for row in own]
    set_precision("32-true")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    show(f"{name}, {turns} turns\n{machine_line()}", COLUMNS, rows)
    tuned = Contestant("python -m tune", partial(ours, grid, 1, accelerator))
    take_turns([tuned], 1, warm_up=0)
    rate = next(row["rate"] for row in rows if (row["model"], row["precision"]) == ("auxiliary", "32-true"))
    seconds = grid.steps / rate
    table = [
        {"contestant": "plain loop, its steps alone", "seconds": seconds, "ratio": 1.0},
        {"contestant": tuned.name, "seconds": tuned.seconds, "ratio": seconds / tuned.seconds},
    ]
    show(f"{grid.trainings} trainings, {grid.steps} steps", GRID, table)
    save(out, rows=rows, grid=table, device=name)


if __name__ == "__main__":
    cli.run(gpu, "python -m benchmarks.gpu")
