"""Optimisers and schedules for replicas with learning rates of their own."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import CyclicLR, LambdaLR, LRScheduler, OneCycleLR
from torch.optim.swa_utils import SWALR

from lightning_modules.command.options import OptimizerName
from lightning_modules.command.plain import PerReplica, plain

# LBFGS, Adafactor and Muon compute with whole parameters; ASGD's decay of the rate depends on the rate.
MIXING = (torch.optim.LBFGS, torch.optim.Adafactor, torch.optim.Muon, torch.optim.ASGD)
BOUNDED = (torch.optim.Rprop,)  # whose steps stay between numbers that do not depend on the rate

DECAY = "replica_weight_decay"  # entry of an optimiser's groups: each replica's weight decay
SHARE = "replica_share"  # entry of an optimiser's groups: each replica's share of the largest learning rate

WARMUP = 0.2  # share of the steps
START = 0.1  # of the peak rate


def with_replica_lr(
    optimizer: Callable[..., Optimizer],
    parameters: Iterable[Tensor | dict[str, Any]],
    lr: Sequence[float],
    weight_decay: PerReplica | None = None,
    **options: Any,
) -> Optimizer:
    """Make a torch optimiser train each replica at a learning rate of its own.

    An optimiser that moves every number by itself moves it in proportion to the learning rate. So it runs at
    the largest rate, and after each step the update of replica r is scaled by lr[r] / max(lr). (Scaling the
    gradient would not do: Adam is blind to it, and weight decay and momentum would see other numbers.)
    Schedules act on the largest rate, and so on all in proportion.

    The optimiser is made once for each replica's numbers, as it would be alone. So a function may give groups
    of parameters rates and decays of their own.

    Args:
        optimizer: The optimiser's class, or a function that makes it.
        parameters: Parameters of R replicas, or groups of them, as torch's optimisers take them.
        lr: R learning rates, all positive.
        weight_decay: One number for all, or R of them; None leaves the optimiser's own.
        **options: Other arguments of the optimiser.

    Returns:
        The optimiser.

    Raises:
        ValueError: The optimiser mixes the numbers of a parameter, and so of its replicas, or its update is
            not in proportion to the learning rate, or other numbers of it follow from the learning rate.
    """
    if len(lr) > 1:
        _refuse_mixing(optimizer)
    parameters = list(parameters)
    decays = weight_decay if isinstance(weight_decay, Sequence) else [weight_decay] * len(lr)
    own = list(zip(lr, decays, strict=True))
    alone = dict[tuple[float, float | None], Optimizer]()
    for rate, decay in dict.fromkeys(own):
        given = {} if decay is None else {"weight_decay": decay}
        copies = [dict(part) if isinstance(part, dict) else part for part in parameters]
        alone[rate, decay] = optimizer(copies, **options, **given, lr=rate)
    instance = alone[own[0]]
    if len(lr) > 1:
        _refuse_mixing(type(instance))
    if len(set(lr)) > 1:
        _refuse_bounded(type(instance))
    if len(alone) > 1:
        for group, *others in zip(*(alone[numbers].param_groups for numbers in own), strict=True):
            _join_groups(group, [dict(group), *others])
        _move_by_replica(instance)  # first, so that decay is a part of the step that it scales
        _decay_by_replica(instance)
    return instance


def _join_groups(group: dict[str, Any], alone: Sequence[dict[str, Any]]) -> None:
    """Make a group that of R replicas, each with the rate and the decay that it has alone."""
    values = {name: [other[name] for other in alone] for name in group if name != "params"}
    several = [name for name, own in values.items() if any(value != own[0] for value in own)]
    for name in several:
        if name not in ("lr", "weight_decay"):
            raise ValueError(f"optimizer must give all replicas one {name}; lr and weight_decay may differ")
    group[SHARE] = group[DECAY] = None
    like = group["params"][0]  # in the groups, (R,), so that replicas can be dropped
    if "lr" in several:
        group["lr"] = max(values["lr"])
        group[SHARE] = like.new_tensor([rate / group["lr"] for rate in values["lr"]])
    if "weight_decay" in several:
        group["weight_decay"] = 0.0
        group[DECAY] = like.new_tensor(values["weight_decay"])


def _blocks(tensor: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
    """A view (R, ...) of R replicas' blocks, and R numbers that broadcast to it."""
    blocks = tensor.detach().unflatten(0, (len(own), -1))
    return blocks, own.view(-1, *[1] * (blocks.dim() - 1))


