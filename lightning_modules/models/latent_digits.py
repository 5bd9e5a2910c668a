"""Models that learn from comparisons alone, and what helps them to find the digits behind these."""

from collections.abc import Sequence
from typing import Any, cast

from torch import Tensor

from lightning_modules.models.base import Comparison
from lightning_modules.models.latent.alignment import Mending
from lightning_modules.models.latent.splitting import FROM, TO
from lightning_modules.models.losses import cross_entropy, disagreement, unevenness
from lightning_modules.models.settings import LatentSettings
from lightning_modules.networks.paper import Outputs
from lightning_modules.replicas.fused.sequential import Sequential
from lightning_modules.replicas.layers import Linear

RAMP = 0.2  # share of training over which the weight of consistency rises


class LatentDigitModule(Comparison):
    """Trained by the comparison alone: no digit label reaches it.

    Where the head is `exact`, the trunk's ten outputs are latent digits, and may be asked to be all equally
    frequent, and the same in two views of a digit.
    """

    settings: LatentSettings

    def prepare(self) -> None:
        """Start the record of the latent digits, where their order is mended."""
        own = self.settings
        self.one_order = own.branches == "shared" or own.turns  # of both sides' latent digits
        self.mending = Mending(self.seeds, self.one_order) if own.reorder else None

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
        """Record what the answers say about the latent digits."""
        if self.mending:
            assert outputs.digits is not None
            self.mending.observe(outputs.digits.detach(), target)

    def keep(self, kept: Sequence[int]) -> None:
        """Drop all replicas but some, and what was observed of the others."""
        super().keep(kept)
        if self.mending:
            self.mending.keep(kept)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the record of the epoch, which the next one starts with, where training is to go on."""
        super().on_save_checkpoint(checkpoint)
        if self.mending and "optimizer_states" in checkpoint:
            checkpoint["mending"] = {"met": self.mending.met, "counts": self.mending.counts}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the record up again."""
        super().on_load_checkpoint(checkpoint)
        if self.mending and "mending" in checkpoint:
            self.mending.met = checkpoint["mending"]["met"]
            self.mending.counts = checkpoint["mending"]["counts"]

    def on_train_epoch_start(self) -> None:
        """Mend the latent digits by the last epoch's record."""
        super().on_train_epoch_start()
        if self.mending is None:
            return
        trunk = self.network.trunk
        assert isinstance(trunk, Sequential)
        layer = trunk[-1]
        assert isinstance(layer, Linear)
        parting = self.settings.part_merged and FROM <= self.progress() <= TO
        self.mending.mend(
            layer,
            self.trainer.optimizers[0],
            lambda record: cast("Tensor", self.trainer.strategy.reduce(record, reduce_op="sum")),
            f"parting {self.current_epoch}" if parting else None,
        )
