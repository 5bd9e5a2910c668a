"""Trunks: CNNs from an image to features, for R replicas at once."""

from torch import nn

from lightning_modules.command.options import Pool, Trunk
from lightning_modules.command.plain import plain
from lightning_modules.replicas.dropout import Dropout
from lightning_modules.replicas.fused.sequential import Sequential
from lightning_modules.replicas.layers import Linear, Standardise, conv2d


def paper_cnn(in_channels: int, out_features: int, replicas: int, clean: bool = False) -> Sequential:
    """The CNN of the paper's figure 1.2, layer by layer.

    The list ends in ReLU, BatchNorm and Dropout, after the last linear layer too. That is unusual; it is kept
    because the paper shows it.

    Args:
        in_channels: Image channels of one replica: 2 for pairs, 1 for single digits.
        out_features: Outputs of one replica: 2 for pairs, 10 for single digits.
        replicas: Number of replicas R.
        clean: Whether to leave out what follows the last linear layer.

    Returns:
        A network from (N, R * in_channels, 14, 14) to (N, R * out_features).
    """
    r = replicas
    return Sequential(
        conv2d(in_channels, 32, 3, r),  # (N, R * 32, 12, 12)
        nn.MaxPool2d(2),  # (N, R * 32, 6, 6)
        nn.ReLU(),
        nn.BatchNorm2d(r * 32),
        Dropout(0.2, r),
        conv2d(32, 64, 3, r),  # (N, R * 64, 4, 4)
        nn.MaxPool2d(2),  # (N, R * 64, 2, 2)
        nn.ReLU(),
        nn.BatchNorm2d(r * 64),
        Dropout(0.2, r),
        nn.Flatten(),  # (N, R * 256)
        Linear(256, 200, r),
        nn.ReLU(),
        nn.BatchNorm1d(r * 200),
        Dropout(0.3, r),
        Linear(200, out_features, r, last=True),
        *([] if clean else [nn.ReLU(), nn.BatchNorm1d(r * out_features), Dropout(0.3, r)]),
    )


def modern_trunk(
    in_channels: int,
    out_features: int,
    replicas: int,
    width: int = 32,
    pool: Pool = "flatten",
    deep: bool = False,
) -> Sequential:
    """Four 3x3 convolutions, normalised after pooling, to a 3x3 map of 4 * width channels.

    The deep trunk looks at wider patches (its first convolution is 5x5) and has one more convolution at 7x7.

    Args:
        in_channels: Image channels of one replica.
        out_features: Outputs of one replica.
        replicas: Number of replicas R.
        width: Channels of one replica after the first convolution.
        pool: How the map becomes features: `average` forgets where in the map something is, `flatten` does
            not.
        deep: Whether to build the deep trunk.

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
    """Build a trunk by its name.

    Args:
        name: `paper`, `clean` (the paper's without what follows its last layer), `modern` or `deep`.
        in_channels: Image channels of one replica.
        out_features: Outputs of one replica.
        replicas: Number of replicas R.
        width: Of the modern and the deep trunk.
        pool: Of the modern and the deep trunk.

    Returns:
        A network from (N, R * in_channels, 14, 14), raw pixels, to (N, R * out_features).

    Raises:
        ValueError: There is no trunk of this name.
    """
    if name in ("modern", "deep"):
        return modern_trunk(in_channels, out_features, replicas, width, pool, deep=name == "deep")
    return paper_cnn(in_channels, out_features, replicas, clean=plain("trunk", name, Trunk) == "clean")
