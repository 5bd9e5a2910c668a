"""Per-replica means."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_modules.metrics import ReplicaMean


@settings(max_examples=30)
@given(sizes=st.lists(st.integers(0, 20), min_size=1, max_size=5).filter(any), replicas=st.integers(1, 4))
def test_the_mean_over_batches_of_any_size_is_the_mean_over_all_pairs(
    sizes: list[int], replicas: int
) -> None:
    batches = [torch.rand(size, replicas) for size in sizes]
    metric = ReplicaMean(replicas)
    for batch in batches:
        metric.update(batch)
    torch.testing.assert_close(metric.compute().view(-1), torch.cat(batches).mean(0))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_errors_are_counted_exactly_whatever_the_module_computes_in(dtype: torch.dtype) -> None:
    metric = ReplicaMean(2)
    metric.to(dtype)
    for _ in range(60):
        metric.update(torch.ones(50, 2, dtype=torch.bool))
    metric.update(torch.zeros(1, 2, dtype=torch.bool))
    assert metric.compute().tolist() == pytest.approx([3000 / 3001] * 2, rel=1e-6)
