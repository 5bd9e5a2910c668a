"""Two digits in one latent digit: noticed by how often each latent digit is chosen, and parted.

A net that learns digits from comparisons alone may take two neighbours for one digit, and have a latent digit
that stands for nothing. It is then offered what it lacks: the idle latent digit becomes a noisy copy of the
crowded one, right behind it in the order, and the pairs of the two digits tell the copies apart.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor
from torch.nn import functional as F

from lightning_modules.replicas.layers import Linear

IDLE, CROWDED = 0.05, 0.15  # shares of the digits; a tenth is each one's due
FROM, TO = (
    0.4,
    0.75,
)  # share of training: before, digits are still found; after, copies would not part in time


def chosen(digits: Tensor) -> Tensor:
    """How often each latent digit is the likeliest.

    Args:
        digits: (N, R, 2, C), logits.

    Returns:
        (R, 2, C), of first digits and of second ones.
    """
    return F.one_hot(digits.argmax(-1), digits.shape[-1]).sum(0)


def part(order: Sequence[int], counts: NDArray[np.float64]) -> list[int]:
    """Give the place behind a crowded latent digit to its copy, if one is crowded and one idle.

    Args:
        order: Which latent digit stands at each place.
        counts: (C,), how often each latent digit was chosen.

    Returns:
        The order; if something is parted, one latent digit stands in two places in a row, another in none.
    """
    shares = counts / counts.sum()
    idle, crowded = int(shares.argmin()), int(shares.argmax())
    if not (shares[idle] < IDLE and shares[crowded] > CROWDED):
        return list(order)
    rest = [latent for latent in order if latent != idle]
    place = rest.index(crowded)
    return [*rest[:place], crowded, *rest[place:]]


def jitter_copies(layer: Linear, orders: Tensor, seeds: Sequence[int]) -> None:
    """Add to the weights of each copy as much noise as its initialisation had, so that copies can part.

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
