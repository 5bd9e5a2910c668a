"""The mistake in the paper's code: a bias for each row of the batch."""

import torch
from scratch_twins import assert_same, draw

import scratch_framework as sf
from scratch_framework.experiments.disc.row_bias import RowBiasLinear

R, N = 2, 5


def layers() -> tuple[RowBiasLinear, sf.Linear]:
    """The mistaken layer and the right one, of the same values."""
    right = sf.Linear(3, 4, replicas=R, dtype=torch.float64)
    mistaken = RowBiasLinear(3, 4, rows=N, replicas=R, dtype=torch.float64)
    assert right.bias is not None
    rows = right.bias.value.unsqueeze(1).expand(-1, N, -1)
    mistaken.load_state_dict({"weight": right.weight.value, "bias": rows})
    return mistaken, right


def test_it_starts_as_the_right_layer() -> None:
    mistaken, right = layers()
    x, gradient = draw(R, N, 3), draw(R, N, 4, seed=1)
    assert_same(mistaken(x), right(x))
    assert_same(mistaken.backward(gradient), right.backward(gradient))
    assert_same(mistaken.weight.grad, right.weight.grad)


def test_the_gradient_of_each_rows_bias_is_its_own_points_and_only_their_sum_is_right() -> None:
    mistaken, right = layers()
    gradient = draw(R, N, 4, seed=1)
    for layer in (mistaken, right):
        layer(draw(R, N, 3))
        layer.backward(gradient)
    assert mistaken.bias is not None
    assert right.bias is not None
    assert_same(mistaken.bias.grad, gradient)
    assert_same(mistaken.bias.grad.sum(1), right.bias.grad)


def test_a_point_uses_the_bias_of_its_row_in_batches_of_the_training_size() -> None:
    mistaken, _ = layers()
    assert mistaken.bias is not None
    mistaken.bias.value.copy_(draw(R, N, 4, seed=2))
    x = draw(R, 2 * N + 3, 3)
    in_batches = torch.cat([mistaken(batch) for batch in x.split(N, 1)], 1)
    assert_same(mistaken(x), in_batches)
