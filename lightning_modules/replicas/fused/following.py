"""Nets whose own forward calls layers one by one, ``F.relu(self.conv(x))``, get the loops too.

`follow` puts a forward in front of the net's own, which gives it `Deferred` tensors, and one in front of each
layer that the loops know, which notes the layer. The net's own forward runs in every call: nothing of it is
skipped or remembered.
"""

import copy
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook
from torch.utils._pytree import tree_map_only

from lightning_modules.replicas.dropout import Dropout
from lightning_modules.replicas.fused.deferred import Deferred
from lightning_modules.replicas.fused.functions import Layers
from lightning_modules.replicas.fused.notes import Call, Habit, Habits, Node, Path
from lightning_modules.replicas.fused.sequential import OwnForward, Sequential, is_traced, is_watched
from lightning_modules.replicas.fused.support import obstacle
from lightning_modules.replicas.layers import Linear

if obstacle() is None:
    from lightning_modules.replicas.fused import steps
    from lightning_modules.replicas.fused.pooled_convolution import Convolution
    from lightning_modules.replicas.fused.unpooled_convolution import Unpooled

# Other layers without tensors call functions of torch, which are followed by themselves.
NOTED = (nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d, Linear, Dropout, Sequential)
MOST = 1000  # notes of a net; a forward whose layers change from call to call would take more and more


class _NotingForward(OwnForward):
    """Notes a layer that a forward calls."""

    def __init__(self, layer: nn.Module, followed: "FollowedForward") -> None:
        self.layer, self.followed = layer, followed

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        layer, call = self.layer, self.followed.call
        if call is not None:
            if not (kwargs or is_watched(layer)) and len(args) == 1 and isinstance(args[0], Tensor):
                x = args[0] if isinstance(args[0], Deferred) else Deferred.of(Node(call, args[0]))
                is_idle = isinstance(layer, Dropout) and not layer.training  # and gives the tensor itself
                return x if is_idle else x.then((layer,))
            call.in_order((layer,))
        return type(layer).forward(layer, *args, **kwargs)


class _Running(threading.local):
    """What runs in a thread."""

    call: Call | None = None  # while the net's own forward runs


