"""Per-replica means."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_modules.replicas.metrics import ReplicaFunction, ReplicaMean


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


def test_counting_does_not_end_where_float32_would_and_numbers_are_added_beyond_it() -> None:
    counts, sums = ReplicaMean(2), ReplicaMean(2)
    counts.update(torch.tensor([True, False]).expand(10**8, 2))
    sums.update(torch.tensor([[2.0**27, 0.0]]))
    for _ in range(10):
        counts.update(torch.tensor([[True, True]]))
        sums.update(torch.tensor([[1.0, 0.5]]))
    assert counts.total.tolist() == [10**8 + 10, 10]
    assert counts.compute().tolist() == pytest.approx([1.0, 10 / (10**8 + 10)], rel=1e-6)
    assert sums.total.tolist() == [2**27 + 10, 5.0]


def test_a_mean_goes_on_from_sums_that_were_reached_before() -> None:
    whole, first, second = (ReplicaMean(2) for _ in range(3))
    batches = torch.rand(3, 5, 2)
    for batch in batches:
        whole.update(batch)
    first.update(batches[0])
    second.restore(first.total, first.count)
    assert second.update_called
    for batch in batches[1:]:
        second.update(batch)
    assert torch.equal(second.compute(), whole.compute())


@pytest.mark.parametrize("truth", [False, True])
def test_replicas_that_are_kept_keep_their_means(truth: bool) -> None:
    values = torch.rand(20, 3) > 0.5 if truth else torch.rand(20, 3)
    metric = ReplicaMean(3)
    metric.update(values[:10])
    metric.select([2, 0])
    metric.update(values[10:, [2, 0]])
    torch.testing.assert_close(metric.compute(), values.float().mean(0)[[2, 0]])


def test_a_function_is_called_with_all_values_of_each_replica_and_follows_those_that_are_kept() -> None:
    values = torch.rand(20, 3, 2)
    metric = ReplicaFunction(lambda own: own.prod(-1).max())
    metric.update(values[:10])
    metric.update(values[10:])
    torch.testing.assert_close(metric.compute(), values.prod(-1).amax(0))
    metric.select([2, 0])
    torch.testing.assert_close(metric.compute(), values.prod(-1).amax(0)[[2, 0]])
