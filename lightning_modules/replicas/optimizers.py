"""Optimisers and their schedules, for replicas with learning rates of their own."""

from collections.abc import Sequence
from functools import partial

from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lightning_modules.command.options import OptimizerName
from lightning_modules.command.plain import plain
from lightning_modules.replicas.seeding import with_replica_lr

WARMUP = 0.2  # share of the steps
START = 0.1  # of the peak rate


def make_optimizer(
    name: OptimizerName, network: nn.Module, lr: Sequence[float], weight_decay: float
) -> Optimizer:
    """Build an optimiser that decays matrices only.

    Args:
        name: Which.
        network: R replicas.
        lr: R learning rates.
        weight_decay: Weight decay of weights of linear layers and convolutions.

    Returns:
        The optimiser.

    Raises:
        ValueError: There is no optimiser of this name.
    """
    plain("optimizer", name, OptimizerName)
    parameters = list(network.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() == 1], "weight_decay": 0.0},
    ]
    if name == "sgd":
        return with_replica_lr(SGD, groups if weight_decay else parameters, lr, fused=True)
    return with_replica_lr(AdamW, groups, lr, betas=(0.9, 0.99), fused=True)


def warmup_linear(steps: int, step: int) -> float:
    """Share of the peak rate: from a tenth to all of it over the first fifth of the steps, then to nothing.

    Args:
        steps: Number of steps.
        step: Which one, from 0.
    """
    warmup = WARMUP * steps
    if step < warmup:
        return START + (1 - START) * step / warmup
    return max(0.0, (steps - step) / (steps - warmup))


def with_warmup_linear(optimizer: Optimizer, steps: int) -> LambdaLR:
    """Schedule an optimiser.

    Args:
        optimizer: The optimiser, at its peak rate.
        steps: Number of steps.
    """
    return LambdaLR(optimizer, partial(warmup_linear, steps))
