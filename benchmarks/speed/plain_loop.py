"""What a user would do without this project: the paper's networks in torch.nn, and one plain loop a run.

Batches are sliced from tensors that hold all pairs, the nets have torch's default layout, the loop is
``loss.backward(); optimizer.step()``, and one run follows the other. It is the reference of the speed
benchmarks and of the tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from datamodules import DigitPairs
from lightning_modules.models.recipes import PAPER
from lightning_modules.results.runs import Run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from datamodules import Digits, PairSet

BATCH_SIZE = PAPER.settings["cnn"].batch_size  # of all three nets


def cnn(in_channels: int, outputs: int) -> nn.Sequential:
    """Figure 1.2."""
    return nn.Sequential(
        nn.Conv2d(in_channels, 32, kernel_size=3),
        nn.MaxPool2d(kernel_size=2, stride=2),
        nn.ReLU(),
        nn.BatchNorm2d(32),
        nn.Dropout(0.2),
        nn.Conv2d(32, 64, kernel_size=3),
        nn.MaxPool2d(kernel_size=2, stride=2),
        nn.ReLU(),
        nn.BatchNorm2d(64),
        nn.Dropout(0.2),
        nn.Flatten(),
        nn.Linear(256, 200),
        nn.ReLU(),
        nn.BatchNorm1d(200),
        nn.Dropout(0.3),
        nn.Linear(200, outputs),
        nn.ReLU(),
        nn.BatchNorm1d(outputs),
        nn.Dropout(0.3),
    )


class PlainNet(nn.Module):
    """Section 1.2.1."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn = cnn(2, 2)

    def forward(self, pairs: Tensor) -> tuple[Tensor, None]:
        """Logits of pairs (N, 2, 14, 14)."""
        return self.cnn(pairs), None


class SiameseNet(nn.Module):
    """Sections 1.2.2 and 1.2.3, figure 1.4."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = cnn(1, 10)
        self.head = nn.Sequential(
            nn.Linear(20, 100),
            nn.ReLU(),
            nn.BatchNorm1d(100),
            nn.Dropout(0.2),
            nn.Linear(100, 20),
            nn.ReLU(),
            nn.BatchNorm1d(20),
            nn.Dropout(0.2),
            nn.Linear(20, 2),
            nn.ReLU(),
        )

    def forward(self, pairs: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of pairs (N, 2, 14, 14), and of their digits."""
        first, second = self.trunk(pairs[:, 0:1]), self.trunk(pairs[:, 1:2])
        return self.head(torch.cat((first, second), 1)), torch.stack((first, second), 1)


NETS: dict[str, type[nn.Module]] = {"cnn": PlainNet, "weight_sharing": SiameseNet, "auxiliary": SiameseNet}


@dataclass
class PlainRun:
    """One training of one model, as a plain loop."""

    model: str
    data: DigitPairs  # set up
    seed: int
    replica: int = 0  # of the data's, whose pairs it trains on

    def __post_init__(self) -> None:
        torch.manual_seed(self.seed)
        self.settings = PAPER.settings[self.model].of_module()
        self.net = NETS[self.model]()
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=self.settings["lr"])
        self.train = tensors(self.data.train_set, self.data.train_digits, self.replica)
        self.val = tensors(self.data.val_set, self.data.train_digits, self.replica)

    def epoch(self) -> None:
        """Train on every pair once."""
        images, target, classes = self.train
        self.net.train()
        for batch in torch.randperm(len(images)).split(self.data.batch_size):
            self.step(images[batch], target[batch], classes[batch])

    def step(self, images: Tensor, target: Tensor, classes: Tensor) -> Tensor:
        """Train on a batch: images (N, 2, 14, 14), target (N,), classes (N, 2); returns the loss."""
        pair, digits = self.net(images)
        loss = self.loss(pair, digits, target, classes)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def loss(self, pair: Tensor, digits: Tensor | None, target: Tensor, classes: Tensor) -> Tensor:
        """Cross entropy of the comparison, with the digits' where the model has it."""
        loss = F.cross_entropy(pair, target)
        if self.model != "auxiliary" or digits is None:
            return loss
        auxiliary = F.cross_entropy(digits[:, 0], classes[:, 0]) + F.cross_entropy(
            digits[:, 1], classes[:, 1]
        )
        return self.settings["alpha"] * auxiliary + self.settings["gamma"] * loss

    @torch.no_grad()
    def error(self, images: Tensor, target: Tensor) -> float:
        """Share of pairs that the net gets wrong: images (N, 2, 14, 14), target (N,)."""
        self.net.eval()
        batches = zip(images.split(self.data.batch_size), target.split(self.data.batch_size), strict=True)
        wrong = sum((self.net(x)[0].argmax(1) != y).sum().item() for x, y in batches)
        return wrong / len(images)

    def fit(self, max_epochs: int) -> Run:
        """Train, validate after each epoch, test at the end: what a study does for each run."""
        for _ in range(max_epochs):
            self.epoch()
            val_error = self.error(*self.val[:2])
        test = tensors(self.data.test_set, self.data.test_digits, self.replica)
        return Run(
            seed=self.seed,
            train_error=self.error(*self.train[:2]),
            test_error=self.error(*test[:2]),
            val_error=val_error,
        )


def digit_pairs(seed: int | Sequence[int], train_pairs: int = 1000, val_pairs: int = 0) -> DigitPairs:
    """Pairs of one or several runs, set up."""
    data = DigitPairs(train_pairs, val_pairs, batch_size=BATCH_SIZE, seed=seed)
    data.setup()
    return data


def tensors(pairs: PairSet, digits: Digits, replica: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Images (N, 2, 14, 14), target (N,) and classes (N, 2) of one replica's pairs."""
    index, target, classes = (part[:, replica].long() for part in (pairs.index, pairs.target, pairs.classes))
    return digits.images[index], target, classes


@cache
def step_flops(model: str, pairs: int) -> int:
    """Floating-point operations of the products and convolutions in a training step, forward and backward."""
    net = NETS[model]()
    with FlopCounterMode(display=False) as counter:
        net(torch.zeros(pairs, 2, 14, 14))[0].sum().backward()
    return counter.get_total_flops()
