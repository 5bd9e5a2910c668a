"""What is noted while the own forward of a net runs: which layers are to be applied to what.

The tensors of a call are nodes of a graph. A node is known, or it is what layers make of another node.
"""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from lightning_modules.replicas.fused.functions import Layers

Saving = Callable[[Any], Any]
Path = tuple[torch.Size, Layers]  # a shape, and the layers that are applied to it
Habit = tuple[torch.Size, tuple[str, ...]]


@dataclass
class Habits:
    """What a net's forward does with what it has given a name; copies of the net share it."""

    passed_on: set[Habit] = field(default_factory=set)  # was only given to the next layers
    looked_at: set[Habit] = field(default_factory=set)  # was used by others too, or stored

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A copy has the same forward."""
        return self

    def learn(self, habit: Habit, is_looked_at: bool) -> None:
        """Note what was done with a result; once looked at, it stays so."""
        if is_looked_at:
            self.looked_at.add(habit)
        elif habit not in self.looked_at:
            self.passed_on.add(habit)

    def is_passed_on(self, habit: Habit) -> bool:
        """Whether a result was never looked at so far."""
        return habit in self.passed_on and habit not in self.looked_at


class Net(Protocol):
    """What a net knows from call to call."""

    habits: "Habits"

    def habit(self, path: Path) -> Habit:
        """A path in words that hold in copies of the net, and for batches of other sizes."""

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
        self.noted, self.kept = list[weakref.ref[Node]](), list[tuple[Node, Habit]]()
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

    def end(self) -> None:
        """Compute what the forward has stored, as weights may be others when it is looked at; and learn."""
        self.settle()
        for node, habit in self.kept:
            self.net.habits.learn(habit, node.is_looked_at or node.is_held)
        self.kept.clear()

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


def _version(x: Tensor | None) -> int | None:
    return None if x is None or x.is_inference() else x._version


def _modes(layers: Layers) -> tuple[bool, ...]:
    return tuple(layer.training for layer in layers)


@dataclass(eq=False)
class Node:
    """What layers make of another node; or a tensor, once it is known."""

    call: Call
    known: Tensor | None = None
    source: "Node | None" = None
    layers: Layers = ()
    followers: list["weakref.ref[Node]"] = field(default_factory=list)
    holder: "weakref.ref[Tensor] | None" = None  # by which a forward may look at it
    is_looked_at: bool = False  # by a function that is not noted
    # When it was noted:
    version: int | None = None  # of what the source knew, which changes in place count up
    modes: tuple[bool, ...] = ()  # whether each layer was in training

    def then(self, layers: Layers) -> "Node":
        """Note layers behind this node."""
        version, modes = _version(self.known), _modes(layers)
        follower = Node(self.call, source=self, layers=layers, version=version, modes=modes)
        self.followers.append(weakref.ref(follower))
        self.call.noted.append(weakref.ref(follower))
        self.call.in_order(layers, follower)
        return follower

    def value(self) -> Tensor:
        """The tensor, computed if it is not known."""
        if self.known is not None:
            return self.known
        node, layers, modes = self, self.layers, self.modes
        while (source := node._source()).known is None and source.can_be_skipped():
            node, layers, modes = source, source.layers + layers, source.modes + modes
        if node.version not in (None, _version(source.known)) or modes != _modes(layers):
            raise RuntimeError(
                "a tensor or a layer was changed, unseen, after the layer was called with it;"
                " set Replicas.is_followed = False before the net is replicated"
            )
        x = source.value()
        with self.call.mode.again():
            self.known = self.call.net.compute(layers, x)
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
        if len(self.followers) > 1:
            return False
        if not self.is_held:
            return True
        net, path = self.call.net, self.path()
        habit = net.habit(path)
        self.call.kept.append((self, habit))
        # If it is looked at after all it is computed once more, which some layers cannot be.
        return net.habits.is_passed_on(habit) and not net.leave_something(path[1])

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
