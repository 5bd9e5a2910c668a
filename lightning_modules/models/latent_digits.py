"""Models that learn from comparisons alone, and what helps them to find the digits behind these."""

from collections.abc import Sequence
from typing import Any, cast

from torch import Tensor

from lightning_modules.models.base import PairModule
from lightning_modules.models.latent.alignment import LatentAlignment
from lightning_modules.models.latent.splitting import FROM, TO
from lightning_modules.models.losses import cross_entropy, disagreement, unevenness
from lightning_modules.models.settings import LatentSettings
from lightning_modules.networks.pairs import Outputs
from lightning_modules.replicas.layers import Linear

RAMP = 0.2  # share of training over which the weight of consistency rises


class LatentDigitModule(PairModule):
    """Trained by the comparison alone: no digit label reaches it.

    Where the head is `exact`, the trunk's ten outputs are latent digits, and may be asked to be all equally
    frequent, and the same in two views of a digit.
    """

    settings: LatentSettings

    def prepare(self) -> None:
        """Start the statistics of the latent classes, where these are realigned."""
        own = self.settings
        self.one_order = own.branches == "shared" or own.turns  # of both sides' latent digits
        self.alignment = LatentAlignment(self.seeds, self.one_order) if own.reorder else None

    def loss(self, outputs: Outputs, target: Tensor, classes: Tensor | None) -> Tensor:
        """Cross entropy of the comparison."""
        return cross_entropy(outputs.pair, target)

    def regulariser(self, outputs: Outputs, views: int) -> Tensor:
        """Weighted sum of `unevenness` and `disagreement`."""
        total = super().regulariser(outputs, views)
        if self.settings.prior:
            assert outputs.digits is not None
            total = total + self.settings.prior * unevenness(outputs.digits, self.one_order)
        if self.settings.consistency and views == 2:
            assert outputs.digits is not None
            ramp = min(1.0, max(0.0, self.progress() - self.settings.two_views_from) / RAMP)
            total = total + ramp * self.settings.consistency * disagreement(outputs.digits)
        return total

    def observe(self, outputs: Outputs, target: Tensor) -> None:
        """Count the latent classes."""
        if self.alignment:
            assert outputs.digits is not None
            self.alignment.observe(outputs.digits.detach(), target)

    def select(self, kept: Sequence[int]) -> None:
        """Keep only the given replicas, and their statistics of latent classes."""
        super().select(kept)
        if self.alignment:
            self.alignment.select(kept)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the epoch's statistics, which the next epoch starts with."""
        super().on_save_checkpoint(checkpoint)
        if self.alignment and "optimizer_states" in checkpoint:
            checkpoint["alignment"] = {
                "cooccurrence": self.alignment.cooccurrence,
                "counts": self.alignment.counts,
            }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the statistics."""
        super().on_load_checkpoint(checkpoint)
        if self.alignment and "alignment" in checkpoint:
            self.alignment.cooccurrence = checkpoint["alignment"]["cooccurrence"]
            self.alignment.counts = checkpoint["alignment"]["counts"]

    def on_train_epoch_start(self) -> None:
        """Realign the latent classes by the last epoch's statistics."""
        super().on_train_epoch_start()
        if self.alignment is None:
            return
        layer = self.network.net.trunk[-1]  # there is one where the head is exact
        assert isinstance(layer, Linear)
        parting = self.settings.part_merged and FROM <= self.progress() <= TO
        self.alignment.align(
            layer,
            self.trainer.optimizers[0],
            lambda sums: cast("Tensor", self.trainer.strategy.reduce(sums, reduce_op="sum")),
            f"parting {self.current_epoch}" if parting else None,
        )
