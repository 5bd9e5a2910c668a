"""Models that learn from comparisons alone, and the losses that help them to discover the digits."""

from collections.abc import Sequence
from typing import Any, cast

from torch import Tensor

from lightning_modules.models.base import PairModule
from lightning_modules.models.latent.alignment import LatentAlignment
from lightning_modules.models.latent.splitting import FROM, TO
from lightning_modules.models.losses import balance_loss, consistency_loss, cross_entropy
from lightning_modules.models.settings import LatentSettings
from lightning_modules.networks.pairs import Outputs
from lightning_modules.replicas.layers import Linear

RAMP = 0.2  # share of training over which the weight of consistency rises


class LatentDigitModule(PairModule):
    """Trained by comparisons alone: no digit label reaches it.

    With head `exact` the trunk's ten outputs are latent digits. Two losses may be added: `balance_loss` makes
    them equally frequent, `consistency_loss` makes them the same in two views of a digit.
    """

    settings: LatentSettings

    def prepare(self) -> None:
        """Start the statistics by which the latent digits are put in order."""
        own = self.settings
        self.one_order = own.branches == "shared" or own.swap_trunks  # of both sides' latent digits
        self.alignment = LatentAlignment(self.seeds, self.one_order) if own.reorder else None

    def loss(self, outputs: Outputs, target: Tensor, classes: Tensor | None) -> Tensor:
        """Cross entropy of the comparison."""
        return cross_entropy(outputs.pair, target)

    def regulariser(self, outputs: Outputs, views: int) -> Tensor:
        """Weighted sum of `balance_loss` and `consistency_loss`."""
        total = super().regulariser(outputs, views)
        if self.settings.balance:
            assert outputs.digits is not None
            total = total + self.settings.balance * balance_loss(outputs.digits, self.one_order)
        if self.settings.consistency and views == 2:
            assert outputs.digits is not None
            ramp = min(1.0, max(0.0, self.progress() - self.settings.two_views_from) / RAMP)
            total = total + ramp * self.settings.consistency * consistency_loss(outputs.digits)
        return total

    def observe(self, outputs: Outputs, target: Tensor) -> None:
        """Add a batch to the statistics."""
        if self.alignment:
            assert outputs.digits is not None
            self.alignment.observe(outputs.digits.detach(), target)

    def select(self, kept: Sequence[int]) -> None:
        """Keep only the given replicas, and their statistics."""
        super().select(kept)
        if self.alignment:
            self.alignment.select(kept)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the statistics of the epoch: the next one starts with them."""
        super().on_save_checkpoint(checkpoint)
        if self.alignment and "optimizer_states" in checkpoint:
            checkpoint["alignment"] = {
                "cooccurrence": self.alignment.cooccurrence,
                "counts": self.alignment.counts,
            }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        if self.alignment and "alignment" in checkpoint:
            self.alignment.cooccurrence = checkpoint["alignment"]["cooccurrence"]
            self.alignment.counts = checkpoint["alignment"]["counts"]

    def on_train_epoch_start(self) -> None:
        """Put the latent digits in order by the statistics of the last epoch."""
        super().on_train_epoch_start()
        if self.alignment is None:
            return
        layer = self.network.net.trunk[-1]  # there is one where the head is exact
        assert isinstance(layer, Linear)
        splits = self.settings.split_merged and FROM <= self.progress() <= TO
        self.alignment.align(
            layer,
            self.trainer.optimizers[0],
            lambda sums: cast("Tensor", self.trainer.strategy.reduce(sums, reduce_op="sum")),
            f"parting {self.current_epoch}" if splits else None,
        )
