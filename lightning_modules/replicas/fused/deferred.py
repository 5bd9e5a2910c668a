"""Tensors that are computed when somebody looks at them.

A forward that calls its layers one by one, ``F.relu(self.conv(x))``, would leave nothing to compute together.
So during a call its tensors are `Deferred`: layers are only noted. Whatever else is done to such a tensor
computes it first, by all the layers that were noted. A forward may therefore branch, print, store or change
what it likes.
"""

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor

from lightning_modules.replicas.fused.functions import Layers, changes, layers_of
from lightning_modules.replicas.fused.notes import Node

SIZES: tuple[Callable[..., Any], ...] = (Tensor.size, Tensor.dim, Tensor.__len__)
SHAPES = (Tensor.shape.__get__, Tensor.ndim.__get__, *SIZES)  # type: ignore[attr-defined]


class Deferred(Tensor):
    """A node as a tensor."""

    node: Node

    @classmethod
    def of(cls, node: Node) -> Self:
        """Let a forward have a node."""
        # With a gradient: a function that is not announced could lose it, but not without an error.
        made: Self = cls._make_wrapper_subclass(cls, (0,), requires_grad=True)
        made.node, node.holder = node, weakref.ref(made)
        return made

    def value(self) -> Tensor:
        """The tensor, computed if it is not known."""
        self.node.is_looked_at = True
        return self.node.value()

    def then(self, layers: Layers) -> Tensor:
        """What layers make of this one."""
        call = self.node.call
        if call.takes_notes:
            return Deferred.of(self.node.then(layers))
        call.in_order(layers)
        # A deferred result would lose its gradient in a `Function`, whose forward has another mode.
        return call.net.compute(layers, self.value())

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """What torch calls for each function of such a tensor."""
        kwargs, x = kwargs or {}, args[0] if args else None
        in_place = changes(func, kwargs)
        if isinstance(x, Deferred) and x.node.call.takes_notes:
            if func in SHAPES:
                return func(torch.empty(x.node.shape(), device="meta"), *args[1:], **kwargs)
            layers = layers_of(func, x.node.shape, args[1:], kwargs)
            if layers and not in_place:
                return x.then(layers)
            if layers and x.node.known is None:  # what was made of it before keeps the node of before
                x.node.holder, x.node = None, x.node.then(layers)
                x.node.holder = weakref.ref(x)
                return x
        deferred = list(_deferred_in((args, *kwargs.values())))
        if in_place:
            deferred[0].node.call.settle()
        named = {name: _known(value) for name, value in kwargs.items()}
        return _again_deferred(func(*_known(args), **named), deferred)

    @classmethod
    def __torch_dispatch__(cls, *args: Any, **kwargs: Any) -> Any:
        """Refuse: torch's inner functions must not see such a tensor."""
        raise TypeError(
            "a tensor that is not computed yet was given to a function that torch does not announce to it;"
            " set Replicas.is_followed = False before the net is replicated"
        )


def _deferred_in(given: Any) -> "Iterator[Deferred]":
    """Deferred tensors in lists and tuples within each other; torch's trees are slow."""
    if isinstance(given, Deferred):
        yield given
    elif isinstance(given, list | tuple):
        for part in given:
            yield from _deferred_in(part)


def _known(given: Any) -> Any:
    """The same with tensors in place of deferred ones."""
    if isinstance(given, Deferred):
        return given.value()
    if isinstance(given, list | tuple):
        parts = [_known(part) for part in given]
        return parts if isinstance(given, list) else tuple(parts)
    return given


def _again_deferred(result: Any, given: Sequence[Deferred]) -> Any:
    """A result for the forward: an argument that was returned stays the same object."""
    if isinstance(result, tuple | list):
        return type(result)([_again_deferred(part, given) for part in result])
    if not isinstance(result, Tensor):
        return result
    same = next((x for x in given if x.node.known is result), None)
    if same is not None or not given[0].node.call.takes_notes or not result.dim():
        return result if same is None else same
    return Deferred.of(Node(given[0].node.call, result))
