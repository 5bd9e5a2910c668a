"""Losses of views, latent digits and labels, by hand."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from lightning_modules.losses import cross_entropy, disagreement, unevenness

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


def test_unevenness_is_nothing_for_all_digits_and_log_ten_for_one() -> None:
    every, one = torch.eye(10).view(5, 2, 10) * 100, torch.eye(10)[:1].expand(5, 2, 10) * 100
    digits = torch.stack([every, one], 1)  # (5, 2, 2, 10)
    torch.testing.assert_close(unevenness(digits), torch.tensor([0.0, math.log(10)]), atol=1e-5, rtol=0)


def test_disagreement_is_least_where_two_sure_views_agree() -> None:
    sure, other = torch.eye(10)[None, None, :2] * 20, torch.eye(10)[None, None, 2:4] * 20  # (1, 1, 2, 10)
    agree, differ = disagreement(torch.cat([sure, sure])), disagreement(torch.cat([sure, other]))
    assert agree.item() == pytest.approx(0, abs=1e-4)
    assert differ.item() == pytest.approx(20, rel=1e-3)


def test_gradients_of_the_latent_losses_are_those_of_finite_differences() -> None:
    digits = torch.randn(4, 2, 2, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(unevenness, (digits,))
    assert torch.autograd.gradcheck(disagreement, (digits,))
