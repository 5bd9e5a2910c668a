"""Per-replica means, summed over batches and processes."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric


class ReplicaMean(Metric):
    """Mean over pairs, one for each replica (torchmetrics' own means know a single scalar)."""

    total: Tensor
    count: Tensor

    def __init__(self, replicas: int) -> None:
        """Start at nothing.

        Args:
            replicas: Number of replicas R.
        """
        super().__init__()
        self.add_state("total", torch.zeros(replicas), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, values: Tensor) -> None:
        """Add the values (N, R) of N pairs."""
        # float32 whatever the module computes in: at half precision Lightning casts the state with the module
        self.total = self.total.float() + values.sum(0, dtype=torch.float32)
        self.count += len(values)

    def keep(self, kept: Sequence[int]) -> None:
        """Forget all replicas but some.

        Args:
            kept: Which ones stay.
        """
        total = self.total[list(kept)]
        self.add_state("total", torch.zeros_like(total), dist_reduce_fx="sum")
        self.total = total
        self._computed = None  # torchmetrics remembers what it has computed

    def compute(self) -> Tensor:
        """The mean of each replica, (R,)."""
        return self.total / self.count
