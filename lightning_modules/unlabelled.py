"""Models that learn from comparisons alone, and what helps them to find the digits behind these."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_modules.comparison import Comparison
from lightning_modules.fused import Sequential
from lightning_modules.latent_order import evidence, reorder, separate_orders, shared_order
from lightning_modules.layers import Linear
from lightning_modules.losses import cross_entropy, disagreement, unevenness
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
        self.reorder = reorder
        self.one_order = branches == "shared" or bool(options.get("turns"))  # of both sides' latent digits
        self.evidence: Tensor | None = None  # (R, 2, 10, 10), of this epoch so far

    def loss(self, outputs: Outputs, target: Tensor, classes: Tensor | None) -> Tensor:
        """Cross entropy of the comparison."""
        return cross_entropy(outputs.pair, target)

    def regulariser(self, outputs: Outputs, views: int) -> Tensor:
        """Weighted sum of `unevenness` and `disagreement`."""
        total = super().regulariser(outputs, views)
        if self.prior:
            assert outputs.digits is not None
            total = total + self.prior * unevenness(outputs.digits)
        if self.consistency and views == 2:
            assert outputs.digits is not None
            ramp = min(1.0, max(0.0, self.progress() - self.two_views_from) / RAMP)
            total = total + ramp * self.consistency * disagreement(outputs.digits)
        return total

    def observe(self, outputs: Outputs, target: Tensor) -> None:
        """Add up what the answers say about the latent digits' order."""
        if self.reorder:
            assert outputs.digits is not None
            step = evidence(outputs.digits.detach(), target)
            self.evidence = step if self.evidence is None else self.evidence + step

    def keep(self, kept: Sequence[int]) -> None:
        """Drop all replicas but some, and what was observed of the others."""
        super().keep(kept)
        if self.evidence is not None:
            self.evidence = self.evidence[list(kept)]

    def on_train_epoch_start(self) -> None:
        """Mend the order of the latent digits by the last epoch's evidence."""
        super().on_train_epoch_start()
        if self.evidence is None:
            return
        total = self.trainer.strategy.reduce(self.evidence, reduce_op="sum")
        assert isinstance(total, Tensor)
        met = total.double().cpu().numpy()
        orders = torch.tensor([[shared_order(m)] if self.one_order else separate_orders(m) for m in met])
        trunk = self.network.trunk
        assert isinstance(trunk, Sequential)
        layer = trunk[-1]
        assert isinstance(layer, Linear)
        each = orders.expand(-1, layer.replicas // len(orders), -1).flatten(0, 1)  # of each trunk
        reorder(layer, self.trainer.optimizers[0], each)
        self.evidence = None
