"""Keep replicas apart: what a Trainer does to all parameters it does to each replica's, or it is refused.

So each replica is what its seed is when trained alone. Decisions about the whole training, such as early
stopping, are made for all replicas together, by the logged means.
"""

from collections.abc import Iterable, Sequence

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelPruning, StochasticWeightAveraging
from pytorch_lightning.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from torch import Tensor, distributed
from torch.nn.utils import get_total_norm

from lightning_modules.replicas.optimizers import MIXING

SHARDING = (FSDPStrategy, DeepSpeedStrategy, ModelParallelStrategy)


def refuse_coupling(trainer: pl.Trainer, lr: Sequence[float]) -> None:
    """Refuse a Trainer by which one replica would change another.

    Args:
        trainer: It is about to fit.
        lr: R learning rates.

    Raises:
        ValueError: A part of the Trainer does so.
    """
    if isinstance(trainer.strategy, SHARDING):
        name = type(trainer.strategy).__name__
        raise ValueError(f"{name} divides parameters, whose parts are the replicas here; take strategy ddp")
    if len(lr) == 1:
        return
    if getattr(trainer.precision_plugin, "scaler", None) is not None:
        raise ValueError(
            f"precision {trainer.precision} skips the step of all {len(lr)} replicas where one overflows;"
            " take bf16-mixed, 32-true or one replica"
        )
    callbacks = trainer.callbacks  # type: ignore[attr-defined]  # Lightning sets them without a declaration
    if any(isinstance(callback, ModelPruning) for callback in callbacks):
        raise ValueError(f"ModelPruning would compare the weights of {len(lr)} replicas; prune one replica")
    averaging = any(isinstance(callback, StochasticWeightAveraging) for callback in callbacks)
    if averaging and len(set(lr)) > 1:
        raise ValueError("StochasticWeightAveraging sets one learning rate; give all replicas the same lr")
    for optimizer in trainer.optimizers:
        if isinstance(optimizer, MIXING):
            name = type(optimizer).__name__
            raise ValueError(f"{name} does not train replicas apart; choose another, or one replica")


def clip_norms(parameters: Iterable[Tensor], most: float, replicas: int) -> None:
    """Clip the norm of each replica's gradient, as `torch.nn.utils.clip_grad_norm_` does that of one net.

    Args:
        parameters: Each has R equal blocks along its first dimension.
        most: The largest norm.
        replicas: Number of replicas R.
    """
    blocks = [p.grad.chunk(replicas) for p in parameters if p.grad is not None]
    for gradients in zip(*blocks, strict=True):  # of one replica
        scale = (most / (get_total_norm(gradients) + 1e-6)).clamp(max=1.0)
        torch._foreach_mul_(gradients, scale)


def weigh_by_pairs(loss: Tensor, pairs: int) -> Tensor:
    """Weigh a process's loss by its pairs: the average over processes is then the mean over all pairs.

    Args:
        loss: A mean over the pairs of this process.
        pairs: Number of pairs of this process.

    Returns:
        The loss times pairs * processes / (pairs of all processes).
    """
    running = distributed.is_available() and distributed.is_initialized()
    processes = distributed.get_world_size() if running else 1
    if processes == 1:
        return loss
    total = torch.tensor(pairs, device=loss.device)
    distributed.all_reduce(total)
    return loss * (pairs * processes / total)
