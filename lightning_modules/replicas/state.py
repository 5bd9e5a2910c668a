"""Tensors with R replicas along their first dimension: take some out, join them, see which diverged.

Every parameter and statistic of a network has R equal blocks along its first dimension, and replica r owns
the r-th block of each. A scalar, such as a counter of batches, belongs to all.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

State = dict[str, Tensor]


def take_replicas(value: Tensor, kept: Sequence[int], replicas: int) -> Tensor:
    """Take some of R replicas out of a tensor.

    Args:
        value: Equal blocks of R replicas along its first dimension, or a scalar, which all share.
        kept: Which replicas to take, in this order.
        replicas: Number of replicas R.

    Returns:
        A copy of their blocks.
    """
    if value.dim() == 0:
        return value.clone()
    taken = value.unflatten(0, (replicas, -1))[list(kept)].flatten(0, 1)
    return taken.contiguous()  # of weights with channels last an index leaves a layout that torch refuses


def export_replica(state: State, index: int, replicas: int) -> State:
    """Take one replica out of R.

    Args:
        state: The state_dict of R replicas.
        index: Which replica, from 0.
        replicas: Number of replicas R.

    Returns:
        The state_dict of the ordinary net.
    """
    return {name: take_replicas(value, [index], replicas) for name, value in state.items()}


def join_replicas(states: Sequence[State]) -> State:
    """Join replicas that were trained apart into one network.

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


def are_finite(tensors: Iterable[Tensor], replicas: int) -> list[bool]:
    """Which replicas have only finite numbers; the others diverged.

    Args:
        tensors: Each (R * ..., ...), or a scalar, which is not looked at.
        replicas: Number of replicas R.

    Returns:
        R answers.
    """
    parts = [tensor.detach().reshape(replicas, -1) for tensor in tensors if tensor.dim() and tensor.numel()]
    floats = [part for part in parts if part.is_floating_point()]
    floats += [torch.view_as_real(part).flatten(1) for part in parts if part.is_complex()]
    # Of the largest alone, which is NaN where one number is: to ask each number takes four times as long.
    finite = [part.abs().amax(1).isfinite() for part in floats]
    return torch.stack(finite).all(0).tolist() if finite else [True] * replicas


def hide_name(module: nn.Module, inner: str) -> None:
    """Leave the name of an inner module, which has all tensors, out of a module's state_dict.

    Args:
        module: Its state_dict is written, and read, so from now on.
        inner: Name of the inner module.
    """
    module.register_state_dict_post_hook(partial(_hide, inner))
    module.register_load_state_dict_pre_hook(partial(_show, inner))


def _hide(inner: str, module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    _rename(state, f"{prefix}{inner}.", prefix)


def _show(inner: str, module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    _rename(state, prefix, f"{prefix}{inner}.")


def _rename(state: dict[str, Any], old: str, new: str) -> None:
    """Take all out before one is put back: a net may have both `fc.weight` and `net.fc.weight`."""
    taken = {key: state.pop(key) for key in list(state) if key.startswith(old)}
    state.update({new + key.removeprefix(old): value for key, value in taken.items()})
