"""The third model: weight sharing whose CNN is also told which digits it sees."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_modules.models.base import PairModule
from lightning_modules.models.losses import cross_entropy
from lightning_modules.models.settings import AuxiliaryLossSettings
from lightning_modules.networks.pairs import Outputs
from lightning_modules.replicas.per_replica import per_replica


class AuxiliaryLoss(PairModule):
    """Weight sharing whose CNN is also told which digits it sees (paper, section 1.2.3)."""

    settings_type = AuxiliaryLossSettings
    settings: AuxiliaryLossSettings
    has_digit_heads = True
    alpha: Tensor  # (R,)
    gamma: Tensor  # (R,)

    def prepare(self) -> None:
        """Spread the weights of the losses over the replicas.

        Raises:
            ValueError: There are not R of them, or nothing would train the head.
        """
        for name, weight in (("alpha", self.settings.alpha), ("gamma", self.settings.gamma)):
            weights = torch.tensor(per_replica(name, weight, len(self.seeds)))
            self.register_buffer(name, weights, persistent=False)
        learns = any(name.startswith("head.") for name, _ in self.network.net.named_parameters())
        if learns and not self.gamma.all():
            raise ValueError(
                f"gamma must be above 0 with head {self.settings.head}, which only the comparison's loss"
                " trains, got 0"
            )

    def select(self, kept: Sequence[int]) -> None:
        """Drop all replicas but some, their weights of losses too."""
        super().select(kept)
        self.alpha, self.gamma = self.alpha[list(kept)], self.gamma[list(kept)]

    def loss(self, outputs: Outputs, target: Tensor, classes: Tensor | None) -> Tensor:
        """``alpha * aux1 + alpha * aux2 + gamma * main``, cross entropies all."""
        assert outputs.digits is not None
        assert classes is not None
        auxiliary = cross_entropy(outputs.digits, classes, self.settings.label_smoothing).sum(-1)
        return self.alpha * auxiliary + self.gamma * cross_entropy(outputs.pair, target)
