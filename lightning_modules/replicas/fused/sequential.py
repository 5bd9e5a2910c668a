"""A Sequential that fuses the layers of a CNN on a CPU, in the paper's order and in others.

It recognises ``Conv2d, MaxPool2d(2)``, also with a ReLU, LeakyReLU, Tanh or Sigmoid in between, ``Conv2d``
alone and ``ReLU, BatchNorm, ReLU, Dropout``, of which all but the BatchNorm may be missing, and computes each
of them in one pass over memory, forward and backward, by the loops of this package; further `Linear` and a
``MaxPool2d(2)`` elsewhere. Between them replicas lie apart in memory. The layers keep their names, parameters
and meaning. All else (a subclass, a layer with a hook, in several calls a layer that may mix samples) is left
to torch. Both engines compute the same.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from lightning_modules.command.options import Engine as Engine
from lightning_modules.command.options import Layout as Layout
from lightning_modules.command.plain import plain
from lightning_modules.replicas.fused.deferred import Deferred
from lightning_modules.replicas.fused.support import obstacle
from lightning_modules.replicas.layers import channels_last

if obstacle() is None:
    from lightning_modules.replicas.fused import steps


class OwnForward:
    """A forward of this package in place of a layer's own, which computes the same."""

    engine: Engine = "auto"
    layout: Layout = "auto"


class Sequential(nn.Sequential):
    """torch's Sequential with a choice of how it computes, and several calls in one."""

    engine: Engine = "auto"
    layout: Layout = "auto"

    def forward(self, input: Tensor, calls: int = 1) -> Tensor:  # noqa: A002  # as torch calls it
        """Apply the layers.

        Args:
            input: (calls * N, R * F, ...).
            calls: How often to call the layers, each time with the next N samples. It is not the same as one
                call: batch normalisation sees each N apart.

        Returns:
            (calls * N, R * F').
        """
        if not isinstance(input, Tensor):  # but several, for layers of one's own
            several: Tensor = nn.Sequential.forward(self, input)
            return several
        x = input.value() if isinstance(input, Deferred) else input
        y = self.in_one_go(x, calls)
        # Channels lie last in it, but what a forward views as rows must be as torch's layers would leave it.
        return y.contiguous() if y.dim() == 4 and x.is_contiguous() else y

    def in_one_go(self, x: Tensor, calls: int = 1) -> Tensor:
        """Apply the layers; the channels of images may lie last in memory then."""
        on_cpu = x.device.type == "cpu"
        if len(x) % calls:
            raise ValueError(f"{len(x)} samples cannot be divided into {calls} calls")
        if self._is_fused(x, on_cpu):
            found = steps.find_steps(list(self.leaves()))
            if calls == 1 or all(map(steps.is_of_samples, found)):
                return steps.compute(found, x, calls)
        if x.dim() == 4 and (self.layout == "channels_last" or (self.layout == "auto" and on_cpu)):
            x = channels_last(x)
        if calls == 1:
            return super().forward(x)  # type: ignore[no-untyped-call]
        return torch.cat([nn.Sequential.forward(self, part) for part in x.chunk(calls)])  # type: ignore[no-untyped-call]

    def leaves(self) -> Iterator[nn.Module]:
        """The layers, those of sequences within too, between which replicas need not lie side by side."""
        for layer in self:
            if type(layer) is Sequential and self._computes_as(layer) and not is_watched(layer):
                yield from layer.leaves()
            else:
                yield layer

    def _computes_as(self, other: "Sequential") -> bool:
        return (self.engine, self.layout) == (other.engine, other.layout)

    def _is_fused(self, x: Tensor, on_cpu: bool) -> bool:
        if self.engine == "torch" or is_traced():
            return False
        types, known = {p.dtype for p in self.parameters()}, {torch.float32, torch.float64}
        able = on_cpu and types <= known
        if self.engine == "fused" and not able:
            raise ValueError("engine fused computes on a CPU, with weights in float32 or float64; take torch")
        if self.engine == "fused" and obstacle():
            raise ValueError(f"engine fused cannot be used here, because {obstacle()}; take torch")
        watched = _has_any_global_hook() or any(map(is_watched, self.leaves()))
        autocast = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None
        fitting = types <= {x.dtype} <= known or x.dtype == autocast == torch.bfloat16
        fitting &= autocast in (None, torch.bfloat16)  # the loops know no float16
        fitting &= len(x) > 0  # of no samples the loops would not even write that their gradient is 0
        return able and not obstacle() and fitting and not watched


def is_traced() -> bool:
    """Whether torch looks at operations, which must be its own then; both engines compute the same."""
    tracing = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return tracing or torch._C._are_functorch_transforms_active()


def is_watched(layer: nn.Module) -> bool:
    """Whether a layer may compute something else than its class, or somebody looks at what it computes."""
    hooks = (layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks, layer._backward_pre_hooks)
    return any(hooks) or not isinstance(vars(layer).get("forward", OwnForward()), OwnForward)


def set_engine(network: nn.Module, engine: Engine, layout: Layout = "auto") -> None:
    """Choose how a network computes.

    Args:
        network: Every `Sequential` in it is set, and every net whose own forward is followed.
        engine: `fused`, `torch`, or `auto`: fused on a CPU.
        layout: How images lie in memory.

    Raises:
        ValueError: There is no such engine or layout.
    """
    engine, layout = plain("engine", engine, Engine), plain("layout", layout, Layout)
    for module in network.modules():
        for chooser in (module, vars(module).get("forward")):
            if isinstance(chooser, Sequential | OwnForward):
                chooser.engine, chooser.layout = engine, layout
