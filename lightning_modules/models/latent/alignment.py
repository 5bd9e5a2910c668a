"""Once an epoch: what the training pairs' answers said of the latent digits, and what is done about it."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Optimizer

from lightning_modules.models.latent.ordering import evidence, reorder, separate_orders, shared_order
from lightning_modules.models.latent.splitting import chosen, jitter_copies, part
from lightning_modules.replicas.layers import Linear
from lightning_modules.replicas.seeding import derive_seed


class Mending:
    """Keeps the record of an epoch, for R replicas."""

    def __init__(self, seeds: Sequence[int], one_order: bool) -> None:
        """Start an empty record.

        Args:
            seeds: R seeds.
            one_order: Whether first and second digits have the same latent digits, or two trunks their own.
        """
        self.seeds, self.one_order = seeds, one_order
        self.forget()

    def forget(self) -> None:
        """Empty the record."""
        self.met: Tensor | None = None  # (R, 2, C, C), as `evidence` gives it
        self.counts: Tensor | None = None  # (R, 2, C), as `chosen` does

    def select(self, kept: Sequence[int]) -> None:
        """Drop the record of all replicas but some.

        Args:
            kept: Which ones stay.
        """
        self.seeds = [self.seeds[r] for r in kept]
        self.met = None if self.met is None else self.met[list(kept)]
        self.counts = None if self.counts is None else self.counts[list(kept)]

    def observe(self, digits: Tensor, target: Tensor) -> None:
        """Add a training step.

        Args:
            digits: (V * N, R, 2, C), logits of V views of N pairs.
            target: (N, R), 1 where first <= second.
        """
        met, counts = evidence(digits, target), chosen(digits[: len(target)])
        self.met = met if self.met is None else self.met + met
        self.counts = counts if self.counts is None else self.counts + counts

    def mend(
        self, layer: Linear, optimizer: Optimizer, add: Callable[[Tensor], Tensor], parting: str | None
    ) -> None:
        """Put latent digits in order, and part merged ones; those of replicas that diverged stay as they are.

        Args:
            layer: The last one of R trunks, or of 2R.
            optimizer: Of its parameters.
            add: Adds up a tensor over processes.
            parting: Name of this epoch's noise on the copies of merged latent digits; None parts none.
        """
        if self.met is None or self.counts is None:
            return
        # To the CPU first: not every device has float64.
        met, counts = (add(record).cpu().double().numpy() for record in (self.met, self.counts))
        if self.one_order:
            counts = counts.sum(1, keepdims=True)  # (R, T, C)
        unmoved = [[*range(counts.shape[2])]] * counts.shape[1]
        orders = [
            self._orders(*record, parting is not None) if np.isfinite(record[0]).all() else unmoved
            for record in zip(met, counts, strict=True)
        ]  # (R, T, C)
        sides = layer.replicas // len(self.seeds)  # trunks of a replica
        each = torch.tensor(orders).expand(-1, sides, -1).flatten(0, 1)  # (R * sides, C)
        reorder(layer, optimizer, each)
        streams = [derive_seed(seed, f"{parting} {side}") for seed in self.seeds for side in range(sides)]
        jitter_copies(layer, each, streams)
        self.forget()

    def _orders(
        self, met: NDArray[np.float64], counts: NDArray[np.float64], parting: bool
    ) -> list[list[int]]:
        """Which former latent digit stands at each place, (T, C), of one replica."""
        orders = [shared_order(met)] if self.one_order else separate_orders(met)
        return [*map(part, orders, counts)] if parting else orders
