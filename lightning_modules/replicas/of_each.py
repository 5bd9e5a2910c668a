"""A loss or a metric, written for one net, applied to each of R replicas."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap
from torch.utils._pytree import tree_map

Function = Callable[..., Tensor]


class OfEachReplica:
    """Applies a function of outputs and target to each replica, by vmap where that can be."""

    def __init__(self, name: str, function: Function) -> None:
        """Keep the function.

        Args:
            name: What to call it in errors.
            function: From outputs (N, ...) and target (N, ...) to one number, or one a sample.
        """
        self.name, self.function, self.is_vectorised = name, function, True

    def __call__(
        self, outputs: Any, target: Any, each: bool, weights: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Apply it.

        Args:
            outputs: Tensors (N, R, ...).
            target: Tensors (N, ...), the same for all replicas, or (N, R, ...).
            each: Whether the target is one of its own for each replica.
            weights: Further arguments by name, each (R,).

        Returns:
            (R,), or (M, R) if there is one number a sample.

        Raises:
            ValueError: The function gives something else.
        """
        weights = dict(weights or {})
        if self.is_vectorised:
            try:
                values = self._vectorised(outputs, target, each, weights)
            except (RuntimeError, ValueError) as error:  # it looks at numbers, or vmap lacks an operation
                if "called random operation" in str(error):
                    raise ValueError(
                        f"{self.name} must draw no random numbers, for which no replica has a stream;"
                        " draw them in the data set"
                    ) from error
                self.is_vectorised = False
        if not self.is_vectorised:
            values = self._looped(outputs, target, each, weights)
        if not isinstance(values, Tensor) or values.dim() not in (1, 2):
            shape = tuple(values.shape[1:]) if isinstance(values, Tensor) else type(values).__name__
            raise ValueError(f"{self.name} must give one number, or one a sample, got {shape}")
        return values.T if values.dim() == 2 else values

    def _vectorised(self, outputs: Any, target: Any, each: bool, weights: dict[str, Tensor]) -> Tensor:
        def one(outputs: Any, target: Any, weights: dict[str, Tensor]) -> Tensor:
            return self.function(outputs, target, **weights)

        values: Tensor = vmap(one, in_dims=(1, 1 if each else None, 0))(outputs, target, weights)
        return values

    def _looped(self, outputs: Any, target: Any, each: bool, weights: dict[str, Tensor]) -> Tensor:
        first = next(y for y in torch.utils._pytree.tree_leaves(outputs) if isinstance(y, Tensor))
        values = [
            self.function(
                replica_of(outputs, r),
                replica_of(target, r) if each else target,
                **{name: value[r] for name, value in weights.items()},
            )
            for r in range(first.shape[1])
        ]
        if not isinstance(values[0], Tensor):
            raise ValueError(f"{self.name} must give a tensor, got {type(values[0]).__name__}")
        return torch.stack(values)


def replica_of(values: Any, replica: int) -> Any:
    """What one replica has of tensors (N, R, ...).

    Args:
        values: Tensors, in tuples and dicts.
        replica: Which replica.
    """
    return tree_map(lambda x: x[:, replica] if isinstance(x, Tensor) else x, values)
