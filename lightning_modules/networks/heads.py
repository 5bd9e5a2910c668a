"""Heads: modules that compare the features of two digits, for R replicas at once.

A head takes features (N, R, 2, F) of first and second digits and gives logits (N, R, 2) of "first > second"
and "first <= second".
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_modules.replicas.dropout import Dropout
from lightning_modules.replicas.fused.sequential import Sequential
from lightning_modules.replicas.layers import Linear, wide

SMALLEST = 1e-6  # probabilities are clamped to this before the logarithm
HEADS: dict[str, type["Head"]] = {}  # by name


class Head(nn.Module):
    """A head; a subclass is built from the number of replicas R and the settings that it `takes`.

    Attributes:
        name: The value of `--head` that asks for it.
        features: Features F of one digit.
        differentiable: Whether the comparison's loss has a gradient in the features.
        takes: Settings that the constructor takes beside R.
    """

    name: str
    features = 10
    differentiable = True
    takes: tuple[str, ...] = ()

    def __init_subclass__(cls) -> None:
        """Offer a head under its name."""
        super().__init_subclass__()
        if "name" in vars(cls):
            HEADS[cls.name] = cls


class PosteriorHead(Head, ABC):
    """Features become a posterior over ten classes for each digit, and these alone decide the comparison.

    The classes are the digits where labels say so, else latent ones. An ensemble of such nets averages the
    posteriors, not the comparisons.
    """

    @abstractmethod
    def posteriors(self, digits: Tensor) -> Tensor:
        """Probabilities of the classes, (..., 10), from their logits (..., 10)."""

    def forward(self, digits: Tensor) -> Tensor:
        """Compare (N, R, 2, 10)."""
        return compare(self.posteriors(digits))


class Exact(PosteriorHead):
    """Softmax of the features."""

    name = "exact"
    takes = ("temperature",)

    def __init__(self, replicas: int, temperature: float = 1.0) -> None:
        """Build a head without parameters.

        Args:
            replicas: Number of replicas R.
            temperature: Logits are divided by it. Below 1 it sharpens what label smoothing has flattened.
        """
        super().__init__()
        self.temperature = temperature

    def posteriors(self, digits: Tensor) -> Tensor:
        """Softmax of (..., 10), over the temperature."""
        return (wide(digits) / self.temperature).softmax(-1)


class Argmax(PosteriorHead):
    """1 for the likeliest digit. It has no gradient: only digit losses can train the trunk below."""

    name = "argmax"
    differentiable = False

    def __init__(self, replicas: int) -> None:
        """Build a head without parameters."""
        super().__init__()

    def posteriors(self, digits: Tensor) -> Tensor:
        """One-hot of the largest of (..., 10)."""
        return F.one_hot(digits.argmax(-1), digits.shape[-1]).to(digits.dtype)


class Subtract(Head):
    """A linear layer on the difference of the features."""

    name = "subtract"

    def __init__(self, replicas: int) -> None:
        """Build R layers."""
        super().__init__()
        self.linear = Linear(self.features, 2, replicas, last=True)

    def forward(self, features: Tensor) -> Tensor:
        """Compare (N, R, 2, 10)."""
        first, second = features.unbind(-2)
        return self.linear((second - first).flatten(1)).unflatten(1, (-1, 2))


class PaperHead(Head, Sequential):
    """The MLP of the paper's figure 1.4, layer by layer; it ends in ReLU because the paper shows it."""

    name = "paper"

    def __init__(self, replicas: int) -> None:
        """Build R MLPs."""
        r = replicas
        super().__init__(
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

    def forward(self, x: Tensor, calls: int = 1) -> Tensor:
        """Compare (N, R, 2, 10)."""
        return super().forward(x.flatten(1), calls).unflatten(1, (-1, 2))


class MLP(Head, Sequential):
    """One hidden layer, normalised before each ReLU, to the log odds of "first <= second"."""

    name = "mlp"
    features = 32

    def __init__(self, replicas: int) -> None:
        """Build R MLPs."""
        r = replicas
        super().__init__(
            nn.BatchNorm1d(r * 64),
            nn.ReLU(),
            Linear(64, 64, r, bias=False),
            nn.BatchNorm1d(r * 64),
            nn.ReLU(),
            Linear(64, 1, r, last=True),
        )

    def forward(self, x: Tensor, calls: int = 1) -> Tensor:
        """Compare (N, R, 2, 32)."""
        log_odds = super().forward(x.flatten(1), calls)  # (N, R)
        return torch.stack([torch.zeros_like(log_odds), log_odds], -1)


def compare(posteriors: Tensor) -> Tensor:
    """The comparison that two independent digits imply: P(a <= b) sums P(a = i) P(b = j) over i <= j.

    Args:
        posteriors: (N, R, 2, C), probabilities of the classes 0..C-1.

    Returns:
        (N, R, 2), logarithms of P(a > b) and P(a <= b).
    """
    first, second = wide(posteriors).unbind(-2)
    at_most = (first.cumsum(-1) * second).sum(-1)
    greater = (first * (second.cumsum(-1) - second)).sum(-1)
    return torch.stack([greater, at_most], -1).clamp(min=SMALLEST).log()
