"""Batch normalisation against torch.nn's, in training and evaluation, and against finite differences."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scratch_twins import assert_gradients, assert_replicas, assert_same, assert_twins, draw
from torch import nn

import scratch_framework as sf

F64 = torch.float64
KINDS: list[tuple[Callable[..., Any], Callable[..., Any], tuple[int, ...]]] = [
    (sf.BatchNorm1d, nn.BatchNorm1d, ()),
    (sf.BatchNorm1d, nn.BatchNorm1d, (4,)),
    (sf.BatchNorm2d, nn.BatchNorm2d, (3, 2)),
]
CASES = pytest.mark.parametrize(("kind", "torch_kind", "inner"), KINDS)


def twins(kind: Callable[..., Any], torch_kind: Callable[..., Any], **options: float) -> tuple[Any, Any]:
    """Ours and torch's with the same scale and shift, neither of them trivial."""
    ours, theirs = kind(3, **options, dtype=F64), torch_kind(3, **options, dtype=F64)
    for parameter in ours.parameters():
        parameter.value.copy_(draw(3, seed=7))
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@CASES
@settings(max_examples=15)
@given(
    points=st.integers(2, 6),
    scale=st.floats(0.01, 100),
    shift=st.floats(-100, 100),
    eps=st.floats(1e-6, 1),
    momentum=st.floats(0, 1),
)
def test_in_training_and_then_in_evaluation_all_is_what_torch_finds(
    kind: Callable[..., Any],
    torch_kind: Callable[..., Any],
    inner: tuple[int, ...],
    points: int,
    scale: float,
    shift: float,
    eps: float,
    momentum: float,
) -> None:
    ours, theirs = twins(kind, torch_kind, eps=eps, momentum=momentum)
    for seed in range(3):  # running statistics gather
        assert_twins(ours, theirs, shift + scale * draw(points, 3, *inner, seed=seed), 1e-10)
    ours.eval()
    theirs.eval()
    assert_twins(ours, theirs, shift + scale * draw(1, 3, *inner, seed=9), 1e-10)
    assert int(ours.num_batches_tracked.value) == 3


@CASES
def test_of_ordinary_numbers_it_is_torchs_to_the_twelfth_digit(
    kind: Callable[..., Any], torch_kind: Callable[..., Any], inner: tuple[int, ...]
) -> None:
    ours, theirs = twins(kind, torch_kind)
    for seed in range(3):
        assert_twins(ours, theirs, draw(50, 3, *inner, seed=seed))


@CASES
@pytest.mark.parametrize("train", [True, False])
def test_the_gradients_of_batch_norm_are_what_finite_differences_find(
    kind: Callable[..., Any], torch_kind: Callable[..., Any], inner: tuple[int, ...], train: bool
) -> None:
    ours, _ = twins(kind, torch_kind)
    assert_gradients(ours.train(train), draw(4, 3, *inner), 1e-7)
    together = kind(3, replicas=2, dtype=F64).train(train)
    assert_gradients(together, draw(2, 4, 3, *inner), 1e-7)


@CASES
@pytest.mark.parametrize("train", [True, False])
def test_a_replica_is_normalised_as_alone(
    kind: Callable[..., Any], torch_kind: Callable[..., Any], inner: tuple[int, ...], train: bool
) -> None:
    make = partial(kind, 3, dtype=F64)
    assert_replicas(lambda replicas: make(replicas=replicas).train(train), draw(4, 5, 3, *inner))


@CASES
@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {"affine": False},
        {"bias": False},
        {"momentum": None},
        {"track_running_stats": False},
        {"affine": False, "track_running_stats": False},
    ],
)
def test_without_scale_shift_momentum_or_statistics_it_is_torchs(
    kind: Callable[..., Any],
    torch_kind: Callable[..., Any],
    inner: tuple[int, ...],
    train: bool,
    options: dict[str, Any],
) -> None:
    ours, theirs = kind(3, **options, dtype=F64), torch_kind(3, **options, dtype=F64)
    for seed in range(3):
        assert_twins(ours, theirs, draw(4, 3, *inner, seed=seed))
    ours.train(train)
    theirs.train(train)
    assert_twins(ours, theirs, draw(4, 3, *inner, seed=9))
    if train:
        assert_twins(ours, theirs, draw(0, 3, *inner))  # an empty batch
    ours.zero_grad()
    assert_gradients(ours, draw(4, 3, *inner), 1e-7)
    make = partial(kind, 3, **options, dtype=F64)
    assert_replicas(lambda replicas: make(replicas=replicas).train(train), draw(4, 5, 3, *inner))


def test_the_way_back_belongs_to_the_forward_pass_not_to_the_mode_of_the_moment() -> None:
    ours, theirs = twins(sf.BatchNorm1d, nn.BatchNorm1d)
    x, grad = draw(6, 3), draw(6, 3, seed=1)
    leaf = x.clone().requires_grad_()
    theirs(leaf).backward(grad)
    ours(x)
    ours.eval()
    assert leaf.grad is not None
    assert_same(ours.backward(grad), leaf.grad)


def test_optimisers_see_scale_and_shift_and_not_the_running_statistics() -> None:
    layer = sf.BatchNorm1d(3, dtype=F64)
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
    assert list(layer.state_dict()) == list(nn.BatchNorm1d(3).state_dict())
    layer(draw(5, 3))
    assert layer.running_mean is not None
    before = layer.running_mean.value.clone()
    assert before.any()
    layer.zero_grad()
    assert torch.equal(layer.running_mean.value, before)


@pytest.mark.parametrize(
    ("dtype", "atol"), [(torch.float32, 1e-4), (torch.float16, 0.02), (torch.bfloat16, 0.1)]
)
def test_many_numbers_of_a_narrow_type_have_a_mean_and_a_constant_feature_becomes_zero(
    dtype: torch.dtype, atol: float
) -> None:
    constant, drawn = torch.ones(64, 40, 40), draw(64, 40, 40).float() + 10  # float16 ends at 65504
    x, ours = torch.stack([constant, drawn], 1).to(dtype), sf.BatchNorm2d(2, dtype=dtype)
    y = ours(x)
    assert torch.equal(y[:, 0], torch.zeros_like(constant, dtype=dtype))
    expected = nn.BatchNorm2d(2, dtype=F64)(x.double()).detach()
    torch.testing.assert_close(y.double(), expected, rtol=0, atol=atol)
    assert all(value.isfinite().all() for value in ours.state_dict().values())
