"""Dropout: its rate, its scale, its mask on the way back, and torch's very draws."""

import pytest
import torch
from scratch_twins import assert_same, draw
from torch import Generator, nn

from scratch_framework import Dropout
from scratch_framework.images.dropout import decide


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_dropout_drops_its_share_and_scales_the_rest(p: float) -> None:
    count = 100_000
    y = Dropout(p, generator=Generator().manual_seed(0))(torch.ones(count, dtype=torch.float64))
    kept = y[y != 0]
    assert abs(len(kept) / count - (1 - p)) < 5 * (p * (1 - p) / count) ** 0.5
    assert_same(kept, torch.full_like(kept, 1 / (1 - p)))


def test_the_gradient_passes_through_the_mask_of_the_forward_pass() -> None:
    layer = Dropout(0.4, generator=Generator().manual_seed(0))
    x, grad = draw(50, 20), draw(50, 20, seed=1)
    mask = layer(x) / x
    assert_same(layer.backward(grad), grad * mask)


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_dropout_draws_what_torch_draws_from_the_same_seed(p: float) -> None:
    x = draw(40, 30)
    torch.manual_seed(3)
    theirs = nn.Dropout(p)(x)
    torch.manual_seed(3)
    assert_same(Dropout(p)(x), theirs)


def test_evaluation_lets_everything_through_both_ways() -> None:
    layer = Dropout(0.9).eval()
    x, grad = draw(5, 3), draw(5, 3, seed=1)
    assert torch.equal(layer(x), x)
    layer.train()  # the way back belongs to the forward pass, not to the mode of the moment
    assert torch.equal(layer.backward(grad), grad)


def test_a_generator_repeats_the_draws() -> None:
    x = draw(30, 30)
    first, second = (Dropout(0.5, generator=Generator().manual_seed(7))(x) for _ in range(2))
    assert torch.equal(first, second)


def test_with_a_generator_for_each_replica_each_drops_its_share_and_what_it_drops_alone() -> None:
    x = torch.ones(3, 200, 100, dtype=torch.float64)
    y = Dropout(0.3, generator=[Generator().manual_seed(seed) for seed in (5, 6, 5)])(x)
    alone = Dropout(0.3, generator=[Generator().manual_seed(6)])(x[1:2])
    assert torch.equal(y[1:2], alone)
    assert torch.equal(y[0], y[2])
    assert not torch.equal(y[0], y[1])
    assert abs(float((y != 0).double().mean()) - 0.7) < 0.01
    assert_same(y[y != 0], torch.full_like(y[y != 0], 1 / 0.7))


@pytest.mark.parametrize("share", [0.0, 0.2, 0.7, 1.0])
def test_both_decisions_of_a_draw_have_their_share_and_owe_nothing_to_each_other(share: float) -> None:
    count = 200_000
    ones = decide(torch.ones(1, count), share, [Generator().manual_seed(0)]).view(-1, 2).double()
    assert set(ones.unique().tolist()) <= {0.0, 1.0}
    spread = (share * (1 - share) / len(ones)) ** 0.5
    assert ((ones.mean(0) - share).abs() <= 5 * spread).all()
    assert abs(float((ones[:, 0] * ones[:, 1]).mean()) - share**2) <= 5 * spread


def test_decisions_lie_in_memory_as_what_they_are_for_and_an_odd_number_of_them_is_no_matter() -> None:
    x = torch.ones(3, 7, 5, 3).movedim(1, -1)
    ones = decide(x, 0.5, [Generator().manual_seed(seed) for seed in range(3)])
    alone = decide(x[1:2], 0.5, [Generator().manual_seed(1)])
    assert ones.stride()[1:] == x.stride()[1:]
    assert torch.equal(ones[1:2], alone)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_all_types_get_the_decisions_of_float32_and_the_number_in_place_of_a_one(dtype: torch.dtype) -> None:
    for one in (1.0, 1 / 0.7):
        single, other = (
            decide(torch.ones(2, 31, dtype=kind), 0.7, [Generator().manual_seed(k) for k in (3, 4)], one)
            for kind in (torch.float32, dtype)
        )
        assert set(single.unique().tolist()) == {0.0, torch.tensor(one).item()}
        assert (single.dtype, other.dtype) == (torch.float32, dtype)
        assert torch.equal(single.to(dtype), other.to(torch.float32).to(dtype))
