"""A small net of digits as a `ReplicatedModule`, with its Trainer and its data."""

import warnings
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from datamodules.mnist import load_digits
from lightning_modules import ReplicatedModule

SEEDS = [5, 17, 40]
DIGITS = load_digits(None)[0]
X, Y = DIGITS.images[:64].unsqueeze(1).double() / 255, DIGITS.labels[:64].long()


def make_net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.BatchNorm2d(4),
        nn.Dropout(0.2),
        nn.Flatten(),
        nn.Linear(144, 10),
    )


class Mixing(nn.Module):
    """Concatenates along channels: right by vmap only."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.out, self.drop = (
            nn.Conv2d(1, 2, 3),
            nn.Conv2d(1, 3, 3),
            nn.Linear(5, 10),
            nn.Dropout(0.3),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.drop(torch.cat([self.a(x), self.b(x)], 1).relu().mean((2, 3))))


def error(outputs: Tensor, target: Tensor) -> Tensor:
    return outputs.argmax(-1) != target


def plain() -> DataLoader[Any]:
    return DataLoader(TensorDataset(X, Y), 16)


def trainer(**options: Any) -> pl.Trainer:
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return pl.Trainer(**{"max_epochs": 2, "precision": "64-true", "accelerator": "cpu", **quiet, **options})


def build(seeds: Any = SEEDS, net: Callable[[], nn.Module] = make_net, **options: Any) -> ReplicatedModule:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ReplicatedModule(
            **{
                "make_net": net,
                "loss": F.cross_entropy,
                "seeds": seeds,
                "lr": 0.01,
                "metrics": {"error": error},
                **options,
            }
        )
