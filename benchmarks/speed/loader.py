"""Cost of a batch of 50 pairs on one core: tensor indexing against a per-sample DataLoader.

Command line:
    python -m benchmarks.loader

Blocks of the variants alternate, after a warm-up; medians and quartiles over blocks.
"""

import json
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import quantiles

import torch
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.speed.machine import machine
from datamodules import DigitPairs
from lightning_modules.command import cli

EPOCHS = 10  # in a block, so that each variant runs in caches of its own for most of it


def microseconds_per_batch(loader: Iterable[object]) -> float:
    """Time a block."""
    start = time.perf_counter()
    batches = sum(1 for _ in range(EPOCHS) for _ in loader)
    return (time.perf_counter() - start) / batches * 1e6


def loader(
    blocks: int = 51,
    batch_size: int = 50,
    train_pairs: int = 1000,
    out: str | None = None,
    verbose: bool = False,
) -> None:
    """Measure what a batch costs.

    Args:
        blocks: Blocks of ten epochs to time of each variant, the first of them to warm up.
        batch_size: Pairs in a batch.
        train_pairs: Pairs in an epoch.
        out: JSON file for every block's time and the machine.
        verbose: Whether to show tracebacks.
    """
    torch.set_num_threads(1)
    data = DigitPairs(train_pairs=train_pairs, val_pairs=0, batch_size=batch_size)
    data.setup()
    pairs = data.train_set
    tensors = TensorDataset(
        data.train_digits.images[pairs.index[:, 0].long()], pairs.target.long(), pairs.classes.long()
    )
    variants: dict[str, Iterable[object]] = {
        "DataLoader(TensorDataset)": DataLoader(tensors, batch_size, shuffle=True),
        "DigitPairs, tensor indexing": data.train_dataloader(),
    }
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(blocks):
        for name, variant in variants.items():
            times[name].append(microseconds_per_batch(variant))
    table = Table(title=f"batches of {batch_size} of {train_pairs} pairs, one thread, {blocks - 1} blocks")
    for column in ("loader", "us a batch (quartiles)", "ratio"):
        table.add_column(column)
    _, reference, _ = quantiles(next(iter(times.values()))[1:])
    for name, values in times.items():
        low, median, high = quantiles(values[1:])
        table.add_row(name, f"{median:.1f} ({low:.1f} .. {high:.1f})", f"{reference / median:.1f}")
    Console().print(table)
    if out:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        result = {"command": cli.command_line(), "machine": machine(("torch",)), "us_per_batch": times}
        Path(out).write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    cli.run(loader, "python -m benchmarks.loader")
