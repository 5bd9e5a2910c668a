"""Batches of tensors in an order of its own for each replica.

A plain DataLoader gives all replicas the same batches. Where each seed should see its own order, as it would
if trained alone, take a `ReplicaLoader`. The data is indexed as tensors, so that no worker process is needed.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Self

import torch
from torch import Generator, Tensor, distributed
from torch.utils._pytree import tree_leaves, tree_map

from lightning_modules.command.limits import check_range
from lightning_modules.command.plain import plain
from lightning_modules.replicas.per_replica import Seeds, as_seeds
from lightning_modules.replicas.seeding import derive_seed


class ReplicaBatch(NamedTuple):
    """A batch of its own for each replica."""

    batch: Any  # a tuple or a dict of tensors, each (N, R, ...)


class ReplicaLoader:
    """Serves N samples in batches, in another order for each replica and epoch.

    The order is a function of seed and epoch. A Trainer calls `set_epoch`, and keeps the position in an epoch
    in its checkpoints.
    """

    batch_sampler = None  # Lightning asks for it beside `sampler`

    def __init__(
        self,
        data: Sequence[Tensor] | Mapping[str, Tensor],
        batch_size: int,
        seeds: Seeds,
        shuffle: bool = True,
    ) -> None:
        """Keep the data.

        Args:
            data: Tensors (N, ...), as a tuple or a dict: that is also the form of a batch.
            batch_size: Samples of a replica in a batch.
            seeds: R seeds.
            shuffle: Whether to shuffle. If not, all replicas have the order of the data.

        Raises:
            ValueError: The tensors are not equally long, or there are no samples.
        """
        if isinstance(data, Tensor) or not all(isinstance(x, Tensor) for x in tree_leaves(data)):
            raise ValueError(f"data must be a tuple or a dict of tensors, got {type(data).__name__}")
        lengths = sorted({len(tensor) for tensor in tree_leaves(data)})
        if len(lengths) != 1 or lengths[0] == 0:
            raise ValueError(f"data must be tensors of one length, above 0, got lengths {lengths}")
        batch_size = plain("batch_size", batch_size, int)
        check_range("batch_size", batch_size, 1)
        self.data = dict(data) if isinstance(data, Mapping) else tuple(data)
        self.samples, self.batch_size, self.seeds, self.shuffle = (
            lengths[0],
            batch_size,
            as_seeds(seeds),
            shuffle,
        )
        self.epoch = self.served = self.skipped = 0
        self.fixed_order = False  # whether all epochs have the same batches, as to overfit a few

    @property
    def sampler(self) -> Self:
        """Where Lightning looks for `set_epoch`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next iteration; Lightning calls it, a loop of one's own must."""
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
        """Serve some replicas only, from the next iteration on.

        Args:
            kept: Which ones.
        """
        self.seeds = [self.seeds[r] for r in kept]

    def __len__(self) -> int:
        return -(-self.samples // self.batch_size)

    def __iter__(self) -> Iterator[ReplicaBatch]:
        """Serve the batches of one epoch.

        Raises:
            ValueError: There are several processes, each of which would serve all samples.
        """
        if distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1:
            raise ValueError("ReplicaLoader does not divide its samples among processes; take one process")
        first, order = self.skipped, self._order()
        self.served, self.skipped = first, 0
        for number, rows in enumerate(order.split(self.batch_size)):
            if number >= first:
                self.served = number + 1
                yield ReplicaBatch(tree_map(lambda x, rows=rows: x[rows.to(x.device)], self.data))

    def _order(self) -> Tensor:
        """(N, R)."""
        if not self.shuffle or self.fixed_order:
            return torch.arange(self.samples).unsqueeze(1).expand(-1, len(self.seeds))
        generators = [
            Generator().manual_seed(derive_seed(seed, f"order {self.epoch}")) for seed in self.seeds
        ]
        return torch.stack([torch.randperm(self.samples, generator=g) for g in generators], 1)
