"""Six ordinary nets and batches for them; each net is what somebody would write who trains one of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from benchmarks.speed import plain_loop

if TYPE_CHECKING:
    from collections.abc import Callable

LR = 0.01  # of every contestant's SGD


def paper_cnn() -> nn.Module:
    """The CNN of the student report, for a pair of digits (N, 2, 14, 14)."""
    return plain_loop.cnn(2, 2)


def mlp() -> nn.Module:
    """784-100-100-10, for MNIST's images (N, 784)."""
    return nn.Sequential(
        *(nn.Linear(784, 100), nn.ReLU()),
        *(nn.Linear(100, 100), nn.ReLU()),
        nn.Linear(100, 10),
    )


class TutorialCNN(nn.Module):
    """Convolution, ReLU, pooling, twice, as in many a tutorial, for MNIST's images (N, 1, 28, 28)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 32, 3), nn.Conv2d(32, 64, 3)
        self.classify = nn.Linear(1600, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 10)."""
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.classify(torch.flatten(x, 1))


class NormalisedCNN(nn.Module):
    """Convolution, batch normalisation, ReLU, pooling, twice, and dropout, for images (N, 1, 28, 28)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(1, 24, 3, padding=1), nn.BatchNorm2d(24)
        self.conv2, self.norm2 = nn.Conv2d(24, 48, 3, padding=1), nn.BatchNorm2d(48)
        self.dropout, self.classify = nn.Dropout(0.2), nn.Linear(48 * 7 * 7, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 10)."""
        x = F.max_pool2d(F.relu(self.norm1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.norm2(self.conv2(x))), 2)
        return self.classify(self.dropout(torch.flatten(x, 1)))


def colour_cnn() -> nn.Module:
    """Convolutions with group normalisation and GELU, for colour images (N, 3, 32, 32)."""
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.GELU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.GroupNorm(4, 32), nn.GELU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.GroupNorm(4, 64), nn.GELU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(1024, 10)),
    )


class Transformer(nn.Module):
    """A transformer encoder of two layers of width 64, for sequences (N, 16, 16)."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(16, 64)
        layers = [nn.TransformerEncoderLayer(64, 4, 128, 0.1, batch_first=True) for _ in range(2)]
        self.layers = nn.Sequential(*layers)
        self.classify = nn.Sequential(nn.Flatten(), nn.Linear(16 * 64, 10))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 10)."""
        return self.classify(self.layers(self.embed(x)))


@dataclass(frozen=True)
class Net:
    """A net, and the shape of its batches."""

    make: Callable[[], nn.Module]
    batch: tuple[int, ...]  # samples first
    classes: int


NETS = {
    "cnn": Net(paper_cnn, (plain_loop.BATCH_SIZE, 2, 14, 14), 2),
    "tutorial": Net(TutorialCNN, (32, 1, 28, 28), 10),
    "normalised": Net(NormalisedCNN, (32, 1, 28, 28), 10),
    "mlp": Net(mlp, (128, 784), 10),
    "colour": Net(colour_cnn, (64, 3, 32, 32), 10),
    "transformer": Net(Transformer, (64, 16, 16), 10),
}


@dataclass(frozen=True)
class Task:
    """What every contestant does: some steps of SGD of R nets, with the same batches for all of them."""

    net: str
    replicas: int
    steps: int
    dtype: torch.dtype = torch.float32
    dropout: bool = True

    def nets(self) -> list[nn.Module]:
        """R ordinary nets, that of each seed."""
        nets = []
        for seed in range(self.replicas):
            torch.manual_seed(seed)
            net = NETS[self.net].make().to(self.dtype)
            if not self.dropout:
                _drop_nothing(net)
            nets.append(net)
        return nets

    def batches(self) -> list[tuple[Tensor, Tensor]]:
        """Inputs and target of each step."""
        net, generator = NETS[self.net], Generator().manual_seed(0)
        return [
            (
                torch.randn(net.batch, generator=generator, dtype=self.dtype),
                torch.randint(net.classes, net.batch[:1], generator=generator),
            )
            for _ in range(self.steps)
        ]


def _drop_nothing(net: nn.Module) -> None:
    for module in net.modules():
        if isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0
        for name, layer in module.named_children():
            if isinstance(layer, nn.Dropout):
                setattr(module, name, nn.Identity())
