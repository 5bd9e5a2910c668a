"""Probes of nets: their first filters, how they class digits, and how well their features tell these apart.

A linear probe (Alain and Bengio 2016) asks what the features hold, not what the net predicts. Ours is the
simplest: it reads a digit as the one whose mean is nearest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from lightning_modules.networks.pairs import SeparateTrunks, SharedTrunk
from lightning_modules.replicas.fused.sequential import Sequential
from lightning_modules.replicas.layers import Linear
from lightning_modules.results.palette import ORDERED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from lightning_modules.models.base import PairModule

    Numbers = NDArray[np.floating[Any]]

DIGITS = 10
PART = 250  # digits that a net reads at once
FILTERS_A_ROW = 8


def first_filters(module: PairModule) -> Numbers:
    """The kernels of the first convolution.

    Args:
        module: One replica.

    Returns:
        (K, C, k, k), K kernels for images of C channels.
    """
    return _first_convolution(_cnn(module)).weight.detach().numpy()


def hidden_features(module: PairModule, first: Tensor, second: Tensor) -> Numbers:
    """The input of a CNN's last linear layer.

    Args:
        module: One replica, trained.
        first: (n, 14, 14) in 0..255, the digits in question.
        second: (n, 14, 14), the other digit of each pair, for a CNN that sees both at once.

    Returns:
        (n, F).
    """
    cnn = _cnn(module).eval()
    images = torch.stack([first, second], 1)[:, : _first_convolution(cnn).in_channels]
    last = max(place for place, layer in enumerate(cnn) if isinstance(layer, Linear))
    with torch.no_grad():
        return cnn[:last](images).numpy()


@torch.no_grad()
def class_logits(module: PairModule, index: int, images: Tensor) -> Tensor:
    """What the trunk of one replica, of two the first one, says of digits.

    Args:
        module: Its nets have heads that read classes.
        index: Which replica, from 0.
        images: (n, 14, 14) in 0..255.

    Returns:
        (n, 10).
    """
    net = cast("SharedTrunk | SeparateTrunks", module.network.replica(index)).eval()
    trunks = 2 if isinstance(net, SeparateTrunks) else 1
    inputs = images.to(next(net.parameters())).unsqueeze(1).expand(-1, trunks, 14, 14)
    return torch.cat([net.trunk(part)[:, : net.head.features] for part in inputs.split(PART)])


@dataclass(frozen=True)
class Projection:
    """Digits by their features, seen in a plane."""

    points: Numbers  # (n, 2)
    labels: NDArray[np.int64]  # (n,)
    misread: float  # share of digits that the probe misreads, by all features


def project(features: Numbers, labels: NDArray[np.int64], fitted: int) -> Projection:
    """Find the plane in which the means of the ten digits lie farthest apart (PCA of the means).

    Args:
        features: (n, F).
        labels: (n,), all ten digits among the fitted.
        fitted: How many, from the first, the means are of; the rest are shown and read.

    Returns:
        Of the rest.
    """
    known, own = features[:fitted], labels[:fitted]
    means = np.stack([known[own == digit].mean(0) for digit in range(DIGITS)])  # (10, F)
    middle = means.mean(0)
    _, _, axes = np.linalg.svd(means - middle, full_matrices=False)  # (10, F), the longest first
    shown, shown_labels = features[fitted:], labels[fitted:]
    distances = np.stack([((shown - mean) ** 2).sum(1) for mean in means])  # (10, n)
    misread = float((distances.argmin(0) != shown_labels).mean())
    return Projection((shown - middle) @ axes[:2].T, shown_labels, misread)


def filters_figure(filters: Mapping[str, Numbers]) -> Figure:
    """Show kernels, those of one for several channels side by side, each in its own scale.

    Args:
        filters: Net to its kernels (K, C, k, k), K a multiple of 8.

    Returns:
        The figure, a panel a net: white is 0, red above, blue below.
    """
    sheets = {net: _sheet(kernels) for net, kernels in filters.items()}
    widths = [sheet.shape[1] for sheet in sheets.values()]
    figure = Figure(figsize=(0.09 * sum(widths), 1.9))
    axes = figure.subplots(1, len(sheets), squeeze=False, width_ratios=widths).flat
    figure.subplots_adjust(0.01, 0.01, 0.99, 0.86, wspace=0.1)
    for axis, (net, sheet) in zip(axes, sheets.items(), strict=True):
        axis.imshow(sheet, cmap="RdBu_r", vmin=-1, vmax=1)
        axis.set_title(net, fontsize=9)
        axis.axis("off")
    return figure


def projection_figure(projections: Mapping[str, Projection]) -> Figure:
    """Show digits in their planes, coloured by digit, each digit's number at its mean.

    Args:
        projections: Net to its projection.

    Returns:
        The figure, a panel a net.
    """
    figure = Figure(figsize=(3.6 * len(projections), 3.8), layout="constrained")
    axes = figure.subplots(1, len(projections), squeeze=False).flat
    for axis, (net, shown) in zip(axes, projections.items(), strict=True):
        axis.scatter(
            *shown.points.T, s=6, c=shown.labels, cmap=ORDERED, vmin=0, vmax=10, alpha=0.5, linewidths=0
        )
        for digit in np.unique(shown.labels):  # above all points
            x, y = shown.points[shown.labels == digit].mean(0)
            box = {"boxstyle": "circle,pad=0.15", "fc": "white", "ec": "0.3", "alpha": 0.85}
            axis.text(x, y, str(digit), ha="center", va="center", fontsize=9, weight="bold", bbox=box)
        axis.set_title(f"{net}: the probe misreads {shown.misread:.1%}", fontsize=9)
        axis.set_xticks([])
        axis.set_yticks([])
    return figure


def _sheet(kernels: Numbers) -> Numbers:
    """All kernels in one image, with gaps of nothing between."""
    scaled = kernels / np.abs(kernels).max((1, 2, 3), keepdims=True)
    wide = np.concatenate(list(scaled.swapaxes(0, 1)), -1)  # (K, k, C * k)
    framed = np.pad(wide, ((0, 0), (0, 1), (0, 1)), constant_values=np.nan)
    rows = framed.reshape(-1, FILTERS_A_ROW, *framed.shape[1:]).swapaxes(1, 2)  # (K / 8, k + 1, 8, C * k + 1)
    return rows.reshape(rows.shape[0] * rows.shape[1], -1)


def _cnn(module: PairModule) -> Sequential:
    """The CNN, which one digit or both enter."""
    return next(part for part in module.network.modules() if isinstance(part, Sequential))


def _first_convolution(cnn: Sequential) -> nn.Conv2d:
    return next(layer for layer in cnn if isinstance(layer, nn.Conv2d))
