"""Merged latent digits are noticed and parted; what is whole is left alone."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import one_hot

from datamodules import DigitPairs
from lightning_modules.models.latent.alignment import LatentAlignment
from lightning_modules.models.latent.splitting import (
    CROWDED,
    IDLE,
    argmax_counts,
    jitter_copies,
    split_merged_class,
)
from lightning_modules.replicas.layers import Linear


def real_latent_digits(merged: dict[int, int]) -> tuple[Tensor, Tensor]:
    """Logits of real pairs' digits (N, R, 2, 10), those of one replica read as others, and the answers."""
    data = DigitPairs(seed=[0, 1], train_pairs=1000, batch_size=1000)
    data.setup()
    ((_, target, classes),) = data.train_dataloader()
    read = torch.arange(10)
    for digit, other in merged.items():
        read[digit] = other
    latent = torch.stack([classes[:, 0], read[classes[:, 1]]], 1)
    return one_hot(latent, 10).double() * 50, target


def test_the_likeliest_latent_digits_of_first_and_second_digits_are_counted() -> None:
    digits = one_hot(torch.tensor([[[1, 2]], [[1, 0]]]), 3).float()  # two pairs, one replica
    assert argmax_counts(digits).tolist() == [[[0, 2, 0], [1, 0, 1]]]


@given(order=st.permutations(range(10)), counts=st.lists(st.integers(1, 1000), min_size=10, max_size=10))
def test_an_order_is_left_alone_or_one_latent_digit_takes_anothers_place(
    order: list[int], counts: list[int]
) -> None:
    found, shares = split_merged_class(order, np.array(counts, float)), np.array(counts) / sum(counts)
    if min(shares) >= IDLE or max(shares) <= CROWDED:
        assert found == order
        return
    idle, crowded = int(shares.argmin()), int(shares.argmax())
    place = found.index(crowded)
    assert found[place + 1] == crowded
    assert found[:place] + found[place + 1 :] == [latent for latent in order if latent != idle]


@pytest.mark.parametrize(("idle", "crowded"), [(0.049, 0.149), (0.051, 0.3)])
def test_both_an_idle_and_a_crowded_latent_digit_are_needed(idle: float, crowded: float) -> None:
    counts = np.array([idle, crowded, *[(1 - idle - crowded) / 8] * 8])
    assert split_merged_class(range(10), counts) == list(range(10))


def test_only_copies_get_noise_and_each_replica_its_own() -> None:
    layer = Linear(50, 4, 3).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    before = layer.weight.detach().clone().view(3, 4, 50)
    orders = torch.tensor([[0, 1, 1, 2], [3, 2, 1, 0], [3, 3, 1, 0]])
    jitter_copies(layer, orders, [5, 6, 7])
    noise = layer.weight.detach().view(3, 4, 50) - before
    moved = noise.abs().amax(-1) > 0
    assert moved.nonzero().tolist() == [[0, 2], [2, 1]]
    assert noise.abs().max() <= 1 / 50**0.5
    assert not torch.equal(noise[0, 2], noise[2, 1])


@pytest.mark.parametrize("sides", [1, 2], ids=["one trunk", "two trunks that take turns"])
@pytest.mark.parametrize("parting", [None, "parting 12"])
def test_a_merged_digit_is_parted_by_real_pairs_where_that_is_asked_for(
    parting: str | None, sides: int
) -> None:
    """Replica 1 reads 6 as 5, and nothing as 6: 6 becomes a copy of 5."""
    torch.manual_seed(0)
    layer = Linear(8, 10, 2 * sides).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    assert layer.bias is not None
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.randn(5, 16 * sides).double()).square().sum().backward()
    optimizer.step()
    weights, bias = layer.weight.detach().clone().view(2, sides, 10, 8), layer.bias.detach().clone()
    moments = optimizer.state[layer.weight]["exp_avg"].clone().view(2, sides, 10, 8)
    alignment = LatentAlignment([0, 1], one_order=True)
    alignment.observe(*real_latent_digits({6: 5}))
    alignment.align(layer, optimizer, lambda record: record, parting)
    after = layer.weight.detach().view(2, sides, 10, 8)
    assert torch.equal(after[0], weights[0])
    if parting is None:
        assert sorted(after[1, 0].tolist()) == sorted(weights[1, 0].tolist())
        return
    expected = [0, 1, 2, 3, 4, 5, 5, 7, 8, 9]
    copy = expected.index(5) + 1
    others = [place for place in range(10) if place != copy]
    assert torch.equal(after[1][:, others], weights[1][:, [expected[place] for place in others]])
    assert 0 < (after[1, :, copy] - weights[1, :, 5]).abs().max() <= 1 / 8**0.5
    assert torch.equal(layer.bias.view(2, sides, 10)[1], bias.view(2, sides, 10)[1][:, expected])
    assert torch.equal(
        optimizer.state[layer.weight]["exp_avg"].view(2, sides, 10, 8)[1], moments[1][:, expected]
    )


@settings(max_examples=5)
@given(cut=st.integers(1, 999))
def test_statistics_are_the_same_in_any_batches_and_gone_after_the_alignment(cut: int) -> None:
    digits, target = real_latent_digits({})
    whole, halves = LatentAlignment([0, 1], True), LatentAlignment([0, 1], True)
    whole.observe(digits, target)
    halves.observe(digits[:cut], target[:cut])
    halves.observe(digits[cut:], target[cut:])
    assert whole.cooccurrence is not None
    assert halves.cooccurrence is not None
    assert whole.counts is not None
    assert halves.counts is not None
    torch.testing.assert_close(whole.cooccurrence, halves.cooccurrence)
    assert torch.equal(whole.counts, halves.counts)
    layer = Linear(8, 10, 2)
    torch.nn.init.zeros_(layer.weight)
    halves.align(layer, torch.optim.AdamW(layer.parameters()), lambda record: record, None)
    assert halves.cooccurrence is None
