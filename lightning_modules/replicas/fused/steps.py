"""The steps that a network's layers are computed by: runs of layers that the loops know, and single layers.

Replicas lie apart in memory, (R, N, [H, W,] F), where a step says so, else side by side as layers have them,
(N, R * F, [H, W]).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor, nn

from lightning_modules.replicas import products
from lightning_modules.replicas.dropout import Dropout
from lightning_modules.replicas.fused import functions
from lightning_modules.replicas.fused.pooling import max_pool
from lightning_modules.replicas.layers import Linear, Standardise, channels_last
from lightning_modules.replicas.one_batch import OneBatch

FEW = 8  # channels below this are read one by one, as images have them


class Fused(ABC):
    """A run of layers that the loops compute."""

    @property
    @abstractmethod
    def replicas(self) -> int:
        """How many lie apart in memory; 0: as many as in what it is given."""

    @abstractmethod
    def __call__(self, x: Tensor, calls: int) -> Tensor:
        """Compute the run.

        Args:
            x: (R, calls * N, [H, W,] F).
            calls: Batches that are normalised apart, one after the other.
        """

    @abstractmethod
    def takes(self, x: Tensor, replicas: int) -> bool:
        """Whether a loop is for this x, of so many replicas that lie apart; 0: they lie side by side."""

    def reads(self, x: Tensor) -> bool:
        """Whether replicas are taken as they are, side by side."""
        return False

    @abstractmethod
    def by_torch(self, x: Tensor, calls: int) -> Tensor:
        """Compute (calls * N, R * F, ...), which a loop is not for."""


@dataclass(frozen=True)
class Convolution(Fused):
    """A convolution and the pooling after it, in the weights' own precision."""

    conv: nn.Conv2d

    @property
    def replicas(self) -> int:
        return self.conv.groups

    def reads(self, x: Tensor) -> bool:
        return self.conv.weight.shape[1] < FEW and not x.requires_grad

    def takes(self, x: Tensor, replicas: int) -> bool:
        conv, (side, _) = self.conv, self.conv.kernel_size
        known = side == 3 or (side % 2 == 1 and side > 3 and not replicas and self.reads(x))
        # Worth it where the output's channels fill a quarter of a row.
        wide = 4 * conv.out_channels // conv.groups >= functions.lanes(conv.weight)
        return known and wide and _fits(conv, x, replicas, side + 1)

    def by_torch(self, x: Tensor, calls: int) -> Tensor:
        return Pool()(self.conv(x))

    def __call__(self, x: Tensor, calls: int) -> Tensor:
        conv, planar = self.conv, x.dim() == 4
        x = (x.unflatten(1, (conv.groups, -1)) if planar else x).to(conv.weight.dtype)
        return functions.convolve_and_pool(x, conv.weight, conv.bias, int(conv.padding[0]), planar)


