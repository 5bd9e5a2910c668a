"""Interface of a learner: R nets that take a step together, computed by the framework or by torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from scratch_framework.core.parameter import State


class Learner(Protocol):
    """R nets."""

    seeds: Sequence[int]

    def step(self, x: Tensor, target: Tensor) -> Tensor:
        """Learn from a batch.

        Args:
            x: (R, B, 2).
            target: (R, B, ...), as the objective wants it.

        Returns:
            The losses before the step, (R,), reduced as in training.
        """
        ...

    def outputs(self, x: Tensor) -> Tensor:
        """Outputs of the nets.

        Args:
            x: (R, N, 2).

        Returns:
            (R, N, C).
        """
        ...

    def first_replica(self) -> Callable[[Tensor], Tensor]:
        """The first net alone, a function from (1, N, 2) to (1, N, C)."""
        ...

    def state_dict(self) -> State:
        """Parameters (R, ...) by name."""
        ...
