"""A batch that R replicas share: it is copied for them only where an operation needs the copies."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only


class OneBatch(Tensor):
    """(N, R * D, ...) of R equal blocks, of which memory has one, (N, D, ...).

    `Linear` multiplies this one by R matrices, and ``flatten(1)`` keeps it. The first other operation makes R
    copies of it; where it changes them, or gives a view of them, they count from then on.
    """

    one: Tensor
    replicas: int
    source: "OneBatch | None"  # of which this is a view
    whole: Tensor | None  # the copies, once they are made
    exposed: bool  # whether the copies may have been changed

    @classmethod
    def of(cls, one: Tensor, replicas: int, source: "OneBatch | None" = None) -> Self:
        """Share a batch.

        Args:
            one: (N, D, ...), without a gradient.
            replicas: Number of replicas R.
            source: The batch of which it is a view.
        """
        shape = (len(one), replicas * one.shape[1], *one.shape[2:])
        batch: Self = cls._make_wrapper_subclass(cls, shape, dtype=one.dtype, device=one.device)
        batch.one, batch.replicas, batch.source = one, replicas, source
        batch.whole, batch.exposed = None, False
        return batch

    @property
    def is_one(self) -> bool:
        """Whether `one` is what all blocks hold, takes no gradient, and is multiplied as it is."""
        source = self if self.source is None else self.source
        autocast = torch.is_autocast_enabled(self.device.type)  # begun by the net's own forward
        return not (self.requires_grad or source.exposed or autocast)

    def copies(self, expose: bool = True) -> Tensor:
        """An ordinary tensor (N, R * D, ...), always the same one.

        Args:
            expose: Whether it may be changed.
        """
        if self.source is not None:
            return self.source.copies(expose).view(self.shape)
        self.exposed |= expose
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
            if batch.is_one and list(args[1]) == flat:
                source = batch if batch.source is None else batch.source
                return cls.of(batch.one.flatten(1), batch.replicas, source)
        schema: Any = operation._schema  # type: ignore[attr-defined]
        expose = any(argument.alias_info is not None for argument in schema.arguments)
        ordinary = partial(OneBatch.copies, expose=expose)
        args, kwargs = tree_map_only(OneBatch, ordinary, (args, kwargs or {}))
        return operation(*args, **kwargs)


def for_each(x: Tensor, replicas: int) -> Tensor:
    """(N, R, ...) of a batch (N, ...); nothing is copied.

    Raises:
        ValueError: It is a single number, which has no samples.
    """
    if x.dim() == 0:
        raise ValueError("an input must be (N, ...), got a tensor without dimensions; give a Python number")
    return x.unsqueeze(1).expand(-1, replicas, *x.shape[1:])


def fold(x: Tensor) -> Tensor:
    """(N, R * D, ...) of (N, R, D, ...); (N, R) stays."""
    return x.flatten(1, 2) if x.dim() > 2 else x


def share(x: Tensor, replicas: int) -> Tensor:
    """(N, R * D, ...) of a batch (N, D, ...), or (N, R) of (N,)."""
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    special = torch._C._are_functorch_transforms_active() or torch.is_autocast_enabled(x.device.type)
    if x.dim() == 1 or x.requires_grad or traced or special:
        return fold(for_each(x, replicas)).contiguous()  # a forward may change it in place
    return OneBatch.of(x, replicas)