@dataclass(frozen=True)
class Unpooled(Fused):
    """A convolution that no pooling follows, in the weights' own precision."""

    conv: nn.Conv2d

    @property
    def replicas(self) -> int:
        return self.conv.groups

    def takes(self, x: Tensor, replicas: int) -> bool:
        conv = self.conv
        # Worth it where channels fill a quarter of a row.
        fewest = min(conv.weight.shape[1], conv.out_channels // conv.groups)
        wide = 4 * fewest >= functions.lanes(conv.weight)
        return wide and _fits(conv, x, replicas, conv.kernel_size[0])

    def by_torch(self, x: Tensor, calls: int) -> Tensor:
        return self.conv(x)

    def __call__(self, x: Tensor, calls: int) -> Tensor:
        conv = self.conv
        return functions.convolve(x.to(conv.weight.dtype), conv.weight, conv.bias, int(conv.padding[0]))


@dataclass(frozen=True)
class Block(Fused):
    """A batch normalisation with a ReLU before or after it, and a dropout, in the weights' own precision."""

    layers: functions.Layers

    @property
    def replicas(self) -> int:
        return self.layers.dropout.replicas if self.layers.dropout else 0

    def takes(self, x: Tensor, replicas: int) -> bool:
        return bool(replicas or self.replicas)

    def by_torch(self, x: Tensor, calls: int) -> Tensor:
        norm, _, relu_before, relu_after = self.layers
        parts = [norm(part.relu() if relu_before else part) for part in x.chunk(calls)]
        y = torch.cat(parts) if calls > 1 else parts[0]
        return y.relu() if relu_after else y

    def __call__(self, x: Tensor, calls: int) -> Tensor:
        norm = self.layers.norm
        norm._check_input_dim(x[0])
        return functions.normalise_and_drop(x.to(norm.weight.dtype), self.layers, calls)


@dataclass(frozen=True)
class Product(Fused):
    """A linear layer for each replica; under autocast in bfloat16, but for logits."""

    layer: Linear

    @property
    def replicas(self) -> int:
        return self.layer.replicas

    def takes(self, x: Tensor, replicas: int) -> bool:
        return x.dim() == (3 if replicas else 2)

    def reads(self, x: Tensor) -> bool:
        return isinstance(x, OneBatch) and x.is_one

    def by_torch(self, x: Tensor, calls: int) -> Tensor:
        return self.layer(x)

    def __call__(self, x: Tensor, calls: int) -> Tensor:
        weight, bias = self.layer.weight, self.layer.bias
        if isinstance(x, OneBatch):
            return products.multiply_one(x.one, weight, bias, self.replicas)
        if products.are_samples_next(x) and not torch.is_autocast_enabled("cpu"):
            return products.multiply(x, weight, bias)
        if not torch.is_autocast_enabled("cpu"):
            return functions.multiply(x, weight, bias)
        dtype = weight.dtype if self.layer.last else torch.bfloat16
        with torch.autocast("cpu", enabled=False):
            return functions.multiply(x.to(dtype), weight.to(dtype), bias if bias is None else bias.to(dtype))


@dataclass(frozen=True)
class Pool:
    """A 2x2 pooling elsewhere."""

    def __call__(self, x: Tensor) -> Tensor:
        """Pool (N, R * F, H, W)."""
        return max_pool(x.movedim(1, -1)).movedim(-1, 1)


Step = nn.Module | Fused | Pool

# Layers whose class says what they compute; a subclass may compute anything.
ANYWHERE = (  # each number by itself
    *(nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid),
    *(nn.Identity, Standardise),
)
NORMS_AND_DROPOUT = (nn.BatchNorm1d, nn.BatchNorm2d, Dropout)
KNOWN = (
    *(*ANYWHERE, *NORMS_AND_DROPOUT),
    *(nn.Conv2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.Flatten, nn.Linear, Linear),
)


def is_of_samples(step: Step) -> bool:
    """Whether a step may be given the samples of several calls at once."""
    if isinstance(step, Fused | Pool):
        return True
    if isinstance(step, nn.Flatten) and step.start_dim != 1:
        return False
    return type(step) in KNOWN and not isinstance(step, NORMS_AND_DROPOUT)


def find_steps(layers: list[nn.Module]) -> list[Step]:
    """The steps that compute layers, one after the other."""
    if not layers:
        return []
    known = list(takewhile(lambda layer: type(layer) in KNOWN, layers[:4]))
    step: Step
    block, count = find_block(known)
    if block:
        return [block, *find_steps(layers[count:])]
    match known:
        case [nn.Conv2d() as conv, nn.MaxPool2d() as pool, *_] if _is_plain(pool) and _is_dense(conv):
            step, count = Convolution(conv), 2
        case [nn.Conv2d() as conv, *_] if _is_dense(conv) and not isinstance((*known, None)[1], nn.MaxPool2d):
            step, count = Unpooled(conv), 1
        case [nn.MaxPool2d() as pool, *_] if _is_plain(pool):
            step, count = Pool(), 1
        case [Linear() as linear, *_]:
            step, count = Product(linear), 1
        case _:
            step, count = layers[0], 1
    return [step, *find_steps(layers[count:])]


def find_block(layers: list[nn.Module]) -> tuple[Block | None, int]:
    """The block that layers begin with, if they do, and how many it computes."""
    rest = list(layers)

    def taken(*kinds: type[nn.Module]) -> Any:
        """The next layer, where it is of such a class."""
        return rest.pop(0) if rest and isinstance(rest[0], kinds) else None

    before, norm = taken(nn.ReLU), taken(nn.BatchNorm1d, nn.BatchNorm2d)
    if norm is None or (before is not None and before.inplace):
        return None, 0
    if not (norm.affine and norm.track_running_stats and isinstance(norm.momentum, float)):
        return None, 0
    after, dropout = taken(nn.ReLU), taken(Dropout)
    block = Block(functions.Layers(norm, dropout, before is not None, after is not None))
    return block, len(layers) - len(rest)


def _fits(conv: nn.Conv2d, x: Tensor, replicas: int, smallest: int) -> bool:
    """Whether x has the channels of a convolution, and with its padding at least so many rows and columns."""
    shape = (x.shape[-1] * replicas, *x.shape[2:4]) if replicas else x.shape[1:]
    fits = len(shape) == 3 and x.dim() == (5 if replicas else 4) and shape[0] == conv.in_channels
    return fits and min(shape[1:]) + 2 * int(conv.padding[0]) >= smallest


def _is_dense(conv: nn.Conv2d) -> bool:
    side, padding = conv.kernel_size[0], conv.padding[0]
    settings = (conv.kernel_size, conv.stride, conv.dilation, conv.padding, conv.padding_mode)
    plain = settings == ((side, side), (1, 1), (1, 1), (padding, padding), "zeros")
    return plain and isinstance(padding, int) and padding < side


def _is_plain(pool: nn.MaxPool2d) -> bool:
    settings = (pool.kernel_size, pool.stride, pool.padding, pool.dilation)
    return settings == (2, 2, 0, 1) and not (pool.ceil_mode or pool.return_indices)


def compute(steps: list[Step], x: Tensor, calls: int) -> Tensor:
    """Compute steps.

    Args:
        steps: All of samples where there are several calls.
        x: (calls * N, R * F, ...).
        calls: Batches that are normalised apart.

    Returns:
        (calls * N, R * F', ...).
    """
    replicas = 0  # that lie apart; 0 while they lie side by side
    first = next((step for step in steps if type(step) not in ANYWHERE), None)
    if x.dim() == 4 and not (isinstance(first, Convolution) and first.takes(x, 0) and first.reads(x)):
        x = channels_last(x)
    for step in steps:
        if isinstance(step, nn.Module) and type(step) in ANYWHERE:
            x = step(x)
        elif replicas and isinstance(step, nn.Flatten) and (step.start_dim, step.end_dim) == (1, -1):
            x = x.movedim(-1, 2).flatten(2)  # (R, N, F * H * W)
        elif replicas and isinstance(step, nn.AdaptiveAvgPool2d) and step.output_size in (1, (1, 1)):
            x = x.mean((2, 3), keepdim=True)  # (R, N, 1, 1, F)
        elif isinstance(step, Fused) and step.takes(x, replicas):
            wanted = step.replicas or replicas
            if replicas and replicas != wanted:
                x, replicas = side_by_side(x), 0
            if not replicas and not step.reads(x):
                x = apart(x, wanted)
            x, replicas = step(x, calls), wanted
        else:
            if replicas:
                x, replicas = side_by_side(x), 0
            x = step.by_torch(x, calls) if isinstance(step, Fused) else step(x)
    return side_by_side(x) if replicas else x


def apart(x: Tensor, replicas: int) -> Tensor:
    """Replicas of (N, R * F, ...) one after the other, (R, N, ..., F)."""
    return x.unflatten(1, (replicas, -1)).movedim((1, 2), (0, -1)).contiguous()


def side_by_side(x: Tensor) -> Tensor:
    """The same back; channels lie last in memory."""
    return x.movedim(0, -2).flatten(-2).movedim(-1, 1)
