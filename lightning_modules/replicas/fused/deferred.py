"""Tensors that are computed when somebody looks at them.

A forward that calls its layers one by one, ``F.relu(self.conv(x))``, would leave nothing to compute together.
So during a call its tensors are `Deferred`: layers are only noted. Whatever else is done to such a tensor
computes it first, by all the layers that were noted. A forward may therefore branch, print, store or change
what it likes.
"""

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from lightning_modules.replicas.fused.functions import Layers, changes, layers_of

Saving = Callable[[Any], Any]
Path = tuple[torch.Size, Layers]  # a shape, and the layers that are applied to it
SIZES: tuple[Callable[..., Any], ...] = (Tensor.size, Tensor.dim, Tensor.__len__)
SHAPES = (Tensor.shape.__get__, Tensor.ndim.__get__, *SIZES)  # type: ignore[attr-defined]


class Net(Protocol):
    """What a net knows from call to call."""

    kept: set[Path]  # what was looked at after layers behind it had been computed with it in one go

    def compute(self, layers: Layers, x: Tensor) -> Tensor:
        """Apply layers."""

    def shape_after(self, path: Path) -> torch.Size | None:
        """The shape that layers give; none where they must be computed for that."""

    def leave_something(self, layers: Layers) -> Layers:
        """Those of layers, and of layers in them, that would not give the same once more."""


@dataclass(frozen=True)
class Mode:
    """What torch does with operations besides computing them."""

    gradients: bool
    autocast: bool
    autocast_type: torch.dtype
    saving: tuple[Saving, Saving] | None  # what is done to tensors that are kept for the backward pass

    @classmethod
    def now(cls) -> Self:
        """That of this moment."""
        saving = torch._C._autograd._top_saved_tensors_default_hooks(False)
        autocast = torch.is_autocast_enabled("cpu")
        return cls(torch.is_grad_enabled(), autocast, torch.get_autocast_dtype("cpu"), saving)

    @contextmanager
    def again(self) -> Iterator[None]:
        """Do the same as then."""
        if Mode.now() == self:
            yield
            return
        autocast = torch.autocast("cpu", self.autocast_type, self.autocast)
        saving = saved_tensors_hooks(*(self.saving or (_as_it_is, _as_it_is)))
        with torch.set_grad_enabled(self.gradients), autocast, saving:
            yield


def _as_it_is(saved: Any) -> Any:
    return saved


class Call:
    """One call of a net."""

    def __init__(self, net: Net) -> None:
        """Begin a call."""
        self.net, self.mode, self.is_over = net, Mode.now(), False
        self.noted = list[weakref.ref[Node]]()
        self._uses = dict[nn.Module, weakref.ref[Node]]()  # the last one of each layer whose order matters

    @property
    def takes_notes(self) -> bool:
        """Whether layers may be computed later."""
        return not self.is_over and Mode.now() == self.mode

    def settle(self) -> None:
        """Compute what a forward may look at, before what it is made of changes."""
        for node in filter(None, (ref() for ref in reversed(self.noted))):
            if node.is_held:
                node.value()
        self.noted.clear()

    def in_order(self, layers: Layers, use: "Node | None" = None) -> None:
        """See that layers that leave something behind are used in the forward's order.

        Args:
            layers: They are used now.
            use: What will be computed by them later; none where they are computed now.
        """
        for layer in self.net.leave_something(layers):
            last = self._uses.pop(layer)() if layer in self._uses else None
            if last is not None:
                last.settle()
            if use is not None:
                self._uses[layer] = weakref.ref(use)


@dataclass(eq=False)
class Node:
    """What layers make of another node; or a tensor, once it is known."""

    call: Call
    known: Tensor | None = None
    source: "Node | None" = None
    layers: Layers = ()
    followers: list["weakref.ref[Node]"] = field(default_factory=list)
    holder: "weakref.ref[Deferred] | None" = None  # by which a forward may look at it
    was_skipped: bool = False

    def then(self, layers: Layers) -> "Node":
        """Note layers behind this node."""
        follower = Node(self.call, source=self, layers=layers)
        self.followers.append(weakref.ref(follower))
        self.call.noted.append(weakref.ref(follower))
        self.call.in_order(layers, follower)
        return follower

    def value(self) -> Tensor:
        """The tensor, computed if it is not known."""
        if self.known is not None:
            return self.known
        path, net = self.path(), self.call.net
        if self.was_skipped:
            net.kept.add(path)
        source, layers = self._source(), self.layers
        while source.known is None and source.can_be_skipped():
            source.was_skipped = True
            source, layers = source._source(), source.layers + layers
        x = source.value()
        with self.call.mode.again():
            self.known = net.compute(layers, x)
        self.source = None
        return self.known

    def _source(self) -> "Node":
        assert self.source is not None, "a node that is not known has a source"
        return self.source

    @property
    def is_held(self) -> bool:
        """Whether a forward may look at it."""
        return self.holder is not None and self.holder() is not None

    def can_be_skipped(self) -> bool:
        """Whether layers behind this node may be computed with it in one go."""
        net, path = self.call.net, self.path()
        # What a forward may still look at can be computed once more, but not what leaves something behind.
        may_come_again = path not in net.kept and not net.leave_something(path[1])
        return len(self.followers) == 1 and (may_come_again or not self.is_held)

    def path(self) -> Path:
        """The shape of the last known tensor, and the layers since."""
        if self.known is not None:
            return self.known.shape, ()
        shape, layers = self._source().path()
        return shape, layers + self.layers

    def shape(self) -> torch.Size:
        """The tensor's, which is computed only where its layers do not say it."""
        known = None if self.known is not None else self.call.net.shape_after(self.path())
        return self.value().shape if known is None else known

    def settle(self) -> None:
        """Compute all that is made of this node."""
        alive = [follower for follower in (ref() for ref in self.followers) if follower is not None]
        for follower in alive:
            follower.settle()
        if not alive:
            self.value()


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
    if isinstance(result, Iterator):  # over a tensor
        return iter([_again_deferred(part, given) for part in result])
    if not isinstance(result, Tensor):
        return result
    same = next((x for x in given if x.node.known is result), None)
    if same is not None or not given[0].node.call.takes_notes or not result.dim():
        return result if same is None else same
    return Deferred.of(Node(given[0].node.call, result))
