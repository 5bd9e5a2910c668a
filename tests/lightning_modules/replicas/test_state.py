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
    others = torch.arange(3), torch.ones(3).bool(), torch.ones(3) * 1j, torch.tensor(math.nan)  # no replica's
    assert are_finite([torch.ones(3), weight, *others], 3) == [True, False, True]
