"""Batches: every pair once, whatever the sizes and the number of processes."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules import Digits, PairLoader, PairSet
from datamodules.loader import epoch_order

DIGITS = Digits(torch.arange(64.0)[:, None, None].expand(64, 14, 14).contiguous(), torch.arange(64) % 10)


def pair_set(count: int, replicas: int) -> PairSet:
    generator = torch.Generator().manual_seed(count)
    return PairSet.of([torch.randint(64, (count, 2), generator=generator) for _ in range(replicas)], DIGITS)


@settings(max_examples=100)
@given(
    count=st.integers(1, 40),
    batch_size=st.integers(1, 12),
    world_size=st.integers(1, 4),
    replicas=st.integers(1, 3),
    shuffle=st.booleans(),
)
def test_all_processes_together_serve_every_pair_once_in_equally_many_steps(
    count: int, batch_size: int, world_size: int, replicas: int, shuffle: bool
) -> None:
    pairs = pair_set(count, replicas)
    seeds = list(range(replicas)) if shuffle else None
    loaders = [PairLoader(DIGITS, pairs, batch_size, seeds, rank, world_size) for rank in range(world_size)]
    assert len({len(loader) for loader in loaders}) == 1
    if batch_size > 1 and count >= world_size:
        assert min(min(loader.sizes) for loader in loaders) > 0
    served = []
    for loader in loaders:
        for images, target, classes in loader:
            size = len(target)
            assert size <= batch_size
            assert images.shape == (size, 2 * replicas, 14, 14)
            assert torch.equal(target, (classes[..., 0] <= classes[..., 1]).long())
            index = images[:, :, 0, 0].view(size, replicas, 2)
            assert torch.equal(DIGITS.labels[index.long()], classes)
            served.append(index)
    for replica in range(replicas):
        theirs = sorted(map(tuple, torch.cat(served)[:, replica].tolist()))
        assert theirs == sorted(map(tuple, pairs.index[:, replica].tolist()))


def test_the_order_depends_on_seed_and_epoch_and_on_nothing_else() -> None:
    orders = [epoch_order(100, seed, epoch).tolist() for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4
    assert orders[0] == epoch_order(100, 0, 0).tolist()


def test_a_replica_sees_the_batches_that_its_seed_sees_alone() -> None:
    pairs = pair_set(30, 3)
    alone = PairSet(pairs.index[:, 1:2], pairs.classes[:, 1:2], pairs.target[:, 1:2])
    together_loader = PairLoader(DIGITS, pairs, 7, [5, 6, 7])
    alone_loader = PairLoader(DIGITS, alone, 7, [6])
    for epoch in range(2):
        together_loader.set_epoch(epoch)
        alone_loader.set_epoch(epoch)
        for mine, other in zip(together_loader, alone_loader, strict=True):
            assert torch.equal(mine[0][:, 2:4], other[0])
            assert torch.equal(mine[1][:, 1:2], other[1])


@settings(max_examples=50)
@given(
    count=st.integers(1, 40),
    batch_size=st.integers(1, 12),
    epoch=st.integers(0, 2),
    same_epoch=st.booleans(),
    data=st.data(),
)
def test_a_loader_goes_on_from_the_position_of_another(
    count: int, batch_size: int, epoch: int, same_epoch: bool, data: st.DataObject
) -> None:
    first, second = (PairLoader(DIGITS, pair_set(count, 2), batch_size, [5, 6]) for _ in range(2))
    first.set_epoch(epoch)
    served = data.draw(st.integers(0, len(first)))
    batches = iter(first)
    for _ in range(served):
        next(batches)
    second.load_state_dict(first.state_dict())
    assert second.state_dict() == first.state_dict()
    second.set_epoch(epoch + (not same_epoch))
    rest = list(second)
    if not same_epoch:
        assert len(rest) == len(second)
        return
    for mine, other in zip(rest, batches, strict=True):
        assert all(torch.equal(one, two) for one, two in zip(mine, other, strict=True))
    assert len(list(second)) == len(second)  # and the iteration after it is whole
