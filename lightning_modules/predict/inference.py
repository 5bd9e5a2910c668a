"""Answers of nets about pairs of pictures, as a table and a CSV file."""

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.table import Table
from rich.text import Text
from torch import Tensor

from lightning_modules.command.atomic_io import atomic_write
from lightning_modules.evaluation.ensembling import average
from lightning_modules.models.base import PairModule
from lightning_modules.predict.pairing import Pair


@dataclass(frozen=True)
class Answer:
    """Which digit of a pair is larger."""

    greater: float  # the probability that the left digit is the larger one
    digits: tuple[int, int] | None  # as they were read, by nets that are told digits

    @property
    def larger(self) -> str:
        """In words."""
        return "left" if self.greater > 0.5 else "right, or equal"

    @property
    def probability(self) -> float:
        """Of what is said."""
        return max(self.greater, 1 - self.greater)


@torch.no_grad()
def answer(model: PairModule, images: Tensor) -> list[Answer]:
    """Ask all R nets about pairs (N, 2, 14, 14) in 0..255; their probabilities are averaged."""
    replicas = len(model.seeds)
    outputs = average(model(images.repeat(1, replicas, 1, 1)), torch.arange(replicas).unsqueeze(0), model)
    greater = outputs.pair.softmax(-1)[:, 0, 0].tolist()
    read: list[tuple[int, int] | None] = [None] * len(images)
    if model.has_digit_heads and outputs.digits is not None:
        read = [(left, right) for left, right in outputs.digits[:, 0].argmax(-1).tolist()]
    return [Answer(share, digits) for share, digits in zip(greater, read, strict=True)]


def answers_table(pairs: Sequence[Pair], answers: Sequence[Answer | None]) -> Table:
    """A line for each pair, whose answer may be None; names without the folder that all have in common."""
    table = Table()
    for column in ("left", "right"):
        table.add_column(column, overflow="fold")  # two names that end alike, or begin so, stay two
    for column in ("larger is", "probability", "read as"):
        table.add_column(column, no_wrap=True)
    for names, a in zip(_short_names(pairs), answers, strict=True):
        said = ("no answer", "", "") if a is None else (a.larger, f"{a.probability:.4f}", _read_as(a))
        table.add_row(*(Text(cell) for cell in (*names, *said)))
    return table


def _read_as(a: Answer) -> str:
    return "(not told digits)" if a.digits is None else f"{a.digits[0]}, {a.digits[1]}"


def _short_names(pairs: Sequence[Pair]) -> list[tuple[str, str]]:
    folders = [path.absolute().parent for pair in pairs for path in pair]
    common = os.path.commonpath(folders)
    return [
        (printable(left.absolute().relative_to(common)), printable(right.absolute().relative_to(common)))
        for left, right in pairs
    ]


def printable(name: Path | str) -> str:
    """A name as UTF-8 can write it: bytes of another encoding in hexadecimal digits."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def write_answers(
    path: Path, pairs: Sequence[Pair], answers: Sequence[Answer | None], reasons: Sequence[str]
) -> None:
    """Write a CSV line for each pair: the answer, or the reason why there is none."""
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["left", "right", "larger", "probability", "left_digit", "right_digit", "reason"])
    for pair, a, reason in zip(pairs, answers, reasons, strict=True):
        said = ("", "", "", "") if a is None else (a.larger, f"{a.probability:.6f}", *(a.digits or ("", "")))
        table.writerow([*map(printable, pair), *said, printable(reason)])
    atomic_write(path, text.getvalue())
