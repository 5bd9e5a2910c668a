"""Heads: what compares the features of two digits, for R replicas at once.

Each takes features (N, R, 2, F) of first and second digits and gives logits (N, R, 2) of "first > second" and
"first <= second".
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_modules.command.options import Head
from lightning_modules.networks.paper import paper_head
from lightning_modules.replicas.fused.sequential import Sequential
from lightning_modules.replicas.layers import Linear, wide

SMALLEST = 1e-6  # probability that a comparison is sure of: its logarithm must stay finite


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


class Exact(nn.Module):
    """Features are logits of ten digits (latent ones, where no label says which); `compare` does the rest."""

    def __init__(self, replicas: int, temperature: float = 1.0) -> None:
        """Nothing to learn.

        Args:
            replicas: Number of replicas R.
            temperature: What logits are divided by. Below 1 it sharpens what label smoothing has flattened.
        """
        super().__init__()
        self.temperature = temperature

    def posteriors(self, digits: Tensor) -> Tensor:
        """Probabilities of the classes (..., 10)."""
        return (wide(digits) / self.temperature).softmax(-1)

    def forward(self, digits: Tensor) -> Tensor:
        """Compare (N, R, 2, 10)."""
        return compare(self.posteriors(digits))


class Argmax(nn.Module):
    """Compares the likeliest digits. It has no gradient: only digit losses can train what is below."""

    def __init__(self, replicas: int) -> None:
        """Nothing to learn."""
        super().__init__()

    def posteriors(self, digits: Tensor) -> Tensor:
        """Probabilities of the classes (..., 10): all of it for the likeliest."""
        return F.one_hot(digits.argmax(-1), digits.shape[-1]).to(digits.dtype)

    def forward(self, digits: Tensor) -> Tensor:
        """Compare (N, R, 2, 10)."""
        return compare(self.posteriors(digits))


class Ordinal(nn.Module):
    """Each digit has one score; the log odds of "first <= second" are their difference and a threshold."""

    def __init__(self, replicas: int) -> None:
        """Start at no threshold."""
        super().__init__()
        self.threshold = nn.Parameter(torch.zeros(replicas))

    def forward(self, scores: Tensor) -> Tensor:
        """Compare (N, R, 2, 1)."""
        first, second = wide(scores).squeeze(-1).unbind(-1)
        return _from_log_odds(second - first + self.threshold)


class Subtract(nn.Module):
    """A linear layer on the difference of the features."""

    def __init__(self, replicas: int) -> None:
        """Build R layers."""
        super().__init__()
        self.linear = Linear(10, 2, replicas, last=True)

    def forward(self, features: Tensor) -> Tensor:
        """Compare (N, R, 2, 10)."""
        first, second = features.unbind(-2)
        return self.linear((second - first).flatten(1)).unflatten(1, (-1, 2))


class PaperHead(nn.Module):
    """The MLP of figure 1.4."""

    def __init__(self, replicas: int) -> None:
        """Build R MLPs."""
        super().__init__()
        self.mlp = paper_head(replicas)

    def forward(self, features: Tensor) -> Tensor:
        """Compare (N, R, 2, 10)."""
        return self.mlp(features.flatten(1)).unflatten(1, (-1, 2))


class MLP(nn.Module):
    """One hidden layer, normalised before each ReLU, to the log odds of "first <= second"."""

    def __init__(self, replicas: int) -> None:
        """Build R MLPs."""
        super().__init__()
        r = replicas
        self.mlp = Sequential(
            nn.BatchNorm1d(r * 64),
            nn.ReLU(),
            Linear(64, 64, r, bias=False),
            nn.BatchNorm1d(r * 64),
            nn.ReLU(),
            Linear(64, 1, r, last=True),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Compare (N, R, 2, 32)."""
        return _from_log_odds(self.mlp(features.flatten(1)))


# Head to its module and to the features of a digit that it takes.
HEADS: Mapping[Head, tuple[Callable[[int], nn.Module], int]] = {
    "paper": (PaperHead, 10),
    "mlp": (MLP, 32),
    "exact": (Exact, 10),
    "ordinal": (Ordinal, 1),
    "subtract": (Subtract, 10),
    "argmax": (Argmax, 10),
}

POSTERIOR_HEADS = (Exact, Argmax)  # a function of the digits' probabilities alone


def _from_log_odds(log_odds: Tensor) -> Tensor:
    return torch.stack([torch.zeros_like(log_odds), log_odds], -1)
