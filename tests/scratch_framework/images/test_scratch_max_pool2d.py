"""Max pooling against torch.nn.MaxPool2d: which of equal numbers takes the gradient, on real digits too."""

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
    stride=st.none() | st.integers(1, 5),
    more=st.tuples(st.integers(0, 5), st.integers(0, 5)),
    levels=st.integers(1, 50),
    seed=st.integers(0, 99),
)
def test_output_and_gradient_of_any_pooling_are_what_torch_finds_ties_included(
    lead: list[int], kernel_size: int, stride: int | None, more: tuple[int, int], levels: int, seed: int
) -> None:
    height, width = (kernel_size + extra for extra in more)
    x = (draw(*lead, height, width, seed=seed) * levels).round() / levels  # few levels: many ties
    assert_twins(sf.MaxPool2d(kernel_size, stride), nn.MaxPool2d(kernel_size, stride), x)


def test_the_gradient_of_pooling_is_what_finite_differences_find() -> None:
    assert_gradients(sf.MaxPool2d(2), draw(2, 3, 4, 5))
    assert_gradients(sf.MaxPool2d(3, 1), draw(2, 5, 5))


def test_a_replica_is_pooled_as_alone() -> None:
    assert_replicas(lambda replicas: sf.MaxPool2d(2), draw(3, 4, 2, 6, 6))


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
