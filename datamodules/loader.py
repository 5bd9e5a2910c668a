"""Batches by tensor indexing: the data set is one tensor, a batch is one look-up in it."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Self

import torch
from torch import Generator, Tensor, distributed

from datamodules.augment import Augmentation
from datamodules.mnist import Digits
from datamodules.pairs import PairSet
from datamodules.seeding import derive_seed

Batch = tuple[Tensor, Tensor, Tensor]  # images (V * B, 2R, 14, 14), target (B, R), classes (B, R, 2)


def epoch_order(pairs: int, seed: int, epoch: int) -> Tensor:
    """The order of an epoch's pairs, (pairs,) int64: a function of seed and epoch alone, not to be saved."""
    # Not the stream of the bare seed, from which the pairs were drawn.
    return torch.randperm(pairs, generator=Generator().manual_seed(derive_seed("order", seed, epoch)))


class PairLoader:
    """Iterates over pairs in batches of all replicas, sharded over processes.

    Every step takes ``batch_size`` pairs for each process (the last step what is left) and gives each its
    share. So all processes make the same number of steps, as distributed training needs, and every pair is
    served exactly once, as an honest error needs. Where less than one pair a process is left, the last step
    takes some of the step before it.

    Order and warps of a batch are a function of seed, epoch and the batch's number in it. The position in an
    epoch can be kept by ``state_dict``, as a Trainer does in its checkpoints.
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
        augmentation: Augmentation | None = None,
        views: Callable[[int], int] | None = None,
    ) -> None:
        """Lay out the steps.

        Args:
            digits: Digits that the pairs index.
            pairs: N pairs for each of R replicas.
            batch_size: Pairs of a replica in a step of one process.
            shuffle_seeds: R seeds for order and warps of its own in every epoch; None keeps the order.
            rank: Number of this process.
            world_size: Number of processes.
            augmentation: Warps the digits of batches that are in an order of their own.
            views: How often each pair of an epoch is warped, by the epoch's number; once by default.
        """
        self.digits, self.pairs, self.shuffle_seeds = digits, pairs, shuffle_seeds
        self.rank, self.world_size, self.augmentation, self.views = rank, world_size, augmentation, views
        self.epoch = self.served = self.skipped = 0
        self.fixed_order = False  # whether all epochs have the same batches, as to overfit a few
        step = batch_size * world_size
        stops = [*range(step, len(pairs), step), len(pairs)]
        if len(stops) > 1 and stops[-1] - stops[-2] < world_size and batch_size > 1:
            stops[-2] = stops[-1] - world_size
        steps = [
            (start + (stop - start) * rank // world_size, start + (stop - start) * (rank + 1) // world_size)
            for start, stop in pairwise([0, *stops])
        ]
        self.sizes = [stop - start for start, stop in steps]  # pairs in each of this process's batches
        self.rows = torch.cat([torch.arange(*step) for step in steps]).to(pairs.index.device)

    @property
    def sampler(self) -> Self:
        """Where Lightning looks for `set_epoch`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next iteration; Lightning calls it at every epoch's start, a loop must."""
        if epoch != self.epoch:
            self.epoch, self.served, self.skipped = epoch, 0, 0

    def state_dict(self) -> dict[str, Any]:
        """The position: the epoch, and how many of its batches have been served."""
        return {"epoch": self.epoch, "served": self.served}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a position: the next iteration, if it is of the same epoch, serves the rest of it."""
        self.epoch, self.served = state_dict["epoch"], state_dict["served"]
        self.skipped = self.served

    def select(self, kept: Sequence[int]) -> None:
        """Serve some replicas only, from the next iteration on."""
        self.pairs = self.pairs.select(kept)
        if self.shuffle_seeds is not None:
            self.shuffle_seeds = [self.shuffle_seeds[r] for r in kept]

    def __len__(self) -> int:
        return len(self.sizes)

    def __iter__(self) -> Iterator[Batch]:
        """Serve the batches of one epoch.

        Raises:
            ValueError: There are other processes than the loader was made for, or the views are not known.
        """
        running = distributed.is_available() and distributed.is_initialized()
        processes = distributed.get_world_size() if running else 1
        if processes not in (self.world_size, 1):
            raise ValueError(
                f"this loader shares its pairs among {self.world_size} processes, but there are {processes}:"
                " give the Trainer the data module"
            )
        epoch, first, seeds = self.epoch, self.skipped, self.shuffle_seeds
        self.served, self.skipped = first, 0
        warp = None if seeds is None else self.augmentation
        views = self.views(epoch) if warp and self.views else 1
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
        for number, (size, index, target, classes) in enumerate(parts):
            if number < first:
                continue
            images = self.digits.images.index_select(0, index)  # (B * R * 2, 14, 14)
            images = images.view(size, 2 * replicas, *images.shape[1:])
            if warp and seeds:
                images = warp(images, seeds, epoch * len(self) + number, self.rank, views)
            self.served = number + 1
            yield images, target, classes

    def _order(self) -> Tensor:
        count, replicas = self.pairs.target.shape
        if self.shuffle_seeds is None or self.fixed_order:
            return torch.arange(count, device=self.rows.device).unsqueeze(1).expand(count, replicas)
        orders = [epoch_order(count, seed, self.epoch) for seed in self.shuffle_seeds]
        return torch.stack(orders, 1).to(self.rows.device)  # (N, R)
