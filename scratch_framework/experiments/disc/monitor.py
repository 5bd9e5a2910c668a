"""Progress of a training: curves for TensorBoard and figure 2.3, and one progress bar."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from rich.progress import Progress
    from torch import Tensor

    from lightning_modules.results.tensorboard import EpochFigures, StudyLog


class Monitor:
    """Collects the figures of every epoch, of all replicas at once or of one after the other."""

    def __init__(self, log: StudyLog, bar: Progress, epochs: int, replicas: int) -> None:
        """Add a progress bar.

        Args:
            log: Where curves go.
            bar: The progress bar.
            epochs: Epochs of a training.
            replicas: R trainings.
        """
        self.log, self.bar, self.shape = log, bar, (epochs, replicas)
        self.losses: dict[str, Tensor] = {}  # (epochs, R) by tag
        self.task = bar.add_task("starting", total=epochs * replicas)

    def add(self, first: int, figures: EpochFigures) -> None:
        """Add the figures of an epoch.

        Args:
            first: Number of the first of these replicas.
            figures: Their figures of an epoch, or at last those of the test.
        """
        self.log.add(first, figures)
        for tag, values in figures.values.items():
            if tag.endswith("/loss"):
                losses = self.losses.setdefault(tag, torch.empty(self.shape))
                losses[figures.epoch, first : first + len(values)] = torch.tensor(values)
        if errors := figures.values.get("train/error"):
            mean = sum(errors) / len(errors)
            text = f"epoch {figures.epoch + 1}, train/error {100 * mean:.1f} %"
            self.bar.update(self.task, description=text, advance=len(errors))
