"""The paper's three networks, exactly as its figures 1.2 and 1.4 list them, for R replicas at once.

The lists end in ReLU, BatchNorm and Dropout, after the last linear layer too: unusual, and kept, because
that is what the paper shows. Weight sharing and auxiliary losses are one network under two losses.
"""

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from lightning_modules.replicas.fused.sequential import Sequential
from lightning_modules.replicas.layers import Dropout, Linear, conv2d


class Outputs(NamedTuple):
    """What a network says of N pairs."""

    pair: Tensor  # (N, R, 2) logits of "first > second" and "first <= second"
    digits: Tensor | None = None  # (N, R, 2, 10) the trunk's ten outputs for each of the two digits


def without_digits(pair: Tensor) -> Outputs:
    """What a network says that reads no single digits.

    Args:
        pair: (N, R, 2) logits.

    Returns:
        The outputs; under `torch.jit.trace`, which takes no None, a tuple of the logits.
    """
    tracing = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return cast("Outputs", (pair,)) if tracing else Outputs(pair)


def paper_cnn(in_channels: int, out_features: int, replicas: int, clean: bool = False) -> Sequential:
    """The CNN of figure 1.2.

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


def paper_head(replicas: int) -> Sequential:
    """The MLP of figure 1.4, which compares the ten outputs for each of two digits.

    Args:
        replicas: Number of replicas R.

    Returns:
        A network from (N, R * 20) to (N, R * 2).
    """
    r = replicas
    return Sequential(
        Linear(20, 100, r),
        nn.ReLU(),
        nn.BatchNorm1d(r * 100),
        Dropout(0.2, r),
        Linear(100, 20, r),
        nn.ReLU(),
        nn.BatchNorm1d(r * 20),
        Dropout(0.2, r),
        Linear(20, 2, r, last=True),
        nn.ReLU(),
    )


class PaperCNN(nn.Module):
    """The plain network (section 1.2.1): both digits enter as two channels of one image."""

    def __init__(self, replicas: int = 1) -> None:
        """Build R networks.

        Args:
            replicas: Number of replicas R.
        """
        super().__init__()
        self.replicas = replicas
        self.cnn = paper_cnn(2, 2, replicas)

    def forward(self, pairs: Tensor) -> Outputs:
        """Compare the digits of pairs (N, 2R, 14, 14)."""
        return without_digits(self.cnn(pairs).unflatten(1, (self.replicas, 2)))


class PaperSiamese(nn.Module):
    """One CNN for both digits, then an MLP on its two outputs (sections 1.2.2 and 1.2.3, figure 1.4)."""

    def __init__(self, replicas: int = 1) -> None:
        """Build R networks.

        Args:
            replicas: Number of replicas R.
        """
        super().__init__()
        self.replicas = replicas
        self.trunk = paper_cnn(1, 10, replicas)
        self.head = paper_head(replicas)

    def forward(self, pairs: Tensor) -> Outputs:
        """Compare the digits of pairs (N, 2R, 14, 14)."""
        images = pairs.unflatten(1, (self.replicas, 2)).movedim(2, 0).flatten(0, 1)  # (2N, R, 14, 14)
        digits = self.trunk(images, calls=2)  # (2N, R * 10): on first digits, then on second
        digits = (
            digits.unflatten(0, (2, -1)).unflatten(-1, (self.replicas, 10)).movedim(0, 2)
        )  # (N, R, 2, 10)
        return Outputs(self.head(digits.flatten(1)).unflatten(1, (self.replicas, 2)), digits)
