"""The gradient of a broadcast tensor is the sum over its copies, as autograd finds it."""

import pytest
from scratch_twins import assert_same, draw

from scratch_framework.core.broadcasting import append_dimensions, unbroadcast

SHAPES: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((), (3, 4)),
    ((4,), (2, 3, 4)),
    ((3, 1), (3, 4)),
    ((1, 4), (2, 3, 4)),
    ((2, 1, 5, 1), (2, 3, 5, 4)),
    ((3, 4), (3, 4)),
    ((1, 1), (1, 1)),
]


@pytest.mark.parametrize(("small", "large"), SHAPES)
def test_the_gradient_of_a_copy_is_the_sum_that_autograd_finds(
    small: tuple[int, ...], large: tuple[int, ...]
) -> None:
    original, grad = draw(*small).requires_grad_(), draw(*large, seed=1)
    original.expand(large).backward(grad)
    assert original.grad is not None
    assert_same(unbroadcast(grad, small), original.grad)


def test_a_rate_for_each_replica_broadcasts_over_what_belongs_to_the_replica() -> None:
    assert append_dimensions(draw(3), 4).shape == (3, 1, 1, 1)
