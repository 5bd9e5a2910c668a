"""Models that learn from comparisons alone, and what helps them to find the digits behind these."""

import math
from collections.abc import Sequence
from typing import Any, cast

from torch import Tensor

from lightning_modules.command.limits import check_range
from lightning_modules.command.options import DEFAULTS, LatentOptions
from lightning_modules.models.base import Comparison
from lightning_modules.models.latent.alignment import Mending
from lightning_modules.models.latent.splitting import FROM, TO
from lightning_modules.models.losses import cross_entropy, disagreement, unevenness
from lightning_modules.networks.pairs import EarlyFusion, Outputs
from lightning_modules.replicas.layers import Linear
from lightning_modules.replicas.per_replica import PerReplica, Seeds, as_plain, refuse_repeated

RAMP = 0.2  # share of training over which the weight of consistency rises


class Unlabelled(Comparison):
    """Trained by the comparison alone: no digit label reaches it.

    Where the head is `exact`, the trunk's ten outputs are latent digits, and may be asked to be all equally
    frequent, and the same in two views of a digit.
    """

    def __init__(self, seed: Seeds, lr: PerReplica, options: LatentOptions) -> None:
        """Build one network a seed.

        Args:
            seed: R seeds, or a single one.
            lr: Learning rate, or R of them.
            options: What is not the paper's: `prior` is the weight of `unevenness`; `consistency` the final
                weight of `disagreement` in batches of two views, which rises from `two_views_from` on;
                `reorder` mends the latent digits' order once an epoch (latent_order.py); `part_merged` then
                parts merged ones, too (merged_latents.py).

        Raises:
            ValueError: An argument is out of range, unknown, or has no effect beside the others.
        """
        super().__init__(seed, lr, options)
        refuse_repeated(self.seeds, as_plain("lr", lr))
        settings: dict[str, Any] = {**DEFAULTS, **self.options}
        for name in ("prior", "consistency"):
            if not 0 <= settings[name] < math.inf:
                raise ValueError(f"{name} must be at least 0 and finite, got {settings[name]}")
        check_range("two_views_from", settings["two_views_from"], 0, 1)
        self.prior, self.consistency = settings["prior"], settings["consistency"]
        self.two_views_from = settings["two_views_from"]
        self.one_order = self.branches == "shared" or settings["turns"]  # of both sides' latent digits
        self.mending = Mending(self.seeds, self.one_order) if settings["reorder"] else None
        self.part_merged = settings["part_merged"]

    def loss(self, outputs: Outputs, target: Tensor, classes: Tensor | None) -> Tensor:
        """Cross entropy of the comparison."""
        return cross_entropy(outputs.pair, target)

    def regulariser(self, outputs: Outputs, views: int) -> Tensor:
        """Weighted sum of `unevenness` and `disagreement`."""
        total = super().regulariser(outputs, views)
        if self.prior:
            assert outputs.digits is not None
            total = total + self.prior * unevenness(outputs.digits, self.one_order)
        if self.consistency and views == 2:
            assert outputs.digits is not None
            ramp = min(1.0, max(0.0, self.progress() - self.two_views_from) / RAMP)
            total = total + ramp * self.consistency * disagreement(outputs.digits)
        return total

    def observe(self, outputs: Outputs, target: Tensor) -> None:
        """Record what the answers say about the latent digits."""
        if self.mending:
            assert outputs.digits is not None
            self.mending.observe(outputs.digits.detach(), target)

    def select(self, kept: Sequence[int]) -> None:
        """Drop all replicas but some, and what was observed of the others."""
        super().select(kept)
        if self.mending:
            self.mending.select(kept)

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
        assert not isinstance(self.network, EarlyFusion)
        layer = self.network.trunk[-1]
        assert isinstance(layer, Linear)
        parting = self.part_merged and FROM <= self.progress() <= TO
        self.mending.mend(
            layer,
            self.trainer.optimizers[0],
            lambda record: cast("Tensor", self.trainer.strategy.reduce(record, reduce_op="sum")),
            f"parting {self.current_epoch}" if parting else None,
        )
