"""What nets answer about pairs of pictures."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.table import Table
from rich.text import Text
from torch import Tensor

from lightning_modules.cli import CommandError
from lightning_modules.comparison import Comparison
from lightning_modules.folder import write_whole
from lightning_modules.teams import average

PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm"}

Pair = tuple[Path, Path]


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


def find_pairs(images: Sequence[str]) -> list[Pair]:
    """The pairs that arguments name.

    Args:
        images: Two image files, two folders of as many (paired in the order of their names), or a CSV file of
            two columns, whose paths are relative to it.

    Returns:
        Pairs of files.

    Raises:
        CommandError: They name no pairs.
        OSError: A folder or file cannot be read.
    """
    paths = [Path(image) for image in images]
    if len(paths) == 1 and paths[0].suffix.lower() == ".csv":
        return _from_csv(paths[0])
    if len(paths) != 2:
        raise CommandError(f"give two images, two folders, or one CSV file of pairs; got {len(paths)} paths")
    left, right = paths
    if left.is_dir() != right.is_dir():
        raise CommandError(f"give two images or two folders, not one of each: {left}, {right}")
    if not left.is_dir():
        return [(left, right)]
    lefts, rights = (_pictures(folder) for folder in paths)
    if len(lefts) != len(rights) or not lefts:
        raise CommandError(
            f"folders must hold as many images each, and some: {left} has {len(lefts)}, {right} {len(rights)}"
        )
    return list(zip(lefts, rights, strict=True))


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)


def _from_csv(path: Path) -> list[Pair]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.reader(file) if row]
    except (csv.Error, UnicodeDecodeError) as error:
        raise CommandError(f"{path} is no CSV file: {error}") from error
    if rows and [cell.strip().lower() for cell in rows[0]] == ["left", "right"]:
        rows = rows[1:]
    for number, row in enumerate(rows, 1):
        if len(row) != 2:
            raise CommandError(f"{path}: a pair is two columns, left and right; pair {number} has {len(row)}")
    if not rows:
        raise CommandError(f"{path} holds no pairs")
    return [(path.parent / left.strip(), path.parent / right.strip()) for left, right in rows]


@torch.no_grad()
def answer(model: Comparison, images: Tensor) -> list[Answer]:
    """Ask all nets of a model; their probabilities are averaged.

    Args:
        model: R nets, in evaluation mode.
        images: (N, 2, 14, 14) in 0..255, N pairs.

    Returns:
        N answers.
    """
    replicas = len(model.seeds)
    outputs = average(model(images.repeat(1, replicas, 1, 1)), torch.arange(replicas).unsqueeze(0), model)
    greater = outputs.pair.softmax(-1)[:, 0, 0].tolist()
    read: list[tuple[int, int] | None] = [None] * len(images)
    if model.has_digit_heads and outputs.digits is not None:
        read = [(left, right) for left, right in outputs.digits[:, 0].argmax(-1).tolist()]
    return [Answer(share, digits) for share, digits in zip(greater, read, strict=True)]


def answers_table(pairs: Sequence[Pair], answers: Sequence[Answer]) -> Table:
    """A line for each pair.

    Args:
        pairs: Their files.
        answers: The answers.
    """
    table = Table()
    for column in ("left", "right"):
        table.add_column(column, overflow="fold")  # a name is not cut
    for column in ("larger is", "probability", "read as"):
        table.add_column(column)
    for (left, right), a in zip(pairs, answers, strict=True):
        read = "(not told digits)" if a.digits is None else f"{a.digits[0]}, {a.digits[1]}"
        table.add_row(Text(str(left)), Text(str(right)), a.larger, f"{a.probability:.4f}", read)
    return table


def write_answers(path: Path, pairs: Sequence[Pair], answers: Sequence[Answer]) -> None:
    """Write a line for each pair.

    Args:
        path: The CSV file.
        pairs: Their files.
        answers: The answers.
    """
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["left", "right", "larger", "probability", "left_digit", "right_digit"])
    for (left, right), a in zip(pairs, answers, strict=True):
        table.writerow([left, right, a.larger, f"{a.probability:.6f}", *(a.digits or ("", ""))])
    write_whole(path, text.getvalue())
