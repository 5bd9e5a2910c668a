"""A `ReplicatedModule` under the Trainer is R loops that a user would write with torch alone."""

from collections.abc import Callable
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import NAdam, Optimizer, RAdam, RMSprop
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, TensorDataset

from lightning_modules import ReplicatedModule

LR, DECAY = [0.01, 0.1, 0.03], [0.1, 0.0, 0.5]
EPOCHS, BATCH = 3, 8


def momentum(parameters: Any, **own: Any) -> Optimizer:
    return torch.optim.SGD(parameters, momentum=0.9, **own)


def decoupled(parameters: Any, **own: Any) -> Optimizer:
    return torch.optim.Adam(parameters, decoupled_weight_decay=True, **own)


def maximising(parameters: Any, **own: Any) -> Optimizer:
    return torch.optim.SGD(parameters, maximize=True, **own)


def in_groups(parameters: Any, **own: Any) -> Optimizer:
    """Vectors have a rate and a decay that all replicas share."""
    values = list(parameters)
    matrices, vectors = ([p for p in values if (p.ndim > 1) is several] for several in (True, False))
    groups: list[dict[str, Any]] = [
        {"params": matrices},
        {"params": vectors, "lr": 0.02, "weight_decay": 0.1},
    ]
    return torch.optim.SGD(groups, **own)


def make_net() -> nn.Module:
    net = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.BatchNorm1d(5), nn.Linear(5, 3))
    return net.double()


def data() -> DataLoader[tuple[torch.Tensor, ...]]:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(24, 6, generator=generator, dtype=torch.float64)
    return DataLoader(TensorDataset(x, torch.arange(24) % 3), BATCH)


def train_alone(net: nn.Module, optimizer: Optimizer, clip: float | None) -> nn.Module:
    schedule = StepLR(optimizer, 2, 0.5)
    for _ in range(EPOCHS):
        for x, y in data():
            optimizer.zero_grad()
            F.cross_entropy(net.train()(x), y).backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(net.parameters(), clip)
            optimizer.step()
        schedule.step()
    return net


@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.parametrize(
    "optimizer",
    [
        torch.optim.SGD,
        momentum,
        maximising,
        in_groups,
        torch.optim.Adam,
        decoupled,
        torch.optim.AdamW,
        RMSprop,
        NAdam,
        RAdam,
    ],
)
@pytest.mark.parametrize(
    ("lr", "decay"), [(LR, DECAY), ([0.1] * 3, DECAY), (LR, [0.2] * 3)], ids=["both", "decay", "lr"]
)
def test_each_replica_has_its_own_learning_rate_and_weight_decay_from_the_first_step_on(
    optimizer: Callable[..., Optimizer], lr: list[float], decay: list[float], clip: float | None
) -> None:
    module = ReplicatedModule(
        make_net,
        F.cross_entropy,
        range(3),
        lr,
        optimizer=optimizer,
        weight_decay=decay,
        schedule=lambda made: StepLR(made, 2, 0.5),
    )
    nets = [module.replica(number) for number in range(3)]
    pl.Trainer(
        max_epochs=EPOCHS,
        gradient_clip_val=clip,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(module, data())
    for number, net in enumerate(nets):
        own = optimizer(net.parameters(), lr=lr[number], weight_decay=decay[number])
        alone, ours = train_alone(net, own, clip).state_dict(), module.replica_state(number)
        for name, value in alone.items():
            torch.testing.assert_close(ours[name], value, rtol=0, atol=1e-7 if "Adam" in str(own) else 1e-11)
