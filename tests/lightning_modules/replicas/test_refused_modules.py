"""What a `ReplicatedModule` cannot do right for each replica is refused in one line."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pytorch_lightning.callbacks import (
    BaseFinetuning,
    StochasticWeightAveraging,
)
from replicated_digits import SEEDS, X, Y, build, error, plain, trainer
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader

from lightning_modules import ReplicaLoader


class Foreign(torch.optim.SGD):
    """An optimiser that might do anything."""


class Thaw(BaseFinetuning):
    """Trains the first layer from the second epoch on."""

    def freeze_before_training(self, pl_module: Any) -> None:
        self.freeze(pl_module.network.net[0])

    def finetune_function(self, pl_module: Any, epoch: int, optimizer: torch.optim.Optimizer) -> None:
        if epoch == 1:
            self.unfreeze_and_add_param_group(pl_module.network.net[0], optimizer)


def one_cycle(optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
    return lr_scheduler.OneCycleLR(optimizer, 0.5, total_steps=9, cycle_momentum=False)


def warmed_up(optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
    cosine = lr_scheduler.CosineAnnealingLR(optimizer, 9, eta_min=0.01)
    return lr_scheduler.SequentialLR(optimizer, [lr_scheduler.LinearLR(optimizer), cosine], [2])


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "two seeds alike": (lambda: build([1, 1]), "counted 2 times"),
    "two seeds alike with one weight": (
        lambda: build([1, 1], loss_weights={"weight": 0.5}),
        "counted 2 times",
    ),
    "a wrong number of decays": (
        lambda: build(weight_decay=[0.1]),
        "weight_decay must be one number or one for each of 3",
    ),
    "a wrong number of rates": (lambda: build(lr=[0.1, 0.2]), "lr must be one number or one for each of 3"),
    "an optimiser that mixes": (
        lambda: trainer().fit(build(optimizer=torch.optim.LBFGS), plain()),
        "LBFGS does not train replicas apart",
    ),
    "an optimiser that is not known": (
        lambda: trainer().fit(build(optimizer=Foreign), plain()),
        "Foreign is not of",
    ),
    "ReduceLROnPlateau": (
        lambda: trainer().fit(build(schedule=lr_scheduler.ReduceLROnPlateau), plain()),
        "ReduceLROnPlateau would",
    ),
    "a schedule with a rate of its own": (
        lambda: trainer().fit(build(lr=[0.1, 0.2, 0.1], schedule=one_cycle), plain()),
        "OneCycleLR sets rates by its own arguments",
    ),
    "another within a sequence": (
        lambda: trainer().fit(build(lr=[0.1, 0.2, 0.1], schedule=warmed_up), plain()),
        "CosineAnnealingLR sets rates by its own arguments",
    ),
    "no stage": (
        lambda: build().epoch_metrics("valid"),
        "stage must be one of train, val, test, got 'valid'",
    ),
    "SWA with several rates": (
        lambda: trainer(callbacks=[StochasticWeightAveraging(0.1)]).fit(build(lr=[0.1, 0.2, 0.1]), plain()),
        "same lr",
    ),
    "a dict without a named target": (
        lambda: trainer().fit(build(), DataLoader([{"x": X[0], "y": Y[0]}])),  # type: ignore[arg-type]
        "the batch.s entry that is the target: x, y",
    ),
    "a loss of another shape": (
        lambda: trainer().fit(build(loss=lambda y, t: y), plain()),
        "loss must give one number, or one a sample",
    ),
    "a loss that is no tensor": (
        lambda: trainer().fit(build(loss=lambda y, t: F.cross_entropy(y, t).item()), plain()),
        "loss must give a tensor, got float",
    ),
    "a loss without a gradient": (
        lambda: trainer().fit(build(loss=lambda y, t: torch.tensor(1.0)), plain()),
        "loss must be computed from the outputs",
    ),
    "a target that is no entry of the batch": (
        lambda: trainer().fit(build(target=5), plain()),
        "target must be the place of one of the batch's 2 entries, got 5",
    ),
    "a loss that draws": (
        lambda: trainer().fit(build(loss=lambda y, t: F.cross_entropy(F.dropout(y), t)), plain()),
        "loss must draw no random numbers",
    ),
    "a loss that would be trained": (
        lambda: build(loss=nn.Bilinear(2, 2, 1)),
        "loss must have no parameters to train",
    ),
    "a metric with a dot": (lambda: build(metrics={"top.5": error}), "without a dot, got 'top.5'"),
    "an optimiser whose momentum follows from the rate": (
        lambda: trainer().fit(
            build(lr=[0.1, 0.2, 0.1], optimizer=lambda p, lr: torch.optim.SGD(p, lr, momentum=lr)), plain()
        ),
        "optimizer must give all replicas one momentum",
    ),
    "a group that is added later": (
        lambda: trainer(callbacks=[Thaw()]).fit(build(lr=[0.1, 0.2, 0.1]), plain()),
        "give it all groups when it is made",
    ),
    "a schedule in a dict": (
        lambda: trainer().fit(
            build(schedule=lambda made: {"scheduler": lr_scheduler.StepLR(made, 1)}), plain()
        ),
        "schedule must give a scheduler of torch, got dict",
    ),
    "a checkpoint of other seeds": (
        lambda: build().on_load_checkpoint({"hyper_parameters": {"seeds": [5, 40]}}),
        r"replicas of seeds \[5, 40\], and the module of \[5, 17, 40\]",
    ),
    "data of another number of replicas": (
        lambda: trainer().fit(build(), ReplicaLoader((X, Y), 16, [5])),
        r"\(N, R, ...\) with R = 3, got \(16, 1, 1, 14, 14\)",
    ),
    "data that is one tensor": (lambda: ReplicaLoader(X, 16, SEEDS), "a tuple or a dict of tensors"),  # type: ignore[arg-type]
    "data of NumPy": (lambda: ReplicaLoader((X.numpy(),), 16, SEEDS), "a tuple or a dict of tensors"),  # type: ignore[arg-type]
    "half a sample": (lambda: ReplicaLoader((X, Y), 2.5, SEEDS), "batch_size must be a whole number"),  # type: ignore[arg-type]
    "a name for an optimiser": (lambda: build(optimizer="sgd"), "optimizer must be a function, or a class"),
    "a made schedule": (lambda: build(schedule=3), "schedule must be a function, or a class to call, got 3"),
    "a name for a loss": (
        lambda: build(loss="mse"),
        "loss must be a function, or a class to call, got 'mse'",
    ),
    "a name for a metric": (lambda: build(metrics={"hits": "error"}), "hits must be a function, or a class"),
    "a number in place of seeds": (lambda: build(16), r"such as range\(16\), got 16"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_would_not_be_right_is_refused_in_one_line(what: str) -> None:
    attempt, line = REFUSED[what]
    with pytest.raises(ValueError, match=line) as caught:
        attempt()
    assert "\n" not in str(caught.value)
