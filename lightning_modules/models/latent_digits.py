"""Models that learn from comparisons alone, and what helps them to find the digits behind these."""

import math
from collections.abc import Sequence
from typing import Any, cast

from torch import Tensor

from lightning_modules.command.limits import check_range
from lightning_modules.command.options import DEFAULTS, LatentOptions
from lightning_modules.models.base import PairModule
from lightning_modules.models.latent.alignment import LatentAlignment
from lightning_modules.models.latent.splitting import FROM, TO
from lightning_modules.models.losses import cross_entropy, disagreement, unevenness
from lightning_modules.networks.pairs import EarlyFusion, Outputs
from lightning_modules.replicas.layers import Linear
from lightning_modules.replicas.per_replica import PerReplica, Seeds, as_plain, refuse_repeated

RAMP = 0.2  # share of training over which the weight of consistency rises


class LatentDigitModule(PairModule):
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
                `reorder` puts the latent classes in order once an epoch (latent/ordering.py); `part_merged`
                then splits merged ones, too (latent/splitting.py).

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
        self.alignment = LatentAlignment(self.seeds, self.one_order) if settings["reorder"] else None
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
        assert not isinstance(self.network, EarlyFusion)
        layer = self.network.trunk[-1]
        assert isinstance(layer, Linear)
        parting = self.part_merged and FROM <= self.progress() <= TO
        self.alignment.align(
            layer,
            self.trainer.optimizers[0],
            lambda sums: cast("Tensor", self.trainer.strategy.reduce(sums, reduce_op="sum")),
            f"parting {self.current_epoch}" if parting else None,
        )
