"""Models that learn from comparisons alone, and what helps them to find the digits behind these."""

from collections.abc import Sequence
from typing import Any, cast

from torch import Tensor

from lightning_modules.comparison import Comparison
from lightning_modules.fused import Sequential
from lightning_modules.layers import Linear
from lightning_modules.losses import cross_entropy, disagreement, unevenness
from lightning_modules.mending import Mending
from lightning_modules.merged_latents import FROM, TO
from lightning_modules.networks import Outputs
from lightning_modules.options import Branches, Options
from lightning_modules.per_replica import PerReplica

RAMP = 0.2  # share of training over which the weight of consistency rises


class Unlabelled(Comparison):
    """Trained by the comparison alone: no digit label reaches it.

    Where the head is `exact`, the trunk's ten outputs are latent digits, and may be asked to be all equally
    frequent, and the same in two views of a digit.
    """

    def __init__(
        self,
        seeds: list[int],
        lr: PerReplica,
        branches: Branches,
        options: Options,
        prior: float,
        consistency: float,
        two_views_from: float,
        reorder: bool,
        part_merged: bool,
    ) -> None:
        """Build one network a seed.

        Args:
            seeds: R seeds.
            lr: Learning rate.
            branches: How the two digits enter.
            options: What is not the paper's.
            prior: Weight of `unevenness`.
            consistency: Final weight of `disagreement`, in batches of two views.
            two_views_from: Share of training after which that weight rises.
            reorder: Whether to mend the latent digits' order once an epoch (latent_order.py).
            part_merged: Whether then to part merged ones, too (merged_latents.py).

        Raises:
            ValueError: An argument is out of range.
        """
        super().__init__(seeds, lr, branches, options)
        for name, weight in (("prior", prior), ("consistency", consistency)):
            if not 0 <= weight < float("inf"):
                raise ValueError(f"{name} must be at least 0 and finite, got {weight}")
        if (prior or consistency or reorder) and options.get("head") != "exact":
            raise ValueError("prior, consistency and reorder are of latent digits, which only head exact has")
        self.prior, self.consistency, self.two_views_from = prior, consistency, two_views_from
        if part_merged and not reorder:
            raise ValueError("part_merged needs reorder, which tells where copies stand")
        self.one_order = branches == "shared" or bool(options.get("turns"))  # of both sides' latent digits
        self.mending = Mending(seeds, self.one_order) if reorder else None
        self.part_merged = part_merged

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
        parting = self.part_merged and FROM <= self.progress() <= TO
        self.mending.mend(
            layer,
            self.trainer.optimizers[0],
            lambda record: cast("Tensor", self.trainer.strategy.reduce(record, reduce_op="sum")),
            f"parting {self.current_epoch}" if parting else None,
        )
