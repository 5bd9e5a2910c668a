"""Recover the order of the latent classes from training comparisons, and permute the output layer.

A net that learns digits from comparisons alone finds all ten, but may take two neighbours for each other, 6
for 7 say. That costs only the pairs (6, 7) and (7, 6), 2 % of all, and gradients cannot undo it: on the way
both digits would be blurred. So once an epoch the order is computed that agrees best with the labels of the
training pairs, and the rows of the last layer are put into it.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.optim import Optimizer

from lightning_modules.replicas.layers import Linear, wide


def cooccurrence(digits: Tensor, target: Tensor) -> Tensor:
    """How often two latent classes come together in a pair, by the pair's label (soft counts).

    Args:
        digits: (V * N, R, 2, C), logits of V views of N pairs.
        target: (N, R), 1 where first <= second.

    Returns:
        (R, 2, C, C), at (label, i, j) the sum over pairs with this label of P(first is i) P(second is j);
        in float32 at least.
    """
    first, second = wide(digits).softmax(-1).permute(2, 1, 0, 3)  # (R, V * N, C)
    at_most = target.repeat(len(digits) // len(target), 1).T.unsqueeze(-1).to(first.dtype)  # (R, V * N, 1)
    with torch.autocast(digits.device.type, enabled=False):  # it would multiply and add up in half precision
        labels = [(first * share).transpose(1, 2) @ second for share in (1 - at_most, at_most)]
    return torch.stack(labels, 1)


def shared_order(pairs: NDArray[np.float64]) -> list[int]:
    """The order in which one trunk's latent classes stand.

    Args:
        pairs: (2, C, C), of one replica, as `cooccurrence` gives it.

    Returns:
        Which latent class stands at each place.
    """
    greater, at_most = pairs
    return best_order(at_most + greater.T)


def separate_orders(pairs: NDArray[np.float64]) -> list[list[int]]:
    """The orders in which the latent classes of two trunks stand, each beside the other's.

    Given the order of the second trunk, the worth of a place for a class of the first depends on no other
    class: the best places are a matching. So the two orders are matched in turn until neither changes. That
    is done from two starts, the order at hand and the order by how often a class came with "first <= second";
    the better end is taken.

    Args:
        pairs: (2, C, C), of one replica, as `cooccurrence` gives it.

    Returns:
        Which latent class of the first trunk stands at each place, and which of the second.
    """
    often = pairs[1].sum(0) / pairs.sum((0, 1)).clip(
        1e-9
    )  # of the second trunk's: larger digits come more often
    ends = [_match_in_turn(pairs, start) for start in (list(range(len(often))), np.argsort(often).tolist())]
    return max(ends, key=lambda orders: _agreement(pairs, *orders))


def _match_in_turn(pairs: NDArray[np.float64], second: list[int]) -> list[list[int]]:
    greater, at_most = pairs
    orders, agreement = [list[int](), second], -np.inf
    while True:
        # `at_most` counts where the second stands no earlier than the first, `greater` where it does
        later = at_most[:, second][:, ::-1].cumsum(1)[:, ::-1]  # (C, place of the first)
        earlier = greater[:, second].cumsum(1) - greater[:, second]
        first = best_matching((later + earlier).T)
        earlier = at_most[first].cumsum(0)  # (place of the second, C)
        later = greater[first][::-1].cumsum(0)[::-1] - greater[first]
        second = best_matching(earlier + later)
        if _agreement(pairs, first, second) <= agreement:
            return orders
        orders, agreement = [first, second], _agreement(pairs, first, second)


def _agreement(pairs: NDArray[np.float64], first: list[int], second: list[int]) -> float:
    greater, at_most = pairs[:, first][:, :, second]
    return float(np.triu(at_most).sum() + np.tril(greater, -1).sum())


def best_order(weights: NDArray[np.float64]) -> list[int]:
    """The order of C things that agrees best with weights on which stands before which.

    Exact, by dynamic programming over all sets of things that may stand first (Held & Karp 1962): the best
    order of a set ends in some member, before which stands the best order of the rest.

    Args:
        weights: (C, C), at (i, j) the worth of i standing before j; C is small.

    Returns:
        The things, first to last, with the largest sum of weights.
    """
    count = len(weights)
    # worth[s, j]: of j behind all members of set s, whose bits say which they are
    worth = np.zeros((1 << count, count))
    for i in range(count):
        worth[1 << i : 2 << i] = worth[: 1 << i] + weights[i]
    sets, things = np.arange(1 << count), np.arange(count)
    is_member = (sets[:, None] >> things & 1).astype(bool)
    before = sets[:, None] ^ 1 << things  # the set without its member
    best, last = np.zeros(len(sets)), np.zeros(len(sets), int)
    for size in range(1, count + 1):
        own = is_member.sum(1) == size
        values = np.where(is_member[own], best[before[own]] + worth[before[own], things], -np.inf)
        best[own], last[own] = values.max(1), values.argmax(1)
    order, members = list[int](), len(sets) - 1
    while members:
        order.append(int(last[members]))
        members ^= 1 << order[-1]
    return order[::-1]


def best_matching(weights: NDArray[np.float64]) -> list[int]:
    """The one-to-one matching of rows to columns with the largest sum of weights.

    Args:
        weights: (C, C), finite.

    Returns:
        The column of each row.

    Raises:
        ValueError: A weight is not finite.
    """
    _, columns = linear_sum_assignment(weights, maximize=True)
    return [int(column) for column in columns]


def reorder(layer: Linear, optimizer: Optimizer, orders: Tensor) -> None:
    """Put the outputs of a layer into another order, and the optimiser's state of them too.

    Args:
        layer: R layers with C outputs each.
        optimizer: Of its parameters.
        orders: (R, C), which former output is to stand at each place.
    """
    replicas, count = orders.shape
    rows = (orders + count * torch.arange(replicas).unsqueeze(1)).flatten().to(layer.weight.device)
    with torch.no_grad():
        for parameter in layer.parameters():
            for value in (parameter, *optimizer.state[parameter].values()):
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    value.copy_(value[rows])
