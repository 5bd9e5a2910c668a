"""Pooling against torch.nn's: which of equal numbers takes the gradient of a maximum, on real digits too."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scratch_twins import assert_gradients, assert_replicas, assert_twins, draw
from torch import nn

import scratch_framework as sf
from datamodules import DigitPairs


@settings(max_examples=40)
@given(
    lead=st.lists(st.integers(1, 3), min_size=1, max_size=2),
    kernel_size=st.integers(1, 4),
    stride=st.none() | st.integers(1, 5) | st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.integers(0, 2),
    dilation=st.integers(1, 2),
    more=st.tuples(st.integers(0, 5), st.integers(0, 5)),
    levels=st.integers(1, 50),
    seed=st.integers(0, 99),
)
def test_output_and_gradient_of_any_pooling_are_what_torch_finds_ties_included(
    lead: list[int],
    kernel_size: int,
    stride: Any,
    padding: int,
    dilation: int,
    more: tuple[int, int],
    levels: int,
    seed: int,
) -> None:
    height, width = (dilation * (kernel_size - 1) + 1 + extra for extra in more)
    x = (draw(*lead, height, width, seed=seed) * levels).round() / levels  # few levels: many ties
    sizes = (kernel_size, stride, min(padding, kernel_size // 2), dilation)
    assert_twins(sf.MaxPool2d(*sizes), nn.MaxPool2d(*sizes), x)
    assert repr(sf.MaxPool2d(*sizes)) == repr(nn.MaxPool2d(*sizes))


@settings(max_examples=40)
@given(
    kernel_size=st.tuples(st.integers(2, 4), st.integers(2, 4)),
    stride=st.none() | st.integers(1, 3),
    padding=st.sampled_from([0, 1, (1, 0)]),
    counted=st.booleans(),
    divisor=st.none() | st.integers(1, 5),
)
def test_average_pooling_is_torchs(
    kernel_size: tuple[int, int], stride: int | None, padding: Any, counted: bool, divisor: int | None
) -> None:
    options: dict[str, Any] = {"count_include_pad": counted, "divisor_override": divisor}
    ours = sf.AvgPool2d(kernel_size, stride, padding, **options)
    theirs = nn.AvgPool2d(kernel_size, stride, padding, **options)
    assert_twins(ours, theirs, draw(2, 3, 6, 7))
    assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("size", [1, 3, 7, (2, None), (None, 9)])
def test_adaptive_pooling_is_torchs_for_any_size_of_image(size: Any) -> None:
    for shape in ((2, 3, 5, 6), (3, 7, 4), (2, 2, 9, 9)):
        assert_twins(sf.AdaptiveAvgPool2d(size), nn.AdaptiveAvgPool2d(size), draw(*shape))


def test_the_gradient_of_pooling_is_what_finite_differences_find() -> None:
    assert_gradients(sf.MaxPool2d(2), draw(2, 3, 4, 5))
    assert_gradients(sf.MaxPool2d(3, 1), draw(2, 5, 5))
    assert_gradients(sf.MaxPool2d((3, 2), 2, 1), draw(2, 5, 5))
    assert_gradients(sf.AvgPool2d((3, 2), 2, 1, count_include_pad=False), draw(2, 5, 5))
    assert_gradients(sf.AdaptiveAvgPool2d((2, 3)), draw(2, 5, 4))


def test_a_replica_is_pooled_as_alone() -> None:
    assert_replicas(lambda replicas: sf.MaxPool2d(2), draw(3, 4, 2, 6, 6))
    assert_replicas(lambda replicas: sf.AvgPool2d(2), draw(3, 4, 2, 6, 6))
    assert_replicas(lambda replicas: sf.AdaptiveAvgPool2d(2), draw(3, 4, 2, 6, 5))


@pytest.mark.parametrize("kernel_size", [2, 3])
def test_on_real_digits_whose_black_background_ties_the_first_maximum_takes_the_gradient(
    kernel_size: int,
) -> None:
    data = DigitPairs(train_pairs=100)
    data.setup()
    images = next(iter(data.train_dataloader()))[0].double()
    ours, theirs = sf.MaxPool2d(kernel_size), nn.MaxPool2d(kernel_size)
    windows = images.unfold(2, kernel_size, kernel_size).unfold(3, kernel_size, kernel_size).flatten(-2)
    largest = windows.sort(-1).values[..., -2:]
    assert (largest[..., 0] == largest[..., 1]).double().mean() > 0.3  # of all windows
    assert_twins(ours, theirs, images)
    y = ours(images)
    grad_input = ours.backward(torch.ones_like(y))
    assert float(grad_input.sum()) == y.numel()  # of each gradient one share
