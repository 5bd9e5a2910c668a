"""The three models, each a network and a loss; without options they are the paper's.

pl.Trainer(max_epochs=25).fit(WeightSharing(), DigitPairs())
"""

from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor

from lightning_modules.comparison import Comparison
from lightning_modules.losses import cross_entropy
from lightning_modules.networks import Outputs
from lightning_modules.options import Options
from lightning_modules.per_replica import PerReplica, as_list, per_replica
from lightning_modules.unlabelled import Unlabelled


class PlainCNN(Unlabelled):
    """A network whose two digits share nothing (paper, section 1.2.1)."""

    def __init__(
        self,
        seed: int | Sequence[int] = 0,
        lr: PerReplica = 0.05,
        prior: float = 0.0,
        consistency: float = 0.0,
        two_views_from: float = 1.0,
        reorder: bool = False,
        part_merged: bool = False,
        **options: Unpack[Options],
    ) -> None:
        """Build one network a seed.

        Args:
            seed: R seeds (a single number: one replica).
            lr: Learning rate.
            prior: See `Unlabelled`.
            consistency: See there.
            two_views_from: See there.
            reorder: See there.
            part_merged: See there.
            **options: What is not the paper's.

        Raises:
            ValueError: An argument is out of range.
        """
        seed = as_list(seed)  # as hyperparameters are kept
        branches = options.get("branches") or "early"
        latent = (prior, consistency, two_views_from, reorder, part_merged)
        super().__init__(seed, lr, branches, options, *latent)
        self.save_hyperparameters()


class WeightSharing(Unlabelled):
    """One CNN for both digits (paper, section 1.2.2)."""

    def __init__(
        self,
        seed: int | Sequence[int] = 0,
        lr: PerReplica = 0.1,
        prior: float = 0.0,
        consistency: float = 0.0,
        two_views_from: float = 1.0,
        reorder: bool = False,
        part_merged: bool = False,
        **options: Unpack[Options],
    ) -> None:
        """Build one network a seed.

        Args:
            seed: R seeds (a single number: one replica).
            lr: Learning rate.
            prior: See `Unlabelled`.
            consistency: See there.
            two_views_from: See there.
            reorder: See there.
            part_merged: See there.
            **options: What is not the paper's.

        Raises:
            ValueError: An argument is out of range.
        """
        seed = as_list(seed)  # as hyperparameters are kept
        latent = (prior, consistency, two_views_from, reorder, part_merged)
        super().__init__(seed, lr, "shared", options, *latent)
        self.save_hyperparameters()


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
        label_smoothing: float = 0.0,
        **options: Unpack[Options],
    ) -> None:
        """Build one network a seed.

        Args:
            seed: R seeds (a single number: one replica).
            lr: Learning rate.
            alpha: Weight of each of the two digit losses.
            gamma: Weight of the comparison's loss.
            label_smoothing: Share of a digit label that is spread over all ten digits.
            **options: What is not the paper's.

        Raises:
            ValueError: An argument is out of range.
        """
        seed = as_list(seed)  # as hyperparameters are kept
        super().__init__(seed, lr, options.get("branches") or "shared", options)
        for name, weight in (("alpha", alpha), ("gamma", gamma)):
            weights = torch.tensor(per_replica(name, weight, len(seed)))
            self.register_buffer(name, weights, persistent=False)
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must lie in [0, 1), got {label_smoothing}")
        self.label_smoothing = label_smoothing
        self.save_hyperparameters()

    def keep(self, kept: Sequence[int]) -> None:
        """Drop all replicas but some, their weights of losses too."""
        super().keep(kept)
        self.alpha, self.gamma = self.alpha[list(kept)], self.gamma[list(kept)]

    def loss(self, outputs: Outputs, target: Tensor, classes: Tensor | None) -> Tensor:
        """``alpha * aux1 + alpha * aux2 + gamma * main``, cross entropies all."""
        assert outputs.digits is not None
        assert classes is not None
        auxiliary = cross_entropy(outputs.digits, classes, self.label_smoothing).sum(-1)
        return self.alpha * auxiliary + self.gamma * cross_entropy(outputs.pair, target)
