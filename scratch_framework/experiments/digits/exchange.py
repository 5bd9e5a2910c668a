"""Weights between the framework and `lightning_modules`: (R, ...) by name here, R blocks in a row there.

With one net on either side nothing is needed: names and shapes are the same, `load_state_dict` takes both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import scratch_framework as sf
from lightning_modules.replicas.state import export_replica, join_replicas

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from scratch_framework.core.parameter import State


def from_lightning(state: Mapping[str, Tensor], replicas: int) -> State:
    """Take over the weights of R nets of `lightning_modules.networks`.

    Args:
        state: Their state_dict.
        replicas: Their number R.

    Returns:
        A state_dict for R nets of `networks`.
    """
    return sf.stack_states([export_replica(dict(state), k, replicas) for k in range(replicas)])


def to_lightning(state: Mapping[str, Tensor], replicas: int) -> State:
    """Give the weights of R nets to `lightning_modules.networks`.

    Args:
        state: The state_dict of R nets of `networks`.
        replicas: Their number R.

    Returns:
        A state_dict for R nets there.
    """
    return join_replicas([sf.replica_state(state, k) for k in range(replicas)])
