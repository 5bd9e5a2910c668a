"""Trunks: CNNs from an image to features, for R replicas at once."""

from torch import nn

from lightning_modules.command.options import Pool, Trunk
from lightning_modules.command.plain import plain
from lightning_modules.networks.paper import paper_cnn
from lightning_modules.replicas.fused.sequential import Sequential
from lightning_modules.replicas.layers import Linear, Standardise, conv2d


def modern_trunk(
    in_channels: int,
    out_features: int,
    replicas: int,
    width: int = 32,
    pool: Pool = "flatten",
    deep: bool = False,
) -> Sequential:
    """Four 3x3 convolutions, normalised after pooling, to a 3x3 map.

    The map has 4 * width channels. `average` forgets where in it something is, `flatten` does not.
    The deep one looks wider (its first convolution is 5x5) and longer (once more at 7x7).

    Args:
        in_channels: Image channels of one replica.
        out_features: Outputs of one replica.
        replicas: Number of replicas R.
        width: Channels of one replica after the first convolution.
        pool: How the map becomes features.
        deep: Whether to build the deep one.

    Returns:
        A network from (N, R * in_channels, 14, 14), raw pixels, to (N, R * out_features).
    """
    r, w = replicas, width
    return Sequential(
        Standardise(),
        *_stage(in_channels, w, r, halve=True, side=5 if deep else 3),  # (N, R * w, 7, 7)
        *(_stage(w, w, r, halve=False) if deep else []),
        *_stage(w, 2 * w, r, halve=True),  # (N, R * 2w, 3, 3)
        *_stage(2 * w, 2 * w, r, halve=False),
        *_stage(2 * w, 4 * w, r, halve=False),  # (N, R * 4w, 3, 3)
        *([nn.AdaptiveAvgPool2d(1)] if pool == "average" else []),
        nn.Flatten(),
        Linear(4 * w * (1 if pool == "average" else 9), out_features, r, last=True),
    )


def _stage(in_channels: int, out_channels: int, replicas: int, halve: bool, side: int = 3) -> list[nn.Module]:
    return [
        conv2d(in_channels, out_channels, side, replicas, padding=side // 2, bias=False),
        *([nn.MaxPool2d(2)] if halve else []),
        nn.BatchNorm2d(replicas * out_channels),
        nn.ReLU(),
    ]


def make_trunk(
    name: Trunk, in_channels: int, out_features: int, replicas: int, width: int, pool: Pool
) -> Sequential:
    """Build a trunk by name.

    Args:
        name: Which.
        in_channels: Image channels of one replica.
        out_features: Outputs of one replica.
        replicas: Number of replicas R.
        width: Of the modern trunks.
        pool: Of the modern trunks.

    Returns:
        A network from (N, R * in_channels, 14, 14), raw pixels, to (N, R * out_features).
    """
    if name in ("modern", "deep"):
        return modern_trunk(in_channels, out_features, replicas, width, pool, deep=name == "deep")
    return paper_cnn(in_channels, out_features, replicas, clean=plain("trunk", name, Trunk) == "clean")
