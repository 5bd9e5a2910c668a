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
        self.bounds = [
            (start + count * rank // world_size, start + count * (rank + 1) // world_size)
            for start in range(0, len(pairs), batch_size * world_size)
            for count in [min(batch_size * world_size, len(pairs) - start)]
        ]

    @property
    def sampler(self) -> Self:
        """Where Lightning looks for `set_epoch`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next iteration; Lightning calls it at every epoch's start, a loop must."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.bounds)

    def __iter__(self) -> Iterator[Batch]:
        """Serve the batches of one epoch."""
        pairs = self.pairs
        # What can be done once an epoch is: then a step slices, and looks up its images.
        if self.shuffle_seeds is not None:
            orders = [epoch_order(len(pairs), seed, self.epoch) for seed in self.shuffle_seeds]
            pairs = pairs.take(torch.stack(orders, 1).to(pairs.index.device))
        target, classes = pairs.target.long(), pairs.classes.long()
        for start, stop in self.bounds:
            index = pairs.index[start:stop]  # (B, R, 2)
            images = self.digits.images.index_select(0, index.flatten())  # (B * R * 2, 14, 14)
            yield (
                images.view(stop - start, 2 * index.shape[1], *images.shape[1:]),  # (B, 2R, 14, 14)
                target[start:stop],
                classes[start:stop],
            )
