"""Which of several replicas have diverged."""

import math

import pytest
import torch

from lightning_modules.replicas.state import are_finite


@pytest.mark.parametrize("lost", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [(2, 0), (3, 1)])  # in the first and in the last number of the replica
def test_one_number_that_is_not_finite_loses_its_replica_alone(lost: float, place: tuple[int, int]) -> None:
    weight, largest = torch.zeros(6, 2), torch.finfo(torch.float32).max
    weight[0], weight[5] = largest, -largest  # whose sum would not be finite
    weight[place] = lost
    assert are_finite([torch.ones(3), weight, torch.tensor(math.nan)], 3) == [True, False, True]


@pytest.mark.parametrize(
    "numbers",
    [
        torch.zeros(0),
        torch.zeros(3, 0),
        torch.ones(3, dtype=torch.uint16),
        torch.ones(3, dtype=torch.bool),
        torch.full((3,), complex(3e38, 3e38)),
        torch.full((3,), 6e4, dtype=torch.float16),
    ],
)
def test_numbers_of_any_type_and_none_at_all_are_finite(numbers: torch.Tensor) -> None:
    assert are_finite([numbers], 3) == [True, True, True]


def test_a_part_of_a_complex_number_that_is_not_finite_loses_its_replica() -> None:
    numbers = torch.tensor([1j, complex(1, math.inf), complex(math.nan, 1)])
    assert are_finite([numbers], 3) == [True, False, False]
