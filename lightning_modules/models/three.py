"""The three models, each a network and a loss; without options they are the paper's.

pl.Trainer(max_epochs=25).fit(WeightSharing(), DigitPairs())
"""

from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor

from lightning_modules.command.options import LatentOptions, Options
from lightning_modules.command.plain import plain
from lightning_modules.models.base import PairModule
from lightning_modules.models.effects import no_effect, why_idle
from lightning_modules.models.latent_digits import LatentDigitModule
from lightning_modules.models.losses import cross_entropy
from lightning_modules.networks.pairs import Outputs
from lightning_modules.replicas.per_replica import PerReplica, Seeds, as_plain, per_replica, refuse_repeated


class PlainCNN(LatentDigitModule):
    """A network whose two digits share nothing (paper, section 1.2.1)."""

    model_name = "cnn"

    def __init__(self, seed: Seeds = 0, lr: PerReplica = 0.05, **options: Unpack[LatentOptions]) -> None:
        """Build one network a seed.

        Args:
            seed: R seeds (a single number: one replica). The default is always 0: `seed_everything` has no
                say, so two modules made without a seed are the same training.
            lr: Learning rate, or R of them.
            **options: What is not the paper's; `Settings` (options.py) says what each means.

        Raises:
            ValueError: An argument is out of range, unknown, or has no effect beside the others.
        """
        super().__init__(seed, lr, options)
        seed, lr, options = self.seeds, as_plain("lr", lr), self.options  # as hyperparameters are kept
        self.save_hyperparameters()


class WeightSharing(LatentDigitModule):
    """One CNN for both digits (paper, section 1.2.2)."""

    model_name = "weight_sharing"

    def __init__(self, seed: Seeds = 0, lr: PerReplica = 0.1, **options: Unpack[LatentOptions]) -> None:
        """Build one network a seed.

        Args:
            seed: R seeds (a single number: one replica). The default is always 0: `seed_everything` has no
                say, so two modules made without a seed are the same training.
            lr: Learning rate, or R of them.
            **options: What is not the paper's; `Settings` (options.py) says what each means. `branches` is
                refused: sharing is what makes this model.

        Raises:
            ValueError: An argument is out of range, unknown, or has no effect beside the others.
        """
        super().__init__(seed, lr, options)
        seed, lr, options = self.seeds, as_plain("lr", lr), self.options  # as hyperparameters are kept
        self.save_hyperparameters()


class AuxiliaryLoss(PairModule):
    """Weight sharing whose CNN is also told which digits it sees (paper, section 1.2.3)."""

    model_name = "auxiliary"
    has_digit_heads = True
    alpha: Tensor  # (R,)
    gamma: Tensor  # (R,)

    def __init__(
        self,
        seed: Seeds = 0,
        lr: PerReplica = 0.1,
        alpha: PerReplica = 1.0,
        gamma: PerReplica | None = None,
        label_smoothing: float = 0.0,
        **options: Unpack[Options],
    ) -> None:
        """Build one network a seed.

        Args:
            seed: R seeds (a single number: one replica). The default is always 0: `seed_everything` has no
                say, so two modules made without a seed are the same training.
            lr: Learning rate, or R of them.
            alpha: Weight of each of the two digit losses, or R of them.
            gamma: Weight of the comparison's loss, or R of them; by default 1, and 0 where the head has no
                gradient.
            label_smoothing: Share of a digit label that is spread over all ten digits.
            **options: What is not the paper's; `Settings` (options.py) says what each means.

        Raises:
            ValueError: An argument is out of range, unknown, or has no effect beside the others.
        """
        super().__init__(seed, lr, options)
        seed, lr, alpha = self.seeds, as_plain("lr", lr), as_plain("alpha", alpha)  # as they are kept
        reason = why_idle(self.options).get("gamma")
        gamma = (0.0 if reason else 1.0) if gamma is None else as_plain("gamma", gamma)
        refuse_repeated(seed, lr, alpha, gamma)
        for name, weight in (("alpha", alpha), ("gamma", gamma)):
            weights = torch.tensor(per_replica(name, weight, len(seed)))
            self.register_buffer(name, weights, persistent=False)
        if reason and self.gamma.any():
            raise ValueError(no_effect("gamma", type(self).__name__, [reason]))
        learns = any(name.startswith("head.") for name, _ in self.network.named_parameters())
        if learns and not self.gamma.all():
            raise ValueError(
                f"gamma must be above 0 with head {self.options.get('head') or 'paper'}, which only the"
                " comparison's loss trains, got 0"
            )
        label_smoothing, options = plain("label_smoothing", label_smoothing, float), self.options
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must lie in [0, 1), got {label_smoothing}")
        self.label_smoothing = label_smoothing
        self.save_hyperparameters()

    def select(self, kept: Sequence[int]) -> None:
        """Drop all replicas but some, their weights of losses too."""
        super().select(kept)
        self.alpha, self.gamma = self.alpha[list(kept)], self.gamma[list(kept)]

    def loss(self, outputs: Outputs, target: Tensor, classes: Tensor | None) -> Tensor:
        """``alpha * aux1 + alpha * aux2 + gamma * main``, cross entropies all."""
        assert outputs.digits is not None
        assert classes is not None
        auxiliary = cross_entropy(outputs.digits, classes, self.label_smoothing).sum(-1)
        return self.alpha * auxiliary + self.gamma * cross_entropy(outputs.pair, target)
