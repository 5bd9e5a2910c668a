"""Trunks: CNNs from an image to features, as ordinary layers."""

from torch import nn

from lightning_modules.command.options import Pool, Trunk
from lightning_modules.command.plain import plain
from lightning_modules.replicas.fused.sequential import Sequential
from lightning_modules.replicas.layers import Logits, Standardise


def paper_cnn(in_channels: int, out_features: int, clean: bool = False, side: int = 14) -> Sequential:
    """The CNN of the paper's figure 1.2, layer by layer.

    The list ends in ReLU, BatchNorm and Dropout, after the last linear layer too. That is unusual; it is kept
    because the paper shows it.

    Args:
        in_channels: Image channels: 2 for pairs, 1 for single digits.
        out_features: Outputs: 2 for pairs, 10 for single digits.
        clean: Whether to leave out what follows the last linear layer.
        side: Rows and columns of an image.

    Returns:
        A network from (N, in_channels, side, side) to (N, out_features).
    """
    last = ((side - 2) // 2 - 2) // 2  # rows of the last map
    return Sequential(
        nn.Conv2d(in_channels, 32, 3),  # (N, 32, 12, 12) where the side is 14
        nn.MaxPool2d(2),  # (N, 32, 6, 6)
        nn.ReLU(),
        nn.BatchNorm2d(32),
        nn.Dropout(0.2),
        nn.Conv2d(32, 64, 3),  # (N, 64, 4, 4)
        nn.MaxPool2d(2),  # (N, 64, 2, 2)
        nn.ReLU(),
        nn.BatchNorm2d(64),
        nn.Dropout(0.2),
        nn.Flatten(),  # (N, 256)
        nn.Linear(64 * last**2, 200),
        nn.ReLU(),
        nn.BatchNorm1d(200),
        nn.Dropout(0.3),
        Logits(200, out_features),
        *([] if clean else [nn.ReLU(), nn.BatchNorm1d(out_features), nn.Dropout(0.3)]),
    )


def modern_trunk(
    in_channels: int,
    out_features: int,
    width: int = 32,
    pool: Pool = "flatten",
    deep: bool = False,
    side: int = 14,
) -> Sequential:
    """Four 3x3 convolutions, normalised after pooling, to a 3x3 map of 4 * width channels.

    The deep trunk looks at wider patches (its first convolution is 5x5) and has one more convolution at 7x7.

    Args:
        in_channels: Image channels.
        out_features: Outputs.
        width: Channels after the first convolution.
        pool: How the map becomes features: `average` forgets where in the map something is, `flatten` does
            not.
        deep: Whether to build the deep trunk.
        side: Rows and columns of an image.

    Returns:
        A network from (N, in_channels, side, side), raw pixels, to (N, out_features).
    """
    w, places = width, 1 if pool == "average" else (side // 4) ** 2
    return Sequential(
        Standardise(),
        *_stage(in_channels, w, halve=True, kernel=5 if deep else 3),  # (N, w, 7, 7) where the side is 14
        *(_stage(w, w, halve=False) if deep else []),
        *_stage(w, 2 * w, halve=True),  # (N, 2w, 3, 3)
        *_stage(2 * w, 2 * w, halve=False),
        *_stage(2 * w, 4 * w, halve=False),  # (N, 4w, 3, 3)
        *([nn.AdaptiveAvgPool2d(1)] if pool == "average" else []),
        nn.Flatten(),
        Logits(4 * w * places, out_features),
    )


def _stage(in_channels: int, out_channels: int, halve: bool, kernel: int = 3) -> list[nn.Module]:
    return [
        nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False),
        *([nn.MaxPool2d(2)] if halve else []),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    ]


def make_trunk(
    name: Trunk, in_channels: int, out_features: int, width: int, pool: Pool, side: int = 14
) -> Sequential:
    """Build a trunk by its name.

    Args:
        name: `paper`, `clean` (the paper's without what follows its last layer), `modern` or `deep`.
        in_channels: Image channels.
        out_features: Outputs.
        width: Of the modern and the deep trunk.
        pool: Of the modern and the deep trunk.
        side: Rows and columns of an image.

    Returns:
        A network from (N, in_channels, side, side), raw pixels, to (N, out_features).

    Raises:
        ValueError: There is no trunk of this name.
    """
    if name in ("modern", "deep"):
        return modern_trunk(in_channels, out_features, width, pool, deep=name == "deep", side=side)
    return paper_cnn(in_channels, out_features, clean=plain("trunk", name, Trunk) == "clean", side=side)
