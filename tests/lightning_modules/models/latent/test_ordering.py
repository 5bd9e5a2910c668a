"""The order of latent digits is the best one, and putting them into it changes nothing else."""

from itertools import pairwise, permutations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import one_hot

from datamodules import DigitPairs
from lightning_modules.models.latent.ordering import (
    best_matching,
    best_order,
    cooccurrence,
    reorder,
    separate_orders,
    shared_order,
)
from lightning_modules.replicas.layers import Linear


def agreement(weights: np.ndarray, order: tuple[int, ...] | list[int]) -> float:
    return sum(weights[order[a], order[b]] for a in range(len(order)) for b in range(a + 1, len(order)))


@settings(max_examples=40)
@given(count=st.integers(1, 6), seed=st.integers(0, 1000))
def test_no_order_of_all_agrees_better(count: int, seed: int) -> None:
    weights = np.random.default_rng(seed).random((count, count))
    best = max(agreement(weights, order) for order in permutations(range(count)))
    found = best_order(weights)
    assert sorted(found) == list(range(count))
    assert agreement(weights, found) == best


@settings(max_examples=30)
@given(count=st.integers(1, 6), seed=st.integers(0, 1000))
def test_no_matching_of_all_weighs_more(count: int, seed: int) -> None:
    weights = np.random.default_rng(seed).integers(0, 50, (count, count)).astype(float)
    columns = best_matching(weights)
    assert sorted(columns) == list(range(count))
    best = max(weights[range(count), matching].sum() for matching in permutations(range(count)))
    assert weights[range(count), columns].sum() == best


def real_answers(branches: int) -> tuple[Tensor, Tensor]:
    """Evidence of real pairs whose latent digits are the digits, permuted for each replica and branch."""
    data = DigitPairs(seed=[0, 1], train_pairs=1000, batch_size=1000)
    data.setup()
    ((_, target, classes),) = data.train_dataloader()
    generator = torch.Generator().manual_seed(0)
    permuted = torch.stack([torch.randperm(10, generator=generator) for _ in range(2 * branches)])
    permuted = permuted.view(2, branches, 10).expand(2, 2, 10)  # (R, 2, 10)
    latent = permuted.expand(1000, 2, 2, 10).gather(-1, classes.unsqueeze(-1)).squeeze(-1)
    return cooccurrence(one_hot(latent, 10).double() * 50, target), permuted


def test_answers_of_real_pairs_undo_any_permutation_of_the_digits() -> None:
    met, permuted = real_answers(branches=1)
    assert [shared_order(replica.numpy()) for replica in met] == permuted[:, 0].tolist()


def test_two_trunks_orders_agree_with_nearly_all_answers_whatever_they_were() -> None:
    """With separate trunks either may rest in a local optimum; from real answers it is the digits' order."""
    met, permuted = real_answers(branches=2)
    for replica, own in zip(met, permuted, strict=True):
        assert torch.tensor(separate_orders(replica.numpy())).tolist() == own.tolist()


def test_several_views_add_up() -> None:
    digits, target = torch.randn(6, 2, 2, 10), torch.randint(2, (3, 2))
    parts = cooccurrence(digits[:3], target) + cooccurrence(digits[3:], target)
    torch.testing.assert_close(cooccurrence(digits, target), parts)


def test_reordering_moves_a_replicas_outputs_and_what_the_optimiser_remembers_of_them() -> None:
    torch.manual_seed(0)
    layer = Linear(4, 3, 2)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    optimizer = torch.optim.AdamW(layer.parameters())
    x = torch.randn(5, 8)
    layer(x).square().sum().backward()
    optimizer.step()
    before, orders = layer(x).unflatten(1, (2, 3)), torch.tensor([[2, 0, 1], [0, 1, 2]])
    moments = optimizer.state[layer.weight]["exp_avg"].clone().view(2, 3, 4)
    reorder(layer, optimizer, orders)
    after, moved = layer(x).unflatten(1, (2, 3)), optimizer.state[layer.weight]["exp_avg"].view(2, 3, 4)
    for r, order in enumerate(orders):
        torch.testing.assert_close(after[:, r], before[:, r, order])
        assert torch.equal(moved[r], moments[r, order])


def test_worked_example_a_chain_is_read_in_its_direction() -> None:
    weights = np.zeros((4, 4))
    for before, after in pairwise([2, 0, 3, 1]):
        weights[before, after] = 1
    assert best_order(weights) == [2, 0, 3, 1]
