"""Once an epoch, realign the latent classes by the labels of the training pairs seen so far."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Optimizer

from lightning_modules.models.latent.ordering import cooccurrence, reorder, separate_orders, shared_order
from lightning_modules.models.latent.splitting import argmax_counts, jitter_copies, split_merged_class
from lightning_modules.replicas.layers import Linear
from lightning_modules.replicas.seeding import derive_seed


class LatentAlignment:
    """Statistics of an epoch's latent classes, for R replicas, and their use on the output layer."""

    def __init__(self, seeds: Sequence[int], one_order: bool) -> None:
        """Start without statistics.

        Args:
            seeds: R seeds.
            one_order: Whether first and second digits have the same latent classes, or two trunks their own.
        """
        self.seeds, self.one_order = seeds, one_order
        self.reset()

    def reset(self) -> None:
        """Forget the statistics."""
        self.cooccurrence: Tensor | None = None  # (R, 2, C, C)
        self.counts: Tensor | None = None  # (R, 2, C)

    def select(self, kept: Sequence[int]) -> None:
        """Keep only the statistics of the given replicas.

        Args:
            kept: Which replicas stay, in this order.
        """
        self.seeds = [self.seeds[r] for r in kept]
        self.cooccurrence = None if self.cooccurrence is None else self.cooccurrence[list(kept)]
        self.counts = None if self.counts is None else self.counts[list(kept)]

    def observe(self, digits: Tensor, target: Tensor) -> None:
        """Add a training step to the statistics.

        Args:
            digits: (V * N, R, 2, C), logits of V views of N pairs.
            target: (N, R), 1 where first <= second.
        """
        pairs, counts = cooccurrence(digits, target), argmax_counts(digits[: len(target)])
        self.cooccurrence = pairs if self.cooccurrence is None else self.cooccurrence + pairs
        self.counts = counts if self.counts is None else self.counts + counts

    def align(
        self, layer: Linear, optimizer: Optimizer, add: Callable[[Tensor], Tensor], splitting: str | None
    ) -> None:
        """Permute the outputs of the last layer into their order, and split merged classes, then start anew.

        Replicas that diverged stay as they are.

        Args:
            layer: The last layer of R trunks, or of 2R.
            optimizer: Of its parameters.
            add: Adds up a tensor over processes.
            splitting: Name of this epoch's noise on the copies of split classes; None splits none.
        """
        if self.cooccurrence is None or self.counts is None:
            return
        # To the CPU first: not every device has float64.
        pairs, counts = (add(sums).cpu().double().numpy() for sums in (self.cooccurrence, self.counts))
        if self.one_order:
            counts = counts.sum(1, keepdims=True)  # (R, T, C)
        unmoved = [[*range(counts.shape[2])]] * counts.shape[1]
        orders = [
            self._orders(*sums, splitting is not None) if np.isfinite(sums[0]).all() else unmoved
            for sums in zip(pairs, counts, strict=True)
        ]  # (R, T, C)
        sides = layer.replicas // len(self.seeds)  # trunks of a replica
        each = torch.tensor(orders).expand(-1, sides, -1).flatten(0, 1)  # (R * sides, C)
        reorder(layer, optimizer, each)
        seeds = [derive_seed(seed, f"{splitting} {side}") for seed in self.seeds for side in range(sides)]
        jitter_copies(layer, each, seeds)
        self.reset()

    def _orders(
        self, pairs: NDArray[np.float64], counts: NDArray[np.float64], splitting: bool
    ) -> list[list[int]]:
        """Which former class stands at each place, (T, C), of one replica."""
        orders = [shared_order(pairs)] if self.one_order else separate_orders(pairs)
        return [*map(split_merged_class, orders, counts)] if splitting else orders
