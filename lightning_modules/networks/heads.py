"""Heads: modules that compare the features of two digits.

A head takes features (N, 2, F) of first and second digits and gives logits (N, 2) of "first > second" and
"first <= second". Its `forward` leaves the size of dimension 1 open, so that `replicate` can put the digits
of R replicas there: from (N, R * 2, F) to (N, R * 2).
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_modules.replicas.fused.sequential import Sequential
from lightning_modules.replicas.layers import Logits, wide

SMALLEST = 1e-6  # probabilities are clamped to this before the logarithm
HEADS: dict[str, type["Head"]] = {}  # by name


class Head(nn.Module):
    """A head; a subclass is built from the number of classes and the settings that it `takes`.

    Attributes:
        name: The value of `--head` that asks for it.
        features: Features F of one digit.
        reads_classes: Whether the features are the logits of the digit's class.
        differentiable: Whether the comparison's loss has a gradient in the features.
        takes: Settings that the constructor takes beside R.
    """

    name: str
    features: int
    reads_classes = True
    differentiable = True
    takes: tuple[str, ...] = ()

    def __init_subclass__(cls) -> None:
        """Offer a head under its name."""
        super().__init_subclass__()
        if "name" in vars(cls):
            HEADS[cls.name] = cls

    def __init__(self, classes: int = 10) -> None:
        """Build a head.

        Args:
            classes: Number of classes of a digit.
        """
        super().__init__()
        self.features = classes


class PosteriorHead(Head, ABC):
    """Features become a posterior over the classes for each digit, and these alone decide the comparison.

    The classes are the digits where labels say so, else latent ones. An ensemble of such nets averages the
    posteriors, not the comparisons.
    """

    @abstractmethod
    def posteriors(self, digits: Tensor) -> Tensor:
        """Probabilities of the classes, (..., C), from their logits (..., C)."""

    def forward(self, digits: Tensor) -> Tensor:
        """Compare (N, 2, C)."""
        return compare(self.posteriors(digits.unflatten(1, (-1, 2)))).flatten(1)


class Exact(PosteriorHead):
    """Softmax of the features."""

    name = "exact"
    takes = ("temperature",)

    def __init__(self, classes: int = 10, temperature: float = 1.0) -> None:
        """Build a head without parameters.

        Args:
            classes: Number of classes of a digit.
            temperature: Logits are divided by it. Below 1 it sharpens what label smoothing has flattened.
        """
        super().__init__(classes)
        self.temperature = temperature

    def posteriors(self, digits: Tensor) -> Tensor:
        """Softmax of (..., C), over the temperature."""
        return (wide(digits) / self.temperature).softmax(-1)


class Argmax(PosteriorHead):
    """1 for the likeliest digit. It has no gradient: only digit losses can train the trunk below."""

    name = "argmax"
    differentiable = False

    def posteriors(self, digits: Tensor) -> Tensor:
        """One-hot of the largest of (..., C)."""
        return F.one_hot(digits.argmax(-1), digits.shape[-1]).to(digits.dtype)


class Subtract(Head):
    """A linear layer on the difference of the features."""

    name = "subtract"

    def __init__(self, classes: int = 10) -> None:
        """Build the layer."""
        super().__init__(classes)
        self.linear = Logits(classes, 2)

    def forward(self, features: Tensor) -> Tensor:
        """Compare (N, 2, C)."""
        first, second = features.unflatten(1, (-1, 2)).unbind(2)
        return self.linear((second - first).flatten(1))


class PaperHead(Head, Sequential):
    """The MLP of the paper's figure 1.4, layer by layer; it ends in ReLU because the paper shows it."""

    name = "paper"

    def __init__(self, classes: int = 10) -> None:
        """Build the MLP."""
        Sequential.__init__(
            self,
            nn.Linear(2 * classes, 100),
            nn.ReLU(),
            nn.BatchNorm1d(100),
            nn.Dropout(0.2),
            nn.Linear(100, 20),
            nn.ReLU(),
            nn.BatchNorm1d(20),
            nn.Dropout(0.2),
            Logits(20, 2),
            nn.ReLU(),
        )
        self.features = classes

    def forward(self, x: Tensor, calls: int = 1) -> Tensor:
        """Compare (N, 2, C)."""
        return Sequential.forward(self, x.flatten(1), calls)


class MLP(Head, Sequential):
    """One hidden layer, normalised before each ReLU, to the log odds of "first <= second"."""

    name = "mlp"
    reads_classes = False

    def __init__(self, classes: int = 10) -> None:
        """Build the MLP; the number of classes does not matter."""
        Sequential.__init__(
            self,
            nn.BatchNorm1d(64),
            nn.ReLU(),
            nn.Linear(64, 64, bias=False),
            nn.BatchNorm1d(64),
            nn.ReLU(),
            Logits(64, 1),
        )
        self.features = 32

    def forward(self, x: Tensor, calls: int = 1) -> Tensor:
        """Compare (N, 2, 32)."""
        log_odds = Sequential.forward(self, x.flatten(1), calls)  # (N, 1)
        return torch.stack([torch.zeros_like(log_odds), log_odds], -1).flatten(1)


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
