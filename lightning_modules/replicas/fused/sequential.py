"""A Sequential that runs pooling, ReLU, batch normalisation and dropout together where that is faster.

The layers stay what they are, one by one, with their names, parameters and meaning; `Sequential` only
recognises the runs ``Conv2d, MaxPool2d(2), ReLU, BatchNorm2d, Dropout`` and ``ReLU, BatchNorm1d, Dropout``,
and a ``MaxPool2d(2)`` elsewhere, and, on a CPU, computes all but the convolution by the loops of kernels.py,
forward and backward. Whatever it does not know (a subclass, a hook, in several calls a layer that may mix
samples) is left to torch, so that both engines compute the same.
"""

from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.module import _has_any_global_hook

from lightning_modules.command.plain import plain
from lightning_modules.replicas.fused import kernels
from lightning_modules.replicas.layers import Dropout, Linear, Standardise, channels_last

if TYPE_CHECKING:
    from collections.abc import Callable

Engine = Literal["auto", "fused", "torch"]  # auto: fused on a CPU, torch's own operations elsewhere
Layout = Literal["auto", "channels_last", "contiguous"]  # of images; auto: channels_last on a CPU
Norm = nn.BatchNorm1d | nn.BatchNorm2d


@dataclass(frozen=True)
class Block:
    """Layers that are computed together."""

    conv: nn.Conv2d | None  # with it comes a pooling
    norm: Norm
    dropout: Dropout

    def __call__(self, x: Tensor, calls: int) -> Tensor:
        """Compute them.

        Args:
            x: (calls * N, R * F) or (calls * N, R * F, H, W).
            calls: Batches that are normalised apart, one after the other.
        """
        if self.conv is not None:
            x = self.conv._conv_forward(x, self.conv.weight, None)
        self.norm._check_input_dim(x)
        dtype = x.dtype  # half under autocast: so is then what comes out, and all between is float32
        x = (x.float() if dtype == torch.float16 else x).movedim(1, -1)  # (calls * N, [H, W,] R * F)
        if self.conv is not None:
            x = max_pool(x, self.conv.bias)
        x = normalise(x, self.norm.weight, self.norm.bias, self.norm, self.dropout, calls, dtype)
        return x.movedim(-1, 1)


@dataclass(frozen=True)
class Pool:
    """A 2x2 pooling by itself."""

    def __call__(self, x: Tensor, calls: int) -> Tensor:
        """Compute it.

        Args:
            x: (calls * N, R * F, H, W).
            calls: Of no account here.
        """
        dtype = x.dtype
        x = (x.float() if dtype == torch.float16 else x).movedim(1, -1)  # (calls * N, H, W, R * F)
        nothing = torch.zeros(x.shape[-1], dtype=torch.float64 if dtype == torch.float64 else torch.float32)
        return max_pool(x, nothing).movedim(-1, 1).to(dtype)


class Sequential(nn.Sequential):
    """torch's, but for how it computes."""

    engine: Engine = "auto"
    layout: Layout = "auto"

    @property
    def steps(self) -> list[nn.Module | Block | Pool]:
        """The layers, those that are computed together in one."""
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
        fitting = not types - {x.dtype} or x.dtype in (torch.bfloat16, torch.float16)  # half: under autocast
        return able and fitting and not tracing and not watched


def _is_watched(layer: nn.Module) -> bool:
    hooks = (layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks, layer._backward_pre_hooks)
    return any(hooks) or "forward" in vars(layer)


# Layers whose class says all about them; a subclass may compute anything.
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
        engine: By which operations.
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


