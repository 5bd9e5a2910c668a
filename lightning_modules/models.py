"""The three models of the paper, each a network and a loss.

pl.Trainer(max_epochs=25).fit(WeightSharing(), DigitPairs())
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_modules.comparison import Comparison, PerReplica, as_list, per_replica
from lightning_modules.networks import Outputs, PaperCNN, PaperSiamese


class PlainCNN(Comparison):
    """Both digits as two channels of one CNN (paper, section 1.2.1)."""

    def __init__(self, seed: int | Sequence[int] = 0, lr: PerReplica = 0.05) -> None:
        """Build one network a seed.

        Args:
            seed: R seeds (a single number: one replica).
            lr: Learning rate.

        Raises:
            ValueError: An argument is out of range.
        """
        seed = as_list(seed)  # as hyperparameters are kept
        super().__init__(PaperCNN(len(seed)), seed, lr)
        self.save_hyperparameters()

    def loss(self, outputs: Outputs, target: Tensor, classes: Tensor) -> Tensor:
        """Cross entropy of the comparison."""
        return cross_entropy(outputs.pair, target)


class WeightSharing(Comparison):
    """One CNN for both digits, trained by the comparison alone (paper, section 1.2.2)."""

    def __init__(self, seed: int | Sequence[int] = 0, lr: PerReplica = 0.1) -> None:
        """Build one network a seed.

        Args:
            seed: R seeds (a single number: one replica).
            lr: Learning rate.

        Raises:
            ValueError: An argument is out of range.
        """
        seed = as_list(seed)  # as hyperparameters are kept
        super().__init__(PaperSiamese(len(seed)), seed, lr)
        self.save_hyperparameters()

    def loss(self, outputs: Outputs, target: Tensor, classes: Tensor) -> Tensor:
        """Cross entropy of the comparison."""
        return cross_entropy(outputs.pair, target)


class AuxiliaryLoss(Comparison):
    """Weight sharing whose CNN is also told which digits it sees (paper, section 1.2.3)."""

    has_digit_heads = True
    alpha: Tensor  # (R,)
    gamma: Tensor  # (R,)

    def __init__(
        self,
        seed: int | Sequence[int] = 0,
        lr: PerReplica = 0.1,
        alpha: PerReplica = 1.0,
        gamma: PerReplica = 1.0,
    ) -> None:
        """Build one network a seed.

        Args:
            seed: R seeds (a single number: one replica).
            lr: Learning rate.
            alpha: Weight of each of the two digit losses.
            gamma: Weight of the comparison's loss.

        Raises:
            ValueError: An argument is out of range.
        """
        seed = as_list(seed)  # as hyperparameters are kept
        super().__init__(PaperSiamese(len(seed)), seed, lr)
        for name, weight in (("alpha", alpha), ("gamma", gamma)):
            weights = torch.tensor(per_replica(name, weight, len(seed)))
            self.register_buffer(name, weights, persistent=False)
        self.save_hyperparameters()

    def loss(self, outputs: Outputs, target: Tensor, classes: Tensor) -> Tensor:
        """``alpha * aux1 + alpha * aux2 + gamma * main``, cross entropies all."""
        assert outputs.digits is not None
        auxiliary = cross_entropy(outputs.digits, classes).sum(-1)
        return self.alpha * auxiliary + self.gamma * cross_entropy(outputs.pair, target)


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Cross entropy of logits (N, ..., C) against targets (N, ...), element by element."""
    return F.cross_entropy(logits.flatten(0, -2), target.flatten(), reduction="none").view(target.shape)
