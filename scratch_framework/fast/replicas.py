"""Replicas: R nets of one structure trained as one, for the price of little more than one.

A small net spends its time on the overhead of each operation, not on arithmetic. So all R nets go through the
same operations: every tensor gains a leading dimension R, a linear layer is one batched product, and
activations stay as they are. No operation mixes replicas, each has its own loss, and the optimisers take a
rate for each. So replica k is the net that would have been trained alone. The two functions below turn the
state_dicts of R nets into that of R replicas, and back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from scratch_framework.core.parameter import State


def stack_states(states: Sequence[Mapping[str, Tensor]]) -> State:
    """Make the state_dict of R replicas from those of R single nets.

    Args:
        states: R state_dicts with the same names and shapes.

    Returns:
        Tensors (R, ...) by name.
    """
    if not states:
        raise ValueError("states must hold at least one state_dict, got none")
    first = states[0]
    stacked = {name: value.detach().new_empty(len(states), *value.shape) for name, value in first.items()}
    for replica, state in enumerate(states):
        if state.keys() != first.keys():
            raise ValueError(f"states must hold the same names, got {list(first)} and {list(state)}")
        for name, value in state.items():
            if value.shape != first[name].shape:
                raise ValueError(
                    f"states: {name} must have one shape, got {tuple(first[name].shape)} and"
                    f" {tuple(value.shape)}"
                )
            stacked[name][replica].copy_(value.detach())
    return stacked


def replica_state(state: Mapping[str, Tensor], replica: int) -> State:
    """Take one net's state_dict out of that of R replicas.

    Args:
        state: Tensors (R, ...) by name.
        replica: Which one, in 0..R-1.

    Returns:
        Copies of the replica's tensors by name.
    """
    for name, value in state.items():
        if not 0 <= replica < len(value):
            raise ValueError(f"replica must lie in 0..{len(value) - 1}, got {replica} for {name}")
    return {name: value[replica].clone() for name, value in state.items()}
