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
        self.add_state("total", torch.zeros(replicas, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, values: Tensor) -> None:
        """Add the values (N, R) of N pairs; truth values are counted exactly."""
        # Counting in float32 ends at 2**24. Lightning casts the state with the module, but not integers.
        exact = torch.int64 if values.dtype == torch.bool else self._widest(values)
        self.total = self.total + values.sum(0, dtype=exact)
        self.count += len(values)

    def restore(self, total: Tensor, count: Tensor) -> None:
        """Go on from sums that were reached before.

        Args:
            total: (R,).
            count: Scalar.
        """
        self.update(total.new_zeros(0, len(total)))  # so that torchmetrics knows that there is something
        self.total, self.count = total.to(self.total.device), count.to(self.count.device)

    def keep(self, kept: Sequence[int]) -> None:
        """Forget all replicas but some.

        Args:
            kept: Which ones stay.
        """
        total = self.total[list(kept)]
        self.add_state("total", torch.zeros_like(total, dtype=torch.int64), dist_reduce_fx="sum")
        self.total = total
        self._computed = None  # torchmetrics remembers what it has computed

    def compute(self) -> Tensor:
        """The mean of each replica, (R,)."""
        return (self.total.to(self._widest(self.total)) / self.count).float()

    @staticmethod
    def _widest(values: Tensor) -> torch.dtype:
        return torch.float32 if values.device.type == "mps" else torch.float64