class FollowedForward(OwnForward):
    """The forward of a whole net, and what is known of the net from call to call."""

    def __init__(self, net: nn.Module) -> None:
        """Follow a net."""
        self.net, self.habits = net, Habits()
        self._forget()

    @property
    def call(self) -> Call | None:
        """The call that runs in this thread."""
        return self._running.call

    def _forget(self) -> None:
        self._running = _Running()
        self._names: dict[nn.Module, str] = {}
        self._shapes = dict[Path, torch.Size]()
        self._chains = dict[Layers, Sequential | None]()
        self._gains = True  # as far as is known

    def __getstate__(self) -> dict[str, Any]:
        """What a copy needs."""
        return {"net": self.net, "engine": self.engine, "layout": self.layout, "habits": self.habits}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Begin as a copy."""
        vars(self).update(state)
        self._forget()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the net's own forward with tensors whose layers are noted."""
        own, parameter = type(self.net).forward, next(self.net.parameters(), None)
        on_cpu = parameter is not None and parameter.device.type == "cpu"
        is_followed = self.call is not None  # a net that calls itself
        gains = self._gains and self.engine != "torch"
        if is_followed or not gains or is_traced() or not on_cpu or self._is_watched():
            return own(self.net, *args, **kwargs)
        if len(self._chains) + len(self._shapes) > MOST:
            self.habits = Habits()
            self._forget()
        self._running.call = call = Call(self)
        args, kwargs = tree_map_only(Tensor, lambda x: Deferred.of(Node(call, x)), (args, kwargs))
        try:
            outputs = tree_map_only(Deferred, Deferred.value, own(self.net, *args, **kwargs))
            call.end()
            self._gains = any(map(bool, self._chains.values()))
            return outputs
        finally:
            call.is_over, self._running.call = True, None

    def _is_watched(self) -> bool:
        """Whether hooks would see layers that stand for functions, or lose gradients of deferred tensors."""
        hooks = ((module._backward_hooks, module._backward_pre_hooks) for module in self.net.modules())
        return _has_any_global_hook() or any(map(any, hooks))

    def compute(self, layers: Layers, x: Tensor) -> Tensor:
        """Apply layers, by the loops where one of them is for them."""
        if layers not in self._chains:
            self._chains[layers] = Sequential(*layers) if _is_worth_a_layout(layers) else None
        together = self._chains[layers]
        with self._not_called():
            if together is not None:
                together.engine, together.layout = self.engine, self.layout
                return together.in_one_go(x)
            for layer in layers:
                x = layer(x)
            return x

    @contextmanager
    def _not_called(self) -> Iterator[None]:
        """Layers that are called now are not called by the forward."""
        call, self._running.call = self.call, None
        try:
            yield
        finally:
            self._running.call = call

    def shape_after(self, path: Path) -> torch.Size | None:
        """The shape that layers give, by torch's operations on tensors without numbers; none if unknown."""
        if path not in self._shapes:
            shape, layers = path
            x = torch.empty(shape, device="meta")
            for layer in _leaves(layers):
                if type(layer) not in steps.KNOWN:
                    return None
                if not isinstance(layer, steps.NORMS_AND_DROPOUT):  # which keep it
                    try:
                        x = _without_numbers(layer, x)
                    except RuntimeError:  # torch says better what is wrong where there are numbers
                        return None
            self._shapes[path] = x.shape
        return self._shapes[path]

    def habit(self, path: Path) -> Habit:
        """A path in words that hold in copies of the net, and for batches of other sizes."""
        self._names = self._names or {module: name for name, module in self.net.named_modules()}
        shape, layers = path
        return shape[1:], tuple(self._names.get(layer) or repr(layer) for layer in layers)

    def leave_something(self, layers: Layers) -> Layers:
        """Those of layers, and of layers in them, that would not give the same once more."""
        return tuple(layer for layer in _leaves(layers) if not steps.is_of_samples(layer))


@torch.no_grad()
def _without_numbers(layer: nn.Module, x: Tensor) -> Tensor:
    bare = copy.copy(layer)  # other threads may use the layer itself
    for name in ("_parameters", "_buffers"):
        tensors = {
            own: value if value is None else value.to("meta") for own, value in vars(layer)[name].items()
        }
        setattr(bare, name, tensors)
    y: Tensor = type(layer).forward(bare, x)
    return y


def _leaves(layers: Layers) -> Layers:
    return tuple(chain.from_iterable(x.leaves() if isinstance(x, Sequential) else [x] for x in layers))


def _is_worth_a_layout(layers: Layers) -> bool:
    """Whether the loops save more than it takes to lay replicas apart, and images side by side again."""
    leaves = _leaves(layers)
    found = steps.find_steps(list(leaves))
    ends_flat = any(isinstance(layer, nn.Flatten | Linear) for layer in leaves)
    first = next((step for step in found if type(step) not in steps.ANYWHERE), None)
    is_pooled = any(isinstance(step, Convolution) for step in found)
    return is_pooled or (ends_flat and isinstance(first, Unpooled))


def follow(net: nn.Module) -> None:
    """Let a net with convolutions compute by the loops, whatever its own forward is like.

    Args:
        net: With replicas side by side.
    """
    layers = [module for module in net.modules() if type(module) in NOTED]
    if obstacle() is None and net not in layers and any(type(layer) is nn.Conv2d for layer in layers):
        followed = vars(net)["forward"] = FollowedForward(net)
        for layer in layers:
            vars(layer).setdefault("forward", _NotingForward(layer, followed))


def unfollow(net: nn.Module) -> bool:
    """Let a net compute by torch's operations, and say whether it did not."""
    followed = [module for module in net.modules() if isinstance(vars(module).get("forward"), OwnForward)]
    for module in followed:
        del vars(module)["forward"]
    return bool(followed)
