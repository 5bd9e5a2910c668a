"""Losses of views, latent digits and labels, by hand."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from lightning_modules import PlainCNN
from lightning_modules.models.losses import balance_loss, consistency_loss, cross_entropy
from lightning_modules.networks.pairs import Outputs

small = st.integers(1, 4)


@settings(max_examples=30)
@given(n=small, r=small, views=st.integers(1, 3), smoothing=st.sampled_from([0.0, 0.1]), seed=small)
def test_cross_entropy_is_the_mean_of_torchs_over_views(
    n: int, r: int, views: int, smoothing: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(views * n, r, 2, 10, generator=generator, dtype=torch.float64)
    target = torch.randint(10, (n, r, 2), generator=generator)
    ours = cross_entropy(logits, target, smoothing)
    assert ours.shape == target.shape
    for i, j, k in torch.cartesian_prod(torch.arange(n), torch.arange(r), torch.arange(2)).tolist():
        theirs = [
            F.cross_entropy(logits[v * n + i, j, k], target[i, j, k], label_smoothing=smoothing)
            for v in range(views)
        ]
        assert ours[i, j, k].item() == pytest.approx(torch.stack(theirs).mean().item())


def test_the_balance_loss_is_nothing_for_all_digits_and_log_ten_for_one() -> None:
    every, one = torch.eye(10).view(5, 2, 10) * 100, torch.eye(10)[:1].expand(5, 2, 10) * 100
    digits = torch.stack([every, one], 1)  # (5, 2, 2, 10)
    torch.testing.assert_close(balance_loss(digits), torch.tensor([0.0, math.log(10)]), atol=1e-5, rtol=0)


def test_two_uneven_sides_look_even_together_only_where_they_speak_one_language() -> None:
    low, high = torch.eye(10)[:5] * 100, torch.eye(10)[5:] * 100
    digits = torch.stack([low, high], 1).unsqueeze(1)  # (5, 1, 2, 10): five latent digits a side
    torch.testing.assert_close(balance_loss(digits), torch.tensor([0.0]), atol=1e-5, rtol=0)
    torch.testing.assert_close(balance_loss(digits, False), torch.tensor([math.log(2)]), atol=1e-5, rtol=0)
    even = (torch.eye(10) * 100).unsqueeze(1).unsqueeze(1).expand(10, 1, 2, 10)
    torch.testing.assert_close(balance_loss(even, False), torch.tensor([0.0]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("swap", [True, False])
def test_trunks_that_are_not_swapped_are_balanced_each_by_itself(swap: bool) -> None:
    settings: dict[str, Any] = {"trunk": "modern", "width": 4, "head": "exact", "branches": "separate"}
    module = PlainCNN(**settings, swap_trunks=swap, balance=2.0)
    digits = torch.randn(20, 1, 2, 10, generator=torch.Generator().manual_seed(0))
    outputs = Outputs(digits.new_zeros(20, 1, 2), digits)
    torch.testing.assert_close(module.regulariser(outputs, 1), 2 * balance_loss(digits, swap))


def test_the_consistency_loss_is_least_where_two_sure_views_agree() -> None:
    sure, other = torch.eye(10)[None, None, :2] * 20, torch.eye(10)[None, None, 2:4] * 20  # (1, 1, 2, 10)
    agree, differ = consistency_loss(torch.cat([sure, sure])), consistency_loss(torch.cat([sure, other]))
    assert agree.item() == pytest.approx(0, abs=1e-4)
    assert differ.item() == pytest.approx(20, rel=1e-3)


def test_gradients_of_the_latent_losses_are_those_of_finite_differences() -> None:
    digits = torch.randn(4, 2, 2, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(balance_loss, (digits,))
    assert torch.autograd.gradcheck(consistency_loss, (digits,))
