"""Replicas: R nets of one structure trained as one, for the price of little more than one.

A small net spends its time on the overhead of each operation, not on arithmetic. So all R nets go through the
same operations: every tensor gains a leading dimension R, a linear layer is one batched product, and
activations stay as they are. No operation mixes replicas, each has its own loss, and the optimisers take a
rate for each. So replica k is the net that would have been trained alone. The two functions below turn the
state_dicts of R nets into that of R replicas, and back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scratch_framework.core.annotations import is_whole
from scratch_framework.core.argument_types import check_tensors, first_line
from scratch_framework.core.checks import check_names

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
    if not isinstance(states, (list, tuple)):
        raise ValueError(f"states must be a list of state_dicts, got {first_line(states)}")
    if not states:
        raise ValueError("states must hold at least one state_dict, got none")
    for state in states:
        check_names("each of the states", state)
        check_tensors("stack_states", **state)
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
    check_names("state", state)
    check_tensors("replica_state", **state)
    if not is_whole(replica):
        raise ValueError(f"replica must be a whole number, got {first_line(replica)}")
    for name, value in state.items():
        if not value.dim():
            raise ValueError(f"state must hold tensors (R, ...), got a single number for {name}")
        if not 0 <= replica < len(value):
            raise ValueError(f"replica must lie in 0..{len(value) - 1}, got {replica} for {name}")
    return {name: value[replica].clone() for name, value in state.items()}
