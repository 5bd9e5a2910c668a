"""How a net discovers the digits: its latent classes after every epoch, as a moving picture.

Command line:
    python -m benchmarks.discovery                 weight sharing, the modern recipe, one run: two minutes

The net is told which digit of a pair is larger, and nothing else. After every epoch all test digits are
shown to it. Once as the gradients left it, and once more after the alignment, which puts the latent classes
into the order that the comparisons of the epoch suggest (`lightning_modules.models.latent.alignment`). The
digits' labels sort the rows of the picture; the net never sees them.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
from matplotlib.figure import Figure
from rich.console import Console

from benchmarks.results.latent_classes import Classes, draw_classes, latent_classes
from datamodules import DigitPairs, Digits, load_digits
from lightning_modules import PairModule
from lightning_modules.command import cli
from lightning_modules.command.atomic_io import check_file, make_folder
from lightning_modules.models.recipes import MODERN, resolve
from lightning_modules.results.animation import write_animation
from lightning_modules.results.figures import write_figure
from lightning_modules.results.progress import StudyProgress
from lightning_modules.training.execution import ExecutionConfig
from lightning_modules.training.runner import fit, quiet
from lightning_modules.training.studies import make_study

MODEL = "weight_sharing"
STEPS = ("as trained", "after alignment")
SETTLED = 0.95  # share of digits in place from which on little happens, and the picture goes faster
SLOW, FAST, LAST = 0.9, 0.25, 4.0  # seconds that a frame is shown
MARKS = (0, 1 / 3, 2 / 3, 0.9)  # the still shows the first epochs with these shares in place, and the last


class Watch(pl.Callback):
    """Notes the class of every digit after each epoch, before and after the alignment.

    The module aligns in its own `on_train_epoch_start`, which Lightning calls after that of the callbacks.
    """

    def __init__(self, digits: Digits) -> None:
        self.digits = digits
        self.seen: list[list[Classes]] = []  # by epoch; before, and after

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.seen.append([self._classes(pl_module)])

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: object, batch_idx: int
    ) -> None:
        if batch_idx == 0:
            self.seen[-1].append(self._classes(pl_module))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The trained net, which is not aligned any more."""
        self.seen.append([self._classes(pl_module)] * 2)

    def _classes(self, module: pl.LightningModule) -> Classes:
        assert isinstance(module, PairModule)
        return latent_classes(module, self.digits.images)[0]


def discovery(
    seed: int = 0,
    max_epochs: int = MODERN.settings[MODEL].max_epochs,
    out: str = "runs/discovery",
    verbose: bool = False,
) -> None:
    """Train one run of weight sharing by the modern recipe, and draw what its classes stand for.

    Args:
        seed: The run's seed.
        max_epochs: Epochs.
        out: Folder for discovery.gif, a frame an epoch, and discovery.png, a still of five epochs.
        verbose: Whether to show what libraries say, and tracebacks.
    """
    if not verbose:
        quiet()
    moving, picture = (Path(out) / f"discovery.{kind}" for kind in ("gif", "png"))
    for file in (moving, picture):
        check_file(file)
    settings = resolve(MODERN, [MODEL], {"max_epochs": max_epochs})[MODEL]
    study = make_study(settings, [seed], DigitPairs, {"accelerator": "cpu"}, ExecutionConfig())
    _, test = load_digits()
    watch = Watch(test)
    with StudyProgress(Console(), {MODEL: 1}, max_epochs) as progress:
        fit(study, partial(progress.add, MODEL, 0), [watch])
    frames = (frame(seed, epoch, watch) for epoch in range(max_epochs + 1))
    settled = [in_place(after, test) >= SETTLED for _, after in watch.seen]
    make_folder(Path(out), anew=False, flag="out")
    write_animation(moving, frames, [FAST if each else SLOW for each in settled[:-1]] + [LAST])
    write_figure(picture, still(seed, watch), dpi=110)
    Console().print(f"{out}: discovery.gif, discovery.png")


def in_place(classes: Classes, digits: Digits) -> float:
    """The share of digits whose class has the digit's own place in the order."""
    return float((classes == digits.labels.numpy()).mean())


def frame(seed: int, epoch: int, watch: Watch) -> Figure:
    """One epoch: the table before the alignment, and after it."""
    figure = Figure(figsize=(10, 6), layout="constrained")
    figure.suptitle(f"{_name(seed)}: epoch {epoch} of {len(watch.seen) - 1}", fontsize=13)
    for axis, step, classes in zip(figure.subplots(1, 2), STEPS, watch.seen[epoch], strict=True):
        draw_classes(axis, classes, watch.digits)
        axis.set_title(f"{step}: {_in_place(classes, watch.digits)}")
        axis.set_xlabel("latent class; on top: the mean image of its digits")
        axis.set_ylabel("true digit, never told")
    return figure


def still(seed: int, watch: Watch) -> Figure:
    """Five epochs, or fewer of a short training: as trained above, after alignment below."""
    epochs = milestones([in_place(after, watch.digits) for _, after in watch.seen])
    figure = Figure(figsize=(0.7 + 2 * len(epochs), 5.4), layout="constrained")
    figure.suptitle(_name(seed), fontsize=12)
    rows = figure.subplots(2, len(epochs), squeeze=False)
    for column, epoch in enumerate(epochs):
        rows[0, column].set_title(f"epoch {epoch}", fontsize=12)
        for axis, classes in zip(rows[:, column], watch.seen[epoch], strict=True):
            draw_classes(axis, classes, watch.digits)
            axis.set_xlabel(_in_place(classes, watch.digits), fontsize=10)
            axis.tick_params(labelbottom=False, labelleft=not column)
    for axis, step in zip(rows[:, 0], STEPS, strict=True):
        axis.set_ylabel(f"{step}\ntrue digit, never told", fontsize=10)
    return figure


def milestones(shares: Sequence[float]) -> list[int]:
    """The first epochs with these shares of digits in place, and the last one."""
    last = len(shares) - 1
    found = [next((epoch for epoch, share in enumerate(shares) if share >= mark), last) for mark in MARKS]
    return [int(epoch) for epoch in np.unique([*found, last])]


def _in_place(classes: Classes, digits: Digits) -> str:
    return f"{100 * in_place(classes, digits):.0f} % of digits in place"


def _name(seed: int) -> str:
    return f"{MODEL}, recipe modern, one run (seed {seed})"


if __name__ == "__main__":
    cli.run(discovery, "python -m benchmarks.discovery")
