"""What makes one network R trainings: a seed, a learning rate and an exit for each replica.

Every parameter and statistic of a network has R equal blocks along its first dimension (layers.py); replica r
is the r-th block of each.
"""

import math
import random
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from lightning_modules.replicas.layers import Dropout, Linear

State = dict[str, Tensor]

# LBFGS, Adafactor and Muon compute with whole parameters; ASGD's decay of the rate depends on the rate.
MIXING = (torch.optim.LBFGS, torch.optim.Adafactor, torch.optim.Muon, torch.optim.ASGD)

SHARE = "replica_share"  # an optimiser's own entry in its groups: each replica's share of the learning rate


def derive_seed(seed: int, purpose: str) -> int:
    """The seed of one purpose's random stream: hashed, so that streams of neighbouring seeds are unrelated.

    Args:
        seed: Seed of the replica.
        purpose: What the stream is for.

    Returns:
        A seed for `torch.Generator.manual_seed`.
    """
    return random.Random(f"{purpose} {seed}").getrandbits(32)  # torch's generators see no more


def initialise(network: nn.Module, seeds: Sequence[int]) -> None:
    """Draw torch's default initialisation, U(-1/sqrt(fan_in), 1/sqrt(fan_in)), for each replica by its seed.

    Args:
        network: R replicas; its convolutions and linear layers are set.
        seeds: R seeds.
    """
    generators = [Generator().manual_seed(derive_seed(seed, "initialisation")) for seed in seeds]
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | Linear):
            bound = 1 / math.sqrt(layer.weight[0].numel())
            for parameter in (layer.weight, layer.bias):
                if parameter is None:
                    continue
                for block, generator in zip(parameter.detach().chunk(len(seeds)), generators, strict=True):
                    block.uniform_(-bound, bound, generator=generator)


def reseed(network: nn.Module, seeds: Sequence[int], epoch: int, rank: int = 0) -> None:
    """Start the dropout streams of one epoch: a function of seed and epoch, so that nothing need be saved.

    Args:
        network: R replicas; its dropout layers are set.
        seeds: R seeds.
        epoch: Number of the epoch.
        rank: Number of this process: each drops otherwise.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, Dropout)]
    for number, layer in enumerate(layers):
        branches = layer.replicas // len(seeds)  # several where a replica has more than one trunk
        names = [f"dropout {number} {epoch} {rank}" + f" {k}" * (k > 0) for k in range(branches)]
        if layer.first_seed is None or layer.draws_for_all:
            layer.first_seed = seeds[0]
        device_seed = derive_seed(layer.first_seed, names[0])
        layer.seed([derive_seed(seed, name) for seed in seeds for name in names], device_seed)


def with_replica_lr(
    optimizer: type[Optimizer],
    parameters: Iterable[Tensor] | Iterable[dict[str, Any]],
    lr: Sequence[float],
    **options: Any,
) -> Optimizer:
    """Make a torch optimiser train each replica at a learning rate of its own.

    An optimiser that moves every number by itself moves it in proportion to the learning rate. So it runs at
    the largest rate, and after each step the update of replica r is scaled by lr[r] / max(lr). (Scaling the
    gradient would not do: Adam is blind to it, and weight decay and momentum would see other numbers.)
    Schedules act on the largest rate, and so on all in proportion.

    Args:
        optimizer: The optimiser's class.
        parameters: Parameters of R replicas, or groups of them, as torch's optimisers take them.
        lr: R learning rates, all positive.
        **options: Other arguments of the optimiser.

    Returns:
        The optimiser.

    Raises:
        ValueError: The optimiser mixes the numbers of a parameter, and so of its replicas, or its update is
            not in proportion to the learning rate.
    """
    if len(lr) > 1 and optimizer in MIXING:
        raise ValueError(
            f"{optimizer.__name__} does not train replicas apart; choose another, or one replica"
        )
    instance = optimizer(parameters, **options, lr=max(lr))  # type: ignore[call-arg]
    if len(set(lr)) == 1:
        return instance
    for group in instance.param_groups:  # (R, 1); kept with the optimiser, so that replicas can be dropped
        group[SHARE] = group["params"][0].new_tensor([rate / max(lr) for rate in lr]).unsqueeze(1)
    before: list[Tensor] = []

    def remember(moving: Optimizer, *_: Any) -> None:
        before[:] = [p.detach().clone() for group in moving.param_groups for p in group["params"]]

    def scale(moving: Optimizer, *_: Any) -> None:
        moved = [(p, group[SHARE]) for group in moving.param_groups for p in group["params"]]
        for old, (parameter, share) in zip(before, moved, strict=True):
            new = parameter.detach().view(len(share), -1)
            new.copy_(old.view_as(new).lerp(new, share))

    instance.register_step_pre_hook(remember)
    instance.register_step_post_hook(scale)
    return instance


def take_replicas(value: Tensor, kept: Sequence[int], replicas: int) -> Tensor:
    """Take some of R replicas out of a tensor.

    Args:
        value: Equal blocks of R replicas along its first dimension, or a scalar, which all share.
        kept: Which ones, in their order.
        replicas: Their number R.

    Returns:
        A copy of their blocks.
    """
    if value.dim() == 0:
        return value.clone()
    return value.unflatten(0, (replicas, -1))[list(kept)].flatten(0, 1)


def export_replica(state: State, index: int, replicas: int) -> State:
    """Take one replica out of R.

    Args:
        state: The state_dict of R replicas.
        index: Which one, from 0.
        replicas: Their number R.

    Returns:
        The state_dict of the ordinary net.
    """
    return {name: take_replicas(value, [index], replicas) for name, value in state.items()}


def join_replicas(states: Sequence[State]) -> State:
    """Put replicas that were trained apart into one net.

    Args:
        states: state_dicts of one network with any numbers of replicas.

    Returns:
        The state_dict of all their replicas, in order.
    """
    first, *_ = states
    return {
        name: value if value.dim() == 0 else torch.cat([state[name] for state in states])
        for name, value in first.items()
    }
