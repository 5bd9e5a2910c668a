"""A batch that R replicas share: it is copied for them only where an operation needs the copies."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only


class OneBatch(Tensor):
    """(N, R * D, ...) of R equal blocks, of which memory has one, (N, D, ...).

    `Linear` multiplies this one by R matrices, and ``flatten(1)`` keeps it. The first other operation makes R
    copies of it, and from then on it is an ordinary tensor.
    """

    one: Tensor
    replicas: int
    whole: Tensor | None  # the copies, once they are made

    @classmethod
    def of(cls, one: Tensor, replicas: int) -> Self:
        """Share a batch.

        Args:
            one: (N, D, ...), without a gradient.
            replicas: Number of replicas R.
        """
        shape = (len(one), replicas * one.shape[1], *one.shape[2:])
        batch: Self = cls._make_wrapper_subclass(cls, shape, dtype=one.dtype, device=one.device)
        batch.one, batch.replicas, batch.whole = one, replicas, None
        return batch

    def copies(self) -> Tensor:
        """An ordinary tensor (N, R * D, ...), always the same one."""
        if self.whole is None:
            self.whole = fold(for_each(self.one, self.replicas)).contiguous()
        return self.whole

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # which is declared without the operation
        cls,
        operation: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """What torch calls for each operation on such a batch."""
        if operation is torch.ops.aten.view.default and isinstance(args[0], OneBatch):
            batch, flat = args[0], [len(args[0]), args[0].shape[1:].numel()]
            if batch.whole is None and list(args[1]) == flat:
                return cls.of(batch.one.flatten(1), batch.replicas)
        args, kwargs = tree_map_only(OneBatch, OneBatch.copies, (args, kwargs or {}))
        return operation(*args, **kwargs)


def for_each(x: Tensor, replicas: int) -> Tensor:
    """(N, R, ...) of a batch (N, ...); nothing is copied."""
    return x.unsqueeze(1).expand(-1, replicas, *x.shape[1:])


def fold(x: Tensor) -> Tensor:
    """(N, R * D, ...) of (N, R, D, ...); (N, R) stays."""
    return x.flatten(1, 2) if x.dim() > 2 else x


def share(x: Tensor, replicas: int) -> Tensor:
    """(N, R * D, ...) of a batch (N, D, ...), or (N, R) of (N,)."""
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    special = torch._C._are_functorch_transforms_active() or torch.is_autocast_enabled(x.device.type)
    if x.dim() == 1 or x.requires_grad or traced or special:
        return fold(for_each(x, replicas))
    return OneBatch.of(x, replicas)
