"""A batch normalisation with the layers beside it, as a step of a network."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_modules.replicas.dropout import Dropout
from lightning_modules.replicas.fused.normalisation import Layers, normalise_and_drop
from lightning_modules.replicas.fused.pool import is_plain
from lightning_modules.replicas.fused.step import Fused


@dataclass(frozen=True)
class Block(Fused):
    """A batch normalisation with what may stand beside it, in the weights' own precision."""

    layers: Layers

    @property
    def replicas(self) -> int:
        return self.layers.dropout.replicas if self.layers.dropout else 0

    def takes(self, x: Tensor, replicas: int) -> bool:
        return True

    @property
    def is_worth_a_layout(self) -> bool:
        return self.layers.dropout is not None

    @property
    def features(self) -> int:
        return self.layers.norm.num_features

    def by_torch(self, x: Tensor, calls: int) -> Tensor:
        norm, _, relu_before, relu_after, pools = self.layers
        x = x.relu() if relu_before else x
        y = torch.cat([norm(part) for part in x.chunk(calls)]) if calls > 1 else norm(x)
        y = F.max_pool2d(y, 2) if pools else y
        return y.relu() if relu_after else y

    def __call__(self, x: Tensor, calls: int) -> Tensor:
        norm = self.layers.norm
        norm._check_input_dim(x[0])
        return normalise_and_drop(x.to(norm.weight.dtype), self.layers, calls)


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
    after = taken(nn.ReLU)
    pools = isinstance(norm, nn.BatchNorm2d) and bool(rest) and _is_plain_pool(rest[0])
    if pools:
        rest.pop(0)
        after = after or taken(nn.ReLU)  # the largest of what a ReLU makes is what it makes of the largest
    block = Block(Layers(norm, taken(Dropout), before is not None, after is not None, pools))
    return block, len(layers) - len(rest)


def _is_plain_pool(layer: nn.Module) -> bool:
    return isinstance(layer, nn.MaxPool2d) and is_plain(layer)
