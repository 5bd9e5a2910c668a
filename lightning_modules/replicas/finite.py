"""Which replicas diverged: they have numbers that are not finite."""

from collections.abc import Iterable

import torch
from torch import Tensor


def are_finite(tensors: Iterable[Tensor], replicas: int) -> list[bool]:
    """Which replicas have no infinite number, and no NaN.

    Args:
        tensors: Each (R * ..., ...), the numbers of one replica after those of the other; or a counter.
        replicas: Their number R.

    Returns:
        R answers.
    """
    parts = [tensor.detach().reshape(replicas, -1) for tensor in tensors if tensor.dim()]
    finite = [part.isfinite().all(1) for part in parts]
    return torch.stack(finite).all(0).tolist()
