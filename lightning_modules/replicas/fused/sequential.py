"""A Sequential that fuses pooling, ReLU, batch normalisation and dropout, in the paper's order of layers.

It recognises the runs ``Conv2d, MaxPool2d(2), ReLU, BatchNorm2d, Dropout`` and ``ReLU, BatchNorm1d,
Dropout``, and a ``MaxPool2d(2)`` elsewhere. On a CPU it computes all of a run but the convolution by the
loops of kernels.py, forward and backward. The layers keep their names, parameters and meaning. All else (a
subclass, a layer with a hook, in several calls a layer that may mix samples) is left to torch. Both engines
compute the same.
"""

from dataclasses import dataclass
from itertools import takewhile

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from lightning_modules.command.options import Engine as Engine
from lightning_modules.command.options import Layout as Layout
from lightning_modules.command.plain import plain
from lightning_modules.replicas.dropout import Dropout
from lightning_modules.replicas.fused.functions import Norm, max_pool, normalise
from lightning_modules.replicas.layers import Linear, Standardise, channels_last


@dataclass(frozen=True)
class Block:
    """A run of layers that is computed at once."""

    conv: nn.Conv2d | None  # with it comes a pooling
    norm: Norm
    dropout: Dropout

    def __call__(self, x: Tensor, calls: int) -> Tensor:
        """Compute the run.

        Args:
            x: (calls * N, R * F) or (calls * N, R * F, H, W).
            calls: Batches that are normalised apart, one after the other.
        """
        if self.conv is not None:
            x = self.conv._conv_forward(x, self.conv.weight, None)
        self.norm._check_input_dim(x)
        dtype = x.dtype  # bfloat16 under autocast: so is then the output, and all between is float32
        x = x.movedim(1, -1)  # (calls * N, [H, W,] R * F)
        if self.conv is not None:
            x = max_pool(x, self.conv.bias)
        x = normalise(x, self.norm.weight, self.norm.bias, self.norm, self.dropout, calls, dtype)
        return x.movedim(-1, 1)


@dataclass(frozen=True)
class Pool:
    """A 2x2 pooling outside of a run."""

    def __call__(self, x: Tensor, calls: int) -> Tensor:
        """Pool (calls * N, R * F, H, W); the number of calls does not matter."""
        nothing = torch.zeros(x.shape[1], dtype=torch.promote_types(x.dtype, torch.float32))
        return (
            max_pool(x.movedim(1, -1), nothing).movedim(-1, 1).to(x.dtype)
        )  # inside: (calls * N, H, W, R * F)


class Sequential(nn.Sequential):
    """torch's Sequential with a choice of how it computes, and several calls in one."""

    engine: Engine = "auto"
    layout: Layout = "auto"

    @property
    def steps(self) -> list[nn.Module | Block | Pool]:
        """The layers, each run of them as one step."""
        return _blocks(list(self))

    def forward(self, x: Tensor, calls: int = 1) -> Tensor:
        """Apply the layers.

        Args:
            x: (calls * N, R * F, ...).
            calls: How often to call the layers, each time with the next N samples. It is not the same as one
                call: batch normalisation sees each N apart.

        Returns:
            (calls * N, R * F').
        """
        on_cpu = x.device.type == "cpu"
        if x.dim() == 4 and (self.layout == "channels_last" or (self.layout == "auto" and on_cpu)):
            x = channels_last(x)
        if len(x) % calls:
            raise ValueError(f"{len(x)} samples cannot be divided into {calls} calls")
        steps = self.steps
        if self._is_fused(x, on_cpu) and (calls == 1 or all(map(_is_of_samples, steps))):
            for step in steps:
                x = step(x, calls) if isinstance(step, Block | Pool) else step(x)
            return x
        parts = [nn.Sequential.forward(self, part) for part in x.chunk(calls)]  # type: ignore[no-untyped-call]
        return torch.cat(parts) if calls > 1 else parts[0]

    def _is_fused(self, x: Tensor, on_cpu: bool) -> bool:
        if self.engine == "torch":
            return False
        types = {p.dtype for p in self.parameters()}
        able = on_cpu and types <= {torch.float32, torch.float64}
        if self.engine == "fused" and not able:
            raise ValueError("engine fused computes on a CPU, with weights in float32 or float64; take torch")
        # A trace must see torch's operations, and a hook every layer; both engines compute the same.
        tracing = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        watched = _has_any_global_hook() or any(_is_watched(layer) for layer in self)
        fitting = not types - {x.dtype} or x.dtype == torch.bfloat16  # the latter under autocast
        # The loops know no float16, to which torch can autocast too.
        fitting &= not torch.is_autocast_enabled("cpu") or torch.get_autocast_dtype("cpu") == torch.bfloat16
        return able and fitting and not tracing and not watched


def _is_watched(layer: nn.Module) -> bool:
    hooks = (layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks, layer._backward_pre_hooks)
    return any(hooks) or "forward" in vars(layer)


# Layers whose class says what they compute; a subclass may compute anything.
KNOWN = (
    nn.Conv2d,
    nn.MaxPool2d,
    nn.AdaptiveAvgPool2d,
    nn.ReLU,
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.Flatten,
    nn.Identity,
    nn.Linear,
    Dropout,
    Linear,
    Standardise,
)
NORMS_AND_DROPOUT = (nn.BatchNorm1d, nn.BatchNorm2d, Dropout)


def _is_of_samples(step: "nn.Module | Block | Pool") -> bool:
    """Whether a step may be given the samples of several calls at once."""
    if isinstance(step, Block | Pool):
        return True
    if isinstance(step, nn.Flatten) and step.start_dim != 1:
        return False
    return type(step) in KNOWN and not isinstance(step, NORMS_AND_DROPOUT)


def set_engine(network: nn.Module, engine: Engine, layout: Layout = "auto") -> None:
    """Choose how a network computes.

    Args:
        network: Every `Sequential` in it is set.
        engine: `fused`, `torch`, or `auto`: fused on a CPU.
        layout: How images lie in memory.

    Raises:
        ValueError: There is no such engine or layout.
    """
    engine, layout = plain("engine", engine, Engine), plain("layout", layout, Layout)
    for module in network.modules():
        if isinstance(module, Sequential):
            module.engine, module.layout = engine, layout


def _blocks(layers: list[nn.Module]) -> list[nn.Module | Block | Pool]:
    if layers and type(layers[0]) not in KNOWN:
        return [layers[0], *_blocks(layers[1:])]
    known = list(takewhile(lambda layer: type(layer) in KNOWN, layers))
    match known:
        case [
            nn.Conv2d(bias=Tensor()) as conv,
            nn.MaxPool2d(
                kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False, return_indices=False
            ),
            nn.ReLU(inplace=False),
            nn.BatchNorm2d(affine=True, track_running_stats=True, momentum=float()) as norm,
            Dropout() as dropout,
            *_,
        ]:
            return [Block(conv, norm, dropout), *_blocks(layers[5:])]
        case [
            nn.ReLU(inplace=False),
            nn.BatchNorm1d(affine=True, track_running_stats=True, momentum=float()) as norm,
            Dropout() as dropout,
            *_,
        ]:
            return [Block(None, norm, dropout), *_blocks(layers[3:])]
        case [
            nn.MaxPool2d(
                kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False, return_indices=False
            ),
            *_,
        ]:
            return [Pool(), *_blocks(layers[1:])]
    return [layers[0], *_blocks(layers[1:])] if layers else []