class MaxPool(torch.autograd.Function):
    """2x2 maxima of (N, H, W, C), plus a bias (C,)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor) -> Tensor:
        """Pool; remember where the maxima were."""
        ctx.shape, ctx.dtype = x.shape, x.dtype
        n, h, w, c = x.shape
        out = bias.new_empty(n, h // 2, w // 2, c)
        ctx.which = np.empty(out.shape, np.uint8)
        kernels.max_pool(array(x), array(bias), array(out), ctx.which)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        """Hand the slope to the maxima."""
        odd = ctx.shape[1] % 2 or ctx.shape[2] % 2
        out = (grad.new_zeros if odd else grad.new_empty)(ctx.shape, dtype=ctx.dtype)
        d_bias = grad.new_empty(ctx.shape[-1])
        kernels.max_unpool(array(grad), ctx.which, array(out), array(d_bias))
        return out, d_bias


class Normalise(torch.autograd.Function):
    """Dropout(BatchNorm(ReLU(x))) of (calls * N, ..., R * F)."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        norm: Norm,
        dropout: Dropout,
        calls: int,
        dtype: torch.dtype,
    ) -> Tensor:
        """Normalise by the batch's statistics, and keep them, in training; by those kept in evaluation."""
        out = x.new_empty(x.shape, dtype=torch.float32 if dtype == torch.float16 else dtype)
        values = array(x).reshape(calls, -1, dropout.replicas, x.shape[-1] // dropout.replicas)
        mean, inverse = _statistics(values, norm)
        draw = dropout.next_draw(calls)
        gain = mean.dtype.type(draw.gain)
        scale = inverse * (array(weight) * gain).reshape(mean.shape[1:])
        shift = (array(bias) * gain).reshape(mean.shape[1:]) - mean * scale
        stream = (draw.keys, draw.call, draw.threshold)
        kernels.normalise(values, scale, shift, *stream, array(out).reshape(values.shape))
        count = mean.dtype.type(values.shape[1] if norm.training else np.inf)
        ctx.arguments = (values, mean, inverse, scale, *stream, count)
        ctx.gain, ctx.dtype = gain, x.dtype
        return out.to(dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Differentiate, also through the batch's statistics where they are its own."""
        values, mean = ctx.arguments[:2]
        grad = grad.float() if grad.dtype == torch.float16 else grad
        out = grad.new_empty(grad.shape, dtype=ctx.dtype)
        sums, products = np.zeros((2, *mean.shape), mean.dtype)
        slope, result = (array(tensor).reshape(values.shape) for tensor in (grad, out))
        arguments = (slope, *ctx.arguments, result, sums, products)
        kernels.normalise_backward(*arguments)
        d_weight, d_bias = (torch.from_numpy(ctx.gain * s.sum(0).ravel()) for s in (products, sums))
        return out, d_weight, d_bias, None, None, None, None


# torch.autograd.Function.apply has no annotations.
max_pool = cast("Callable[..., Tensor]", MaxPool.apply)
normalise = cast("Callable[..., Tensor]", Normalise.apply)


def array(x: Tensor) -> NDArray[Any]:
    """The memory of a tensor, contiguous; the 16 bits of a bfloat16, which numpy has not, as an integer."""
    x = x.detach().contiguous()
    return (x.view(torch.uint16) if x.dtype == torch.bfloat16 else x).numpy()


def _statistics(x: NDArray[Any], norm: Norm) -> tuple[NDArray[Any], NDArray[Any]]:
    """Mean of ReLU(x) and one over its deviation, (calls, R, F); in training the running ones are moved."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    assert norm.momentum is not None
    shape = (len(x), *x.shape[2:])
    if norm.num_features != shape[1] * shape[2]:
        raise ValueError(f"BatchNorm has {norm.num_features} features, its input {shape[1] * shape[2]}")
    if norm.training and x.shape[1] < 2:
        raise ValueError("BatchNorm needs more than 1 value per channel when training")
    if not (norm.running_mean.is_contiguous() and norm.running_var.is_contiguous()):
        raise ValueError("BatchNorm's running statistics must be contiguous: they are changed in place")
    running = array(norm.running_mean), array(norm.running_var)
    if not norm.training:
        inverse = 1 / np.sqrt(running[1] + running[1].dtype.type(norm.eps))
        return np.tile(running[0], len(x)).reshape(shape), np.tile(inverse, len(x)).reshape(shape)
    mean, inverse = np.empty((2, len(x), norm.num_features), running[0].dtype)
    flat = x.reshape(*x.shape[:2], -1)
    kernels.statistics(flat, norm.eps, mean, inverse, *running, norm.momentum)
    norm.num_batches_tracked.add_(len(x))
    return mean.reshape(shape), inverse.reshape(shape)
