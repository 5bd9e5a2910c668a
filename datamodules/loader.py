"""Batches by tensor indexing: the data set is one tensor, a batch is one look-up in it."""

import random
from collections.abc import Iterator, Sequence
from typing import Self

import torch
from torch import Generator, Tensor

from datamodules.mnist import Digits
from datamodules.pairs import PairSet

Batch = tuple[Tensor, Tensor, Tensor]  # images (B, 2R, 14, 14), target (B, R), classes (B, R, 2)


def epoch_order(pairs: int, seed: int, epoch: int) -> Tensor:
    """The order of the pairs in one epoch: a function of seed and epoch alone, so that nothing need be saved.

    Args:
        pairs: Number of pairs.
        seed: Seed of the replica.
        epoch: Number of the epoch.

    Returns:
        (pairs,) int64, a permutation.
    """
    # Hashed, because the stream of the bare seed is taken: the pairs were drawn from it.
    stream = random.Random(f"order {seed} {epoch}").getrandbits(32)  # torch's generators see no more
    return torch.randperm(pairs, generator=Generator().manual_seed(stream))


class PairLoader:
    """Iterates over pairs in batches of all replicas, sharded over processes.

    Every step takes ``batch_size`` pairs for each process (the last step what is left) and gives each its
    share. So all processes make the same number of steps, as distributed training needs, and every pair is
    served exactly once, as an honest error needs.
    """

    batch_sampler = None  # Lightning asks for it beside `sampler`

    def __init__(
        self,
        digits: Digits,
        pairs: PairSet,
        batch_size: int,
        shuffle_seeds: Sequence[int] | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """Lay out the steps.

        Args:
            digits: Digits that the pairs index.
            pairs: N pairs for each of R replicas.
            batch_size: Pairs of a replica in a step of one process.
            shuffle_seeds: R seeds for an order of its own in every epoch; None keeps the order.
            rank: Number of this process.
            world_size: Number of processes.
        """
        self.digits, self.pairs, self.shuffle_seeds = digits, pairs, shuffle_seeds
        self.epoch = 0
        steps = [
            (start + count * rank // world_size, start + count * (rank + 1) // world_size)
            for start in range(0, len(pairs), batch_size * world_size)
            for count in [min(batch_size * world_size, len(pairs) - start)]
        ]
        self.sizes = [stop - start for start, stop in steps]  # pairs in each of this process's batches
        self.rows = torch.cat([torch.arange(*step) for step in steps]).to(pairs.index.device)

    @property
    def sampler(self) -> Self:
        """Where Lightning looks for `set_epoch`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next iteration; Lightning calls it at every epoch's start, a loop must."""
        self.epoch = epoch

    def keep(self, kept: Sequence[int]) -> None:
        """Serve some replicas only, from the next iteration on.

        Args:
            kept: Which ones.
        """
        self.pairs = self.pairs.keep(kept)
        if self.shuffle_seeds is not None:
            self.shuffle_seeds = [self.shuffle_seeds[r] for r in kept]

    def __len__(self) -> int:
        return len(self.sizes)

    def __iter__(self) -> Iterator[Batch]:
        """Serve the batches of one epoch."""
        # All that can be done once an epoch is: a step only looks up its images.
        pairs = self.pairs.take(self._order()[self.rows])
        replicas = pairs.target.shape[1]
        parts = zip(
            self.sizes,
            pairs.index.flatten().split([2 * replicas * size for size in self.sizes]),
            pairs.target.long().split(self.sizes),
            pairs.classes.long().split(self.sizes),
            strict=True,
        )
        for size, index, target, classes in parts:
            images = self.digits.images.index_select(0, index)  # (B * R * 2, 14, 14)
            yield images.view(size, 2 * replicas, *images.shape[1:]), target, classes

    def _order(self) -> Tensor:
        count, replicas = self.pairs.target.shape
        if self.shuffle_seeds is None:
            return torch.arange(count, device=self.rows.device).unsqueeze(1).expand(count, replicas)
        orders = [epoch_order(count, seed, self.epoch) for seed in self.shuffle_seeds]
        return torch.stack(orders, 1).to(self.rows.device)  # (N, R)
