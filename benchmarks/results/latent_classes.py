"""Which latent class a net without digit labels takes each test digit for, and how that is drawn."""

import numpy as np
import torch
from matplotlib.axes import Axes
from numpy.typing import NDArray

from datamodules import Digits
from lightning_modules import PairModule
from lightning_modules.evaluation.probing import class_logits
from lightning_modules.results.palette import SHADES

Classes = NDArray[np.int64]  # (n,), the latent class of each digit
Confusion = NDArray[np.int64]  # (10, 10), rows digits, columns latent classes


def latent_classes(module: PairModule, images: torch.Tensor) -> NDArray[np.int64]:
    """The likeliest latent class of each digit (n, 14, 14) for each replica's first trunk, (R, n)."""
    replicas = range(len(module.seeds))
    return np.stack([class_logits(module, index, images).argmax(-1).numpy() for index in replicas])


def confusion_of(classes: Classes, digits: Digits) -> Confusion:
    """How often each true digit was taken for each latent class."""
    return np.bincount(10 * digits.labels.numpy() + classes, minlength=100).reshape(10, 10)


def draw_classes(axis: Axes, classes: Classes, digits: Digits, fontsize: float = 0) -> None:
    """Draw the table of true digits and latent classes, and above each class the mean image of its digits.

    Args:
        axis: Where.
        classes: The class of each digit.
        digits: The digits.
        fontsize: Of the counts in the table; 0 leaves them out.
    """
    confusion = confusion_of(classes, digits)
    images = digits.images.numpy()
    means = [images[classes == k].mean(0) if (classes == k).any() else np.zeros((14, 14)) for k in range(10)]
    axis.imshow(np.hstack(means), cmap="gray_r", vmin=0, vmax=200, extent=(-0.5, 9.5, -0.65, -1.65))
    axis.imshow(confusion / confusion.sum(1, keepdims=True), cmap=SHADES, vmin=0, vmax=1)
    for digit, latent in np.argwhere(confusion > 0) if fontsize else ():
        count = confusion[digit, latent]
        colour = "white" if count > confusion[digit].sum() / 2 else "0.25"
        axis.text(latent, digit, str(count), ha="center", va="center", fontsize=fontsize, color=colour)
    axis.set_xlim(-0.5, 9.5)
    axis.set_ylim(9.5, -1.7)
    axis.set_xticks(range(10))
    axis.set_yticks(range(10))
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
