"""Some of R replicas go on, the others are dropped from a running fit, and cost nothing from then on.

On devices other than a CPU the dropped ones' dropout masks are still drawn (layers.py).

Replicas share no number (replicas.py), so that those that stay do what they would have done: in float64 to
the bit where all learning rates are equal.
"""

from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_modules.replicas.finite import are_finite
from lightning_modules.replicas.layers import Dropout
from lightning_modules.replicas.seeding import SHARE, take_replicas

# What torch's layers and ours know of the number of replicas: it, or a multiple of it.
COUNTS = ("replicas", "groups", "in_channels", "out_channels", "num_features")


def keep_replicas(network: nn.Module, kept: Sequence[int], replicas: int) -> None:
    """Drop all replicas of a network but some; parameters stay the same objects, for optimisers to hold.

    Args:
        network: R replicas.
        kept: Which ones stay, in their order.
        replicas: Their number R.
    """
    for layer in network.modules():
        for parameter in layer.parameters(recurse=False):
            parameter.data, parameter.grad = take_replicas(parameter.data, kept, replicas), None
        for name, buffer in layer.named_buffers(recurse=False):
            setattr(layer, name, take_replicas(buffer, kept, replicas))
        if isinstance(layer, Dropout):
            layer.keep(kept, replicas)
            continue
        for name in COUNTS:
            if isinstance(count := getattr(layer, name, None), int):
                setattr(layer, name, count // replicas * len(kept))


def keep_rates(optimizer: Optimizer, kept: Sequence[int], replicas: int) -> None:
    """Drop all replicas from what an optimiser remembers but some.

    Args:
        optimizer: Of the parameters of R replicas, already without the dropped ones or still with them.
        kept: Which ones stay.
        replicas: Their number R.
    """
    for group in optimizer.param_groups:
        if SHARE in group:
            group[SHARE] = group[SHARE][list(kept)]
    for memory in optimizer.state.values():
        for name, value in memory.items():
            if isinstance(value, Tensor):
                memory[name] = take_replicas(value, kept, replicas)


def keep_in_fit(trainer: pl.Trainer, kept: Sequence[int]) -> None:
    """Drop all replicas of a running fit but some, between two epochs.

    Args:
        trainer: Fits a `Comparison` to data whose module and loaders have a ``keep`` too.
        kept: Which replicas stay, in their order, at least one.
    """
    module: Any = trainer.lightning_module
    replicas = len(module.seeds)
    module.keep(kept)
    for optimizer in trainer.optimizers:
        keep_rates(optimizer, kept, replicas)
    data: Any = trainer.datamodule  # type: ignore[attr-defined]  # Lightning sets it without a declaration
    for holder in (data, trainer.train_dataloader, trainer.val_dataloaders):
        if holder:
            holder.keep(kept)


def sound_replicas(module: Any) -> list[bool]:
    """Which replicas have not diverged: losses of the latest epoch, weights and statistics are finite.

    Weights too, because a ReLU may make 0 of NaN, and the loss of a dead net is finite.

    Args:
        module: A `Comparison` of R replicas.

    Returns:
        R answers.
    """
    figures = module.figures("train") | module.figures("val")
    return are_finite([*figures.values(), *module.network.state_dict().values()], len(module.seeds))
