"""Drop replicas from a running fit; the rest train on, unchanged.

Replicas share no number, so the rest do what they would have done: in float64 to the bit where all learning
rates are equal. Dropped replicas cost nothing from then on; only on devices other than a CPU their dropout
masks are still drawn (dropout.py).
"""

from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_modules.replicas.optimizers import DECAY, SHARE
from lightning_modules.replicas.state import are_finite, take_replicas


def select_tensors(network: nn.Module, kept: Sequence[int], replicas: int) -> None:
    """Keep only the given replicas in the tensors of a network.

    Args:
        network: R replicas.
        kept: Which replicas stay, in this order.
        replicas: Number of replicas R.
    """
    for parameter in network.parameters():
        parameter.data, parameter.grad = take_replicas(parameter.data, kept, replicas), None
    for layer in network.modules():
        for name, buffer in layer.named_buffers(recurse=False):
            setattr(layer, name, take_replicas(buffer, kept, replicas))


def prune_optimizer(optimizer: Optimizer, kept: Sequence[int], replicas: int) -> None:
    """Keep only the given replicas in the state of an optimiser.

    Args:
        optimizer: Of the parameters of R replicas, already without the dropped ones or still with them.
        kept: Which replicas stay, in this order.
        replicas: Number of replicas R.
    """
    for group in optimizer.param_groups:
        for name in (SHARE, DECAY):
            if group.get(name) is not None:
                group[name] = group[name][list(kept)]
    for state in optimizer.state.values():
        for name, value in state.items():
            if isinstance(value, Tensor):
                state[name] = take_replicas(value, kept, replicas)


def prune_fit(trainer: pl.Trainer, kept: Sequence[int]) -> None:
    """Keep only the given replicas of a running fit, between two epochs.

    Args:
        trainer: Fits a module of replicas; its data module and loaders may have a ``select`` too.
        kept: Which replicas stay, in their order, at least one.
    """
    module: Any = trainer.lightning_module
    replicas = len(module.seeds)
    module.select(kept)
    for optimizer in trainer.optimizers:
        prune_optimizer(optimizer, kept, replicas)
    data: Any = trainer.datamodule  # type: ignore[attr-defined]  # Lightning sets it without a declaration
    for holder in (data, trainer.train_dataloader, trainer.val_dataloaders):
        if holder is not None and hasattr(holder, "select"):  # others give all replicas the same batches
            holder.select(kept)


def sound_replicas(module: Any) -> list[bool]:
    """Which replicas have not diverged: losses of the latest epoch, weights and statistics are finite.

    Weights too, because a ReLU may make 0 of NaN, and the loss of a dead net is finite.

    Args:
        module: A module of R replicas.

    Returns:
        R answers.
    """
    figures = module.epoch_metrics("train") | module.epoch_metrics("val")
    return are_finite([*figures.values(), *module.network.state_dict().values()], len(module.seeds))