def _refuse_mixing(kind: Any) -> None:
    if kind in MIXING:
        raise ValueError(f"{kind.__name__} does not train replicas apart; choose another, or one replica")
    if isinstance(kind, type) and not kind.__module__.startswith("torch.optim"):
        raise ValueError(
            f"{kind.__name__} is not of torch.optim, so it is not known to train replicas apart; choose one"
            " that is, or one replica"
        )


def _refuse_bounded(kind: type[Optimizer]) -> None:
    if kind in BOUNDED:
        raise ValueError(
            f"{kind.__name__} bounds its steps by numbers of its own, not in proportion to lr; give all"
            " replicas one lr, or choose another"
        )


def refuse_own_rates(schedule: LRScheduler) -> None:
    """Refuse a schedule that sets rates of its own: it would set one replica's, and the others in proportion.

    Args:
        schedule: Of an optimiser whose replicas have several learning rates.

    Raises:
        ValueError: It, or a schedule that it is made of, does so.
    """
    for part in getattr(schedule, "_schedulers", []):
        refuse_own_rates(part)
    if isinstance(schedule, OneCycleLR | CyclicLR | SWALR) or getattr(schedule, "eta_min", False):
        raise ValueError(
            f"{type(schedule).__name__} sets rates by its own arguments, not by each replica's lr; take one"
            " that multiplies lr, such as LambdaLR or CosineAnnealingLR with eta_min=0, or one lr for all"
        )


def _move_by_replica(optimizer: Optimizer) -> None:
    """Scale each replica's share of every step."""
    before: list[Tensor] = []

    def moving_apart(moving: Optimizer) -> list[tuple[Tensor, Tensor]]:
        if not all(SHARE in group for group in moving.param_groups):
            raise ValueError(
                "a group of parameters was added to the optimiser, but replicas have several rates or decays;"
                " give it all groups when it is made, or all replicas the same lr and weight_decay"
            )
        groups = [group for group in moving.param_groups if group[SHARE] is not None]
        return [(parameter, group[SHARE]) for group in groups for parameter in group["params"]]

    def remember(moving: Optimizer, *_: Any) -> None:
        before[:] = [parameter.detach().clone() for parameter, _ in moving_apart(moving)]

    def scale(moving: Optimizer, *_: Any) -> None:
        for old, (parameter, share) in zip(before, moving_apart(moving), strict=True):
            new, shares = _blocks(parameter, share)
            new.copy_(old.view_as(parameter).unflatten(0, (len(share), -1)).lerp(new, shares))

    optimizer.register_step_pre_hook(remember)
    optimizer.register_step_post_hook(scale)


def _decay_by_replica(optimizer: Optimizer) -> None:
    """Decay each replica's weights by its own rate: in the gradient, or apart, as the optimiser does."""

    def decay(moving: Optimizer) -> None:
        for group in moving.param_groups:
            apart = group.get("decoupled_weight_decay", isinstance(moving, AdamW))
            sign = -1 if group.get("maximize") else 1  # whose gradient the optimiser turns round
            for parameter in group["params"]:
                if parameter.grad is None or group[DECAY] is None:
                    continue
                values, rates = _blocks(parameter, group[DECAY])
                if apart:
                    values.mul_(1 - group["lr"] * rates)
                else:
                    _blocks(parameter.grad, group[DECAY])[0].add_(values * rates * sign)

    def after_gradients(moving: Optimizer, args: Any, kwargs: dict[str, Any]) -> Any:
        """Decay once there are gradients: a closure, such as Lightning's, computes them within the step."""
        closure = kwargs["closure"] if "closure" in kwargs else (*args, None)[1]
        if closure is None:
            return decay(moving)

        def decaying() -> Any:
            loss = closure()
            decay(moving)
            return loss

        return args[:1], {"closure": decaying}

    optimizer.register_step_pre_hook(after_gradients)


def make_optimizer(
    name: OptimizerName, network: nn.Module, lr: Sequence[float], weight_decay: float
) -> Optimizer:
    """Build an optimiser that decays matrices only.

    Args:
        name: sgd or adamw.
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
    """Share of the peak rate: it rises from 0.1 to 1 over the first fifth of the steps, then falls to 0.

    Args:
        steps: Number of steps.
        step: Number of the step, from 0.
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
