"""What a run of layers that the loops compute can say of itself."""

from abc import ABC, abstractmethod

from torch import Tensor


class Fused(ABC):
    """A run of layers that the loops compute."""

    @property
    @abstractmethod
    def replicas(self) -> int:
        """How many lie apart in memory; 0: any number."""

    @property
    def is_worth_a_layout(self) -> bool:
        """Whether it pays to lay replicas apart for it alone."""
        return True

    @property
    @abstractmethod
    def features(self) -> int:
        """How many of all replicas it gives; 0: as many as it is given."""

    @abstractmethod
    def __call__(self, x: Tensor, calls: int) -> Tensor:
        """Compute the run.

        Args:
            x: (R, calls * N, [H, W,] F), which may be filled up to a row; with zeros, but for a block.
            calls: Batches that are normalised apart, one after the other.

        Returns:
            (R, calls * N, [H', W',] F'), which may be filled up to a row.
        """

    @abstractmethod
    def takes(self, x: Tensor, replicas: int) -> bool:
        """Whether a loop is for this x, of so many replicas that lie apart; 0: they lie side by side."""

    def reads(self, x: Tensor) -> bool:
        """Whether replicas are taken as they are, side by side."""
        return False

    @abstractmethod
    def by_torch(self, x: Tensor, calls: int) -> Tensor:
        """Compute (calls * N, R * F, ...), which a loop is not for."""
