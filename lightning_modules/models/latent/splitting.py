"""Detect a latent class that stands for two digits, and split it.

A net that learns digits from comparisons alone may take two neighbours for one digit, and leave another
latent class idle. Then the idle class becomes a noisy copy of the crowded one, right behind it in the order,
and the pairs of the two digits tell the copies apart.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor
from torch.nn import functional as F

from lightning_modules.replicas.layers import Linear

IDLE, CROWDED = 0.05, 0.15  # shares of the digits that a class is the likeliest of; a tenth is due
# Shares of training: before, classes still find their digits; after, copies would not differ in time.
FROM, TO = 0.4, 0.75


def argmax_counts(digits: Tensor) -> Tensor:
    """How often each latent class is the likeliest.

    Args:
        digits: (N, R, 2, C), logits.

    Returns:
        (R, 2, C), of first digits and of second ones.
    """
    return F.one_hot(digits.argmax(-1), digits.shape[-1]).sum(0)


def split_merged_class(order: Sequence[int], counts: NDArray[np.float64]) -> list[int]:
    """Give the place behind a crowded class to its copy, if one class is crowded and another idle.

    Args:
        order: Which class stands at each place.
        counts: (C,), how often each class was the likeliest.

    Returns:
        The order; after a split one class stands in two places in a row, another in none.
    """
    shares = counts / counts.sum()
    idle, crowded = int(shares.argmin()), int(shares.argmax())
    if not (shares[idle] < IDLE and shares[crowded] > CROWDED):
        return list(order)
    rest = [latent for latent in order if latent != idle]
    place = rest.index(crowded)
    return [*rest[:place], crowded, *rest[place:]]


def jitter_copies(layer: Linear, orders: Tensor, seeds: Sequence[int]) -> None:
    """Add to the weights of each copy as much noise as its initialisation had, so that copies can differ.

    Args:
        layer: R layers with C outputs each, in the orders that follow.
        orders: (R, C), which former output stands at each place; equal neighbours are copies.
        seeds: R seeds of the noise.
    """
    bound = 1 / math.sqrt(layer.in_features)
    weights = layer.weight.detach().view(*orders.shape, -1)  # (R, C, F)
    for replica, place in (orders[:, 1:] == orders[:, :-1]).nonzero().tolist():
        noise = torch.empty(layer.in_features, dtype=torch.float64)
        noise.uniform_(-bound, bound, generator=Generator().manual_seed(seeds[replica]))
        weights[replica, place + 1] += noise.to(weights)
