"""The nets of the demo: load checkpoints, and compare two drawings."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lightning_modules.command.cli import CommandError
from lightning_modules.demo.drawings import Seen
from lightning_modules.models.base import PairModule
from lightning_modules.models.loading import load_model, select_runs
from lightning_modules.models.registry import MODULES
from lightning_modules.predict.handwriting import as_mnist
from lightning_modules.predict.inference import answer

CHECKPOINT = "checkpoint.ckpt"
HOW = "`python train.py --name NAME` makes runs/NAME"


@dataclass(frozen=True)
class Nets:
    """The nets of a checkpoint that did not diverge; their probabilities are averaged."""

    path: Path
    model: PairModule

    @property
    def count(self) -> str:
        """How many, in words."""
        count = len(self.model.seeds)
        return f"{count} {'net' if count == 1 else 'nets'}"

    def answer(self, seen: Sequence[Seen | None]) -> dict[str, Any]:
        """Compare two digits.

        Args:
            seen: The left and the right one; None is not drawn yet.

        Returns:
            Which nets these are; the probability that the left digit is the larger one, and the digits as
            they were read, None where there are no such answers.
        """
        greater = digits = None
        left, right = seen
        if left is not None and right is not None:
            (said,) = answer(self.model, torch.from_numpy(np.stack([left, right])).unsqueeze(0))
            greater, digits = said.greater, said.digits
        folder = self.path.absolute().parent
        return {
            "model": folder.name,
            "study": folder.parent.name,
            "count": self.count,
            "greater": greater,
            "digits": digits,
        }


def find_checkpoints(paths: Sequence[Path]) -> list[Path]:
    """The checkpoints that arguments name.

    Args:
        paths: Folders of studies or of single models, or checkpoint files.

    Returns:
        Files; those of a study in the order of its results.

    Raises:
        CommandError: There are none, or a folder has none, or one is named twice.
    """
    if not paths:
        raise CommandError(f"give the folder of a study, such as runs/NAME; {HOW}")
    found: dict[Path, Path] = {}
    for file in (file for path in paths for file in _checkpoints(path)):
        if file.resolve() in found:
            raise CommandError(f"give each checkpoint once; {file} is given several times")
        found[file.resolve()] = file
    return list(found.values())


def _checkpoints(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]  # if there is no such file, loading says so
    if (path / CHECKPOINT).is_file():
        return [path / CHECKPOINT]
    files = sorted(path.glob(f"*/{CHECKPOINT}"))
    if not files:
        raise CommandError(f"{path} must be the folder of a study, with a <model>/{CHECKPOINT}; {HOW}")
    return sorted(files, key=lambda file: [*MODULES, file.parent.name].index(file.parent.name))


def load_nets(paths: Sequence[Path]) -> list[Nets]:
    """Load what arguments name.

    Args:
        paths: See `find_checkpoints`.

    Returns:
        Nets that are ready to answer.

    Raises:
        CommandError: There are none, or one is not what it should be.
    """
    loaded = [Nets(file, load_model(file)) for file in find_checkpoints(paths)]
    stroke = as_mnist(np.eye(28))
    for nets in loaded:
        select_runs(nets.model, nets.path)
        nets.answer([stroke, stroke])  # the first answer of all takes a second, and nobody shall wait for it
    return loaded
