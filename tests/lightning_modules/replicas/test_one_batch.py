"""A batch that replicas share is what its copies would be, whatever a forward does with it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_modules.replicas.convert import Replicas, replicate
from lightning_modules.replicas.one_batch import OneBatch, fold, for_each

SEEDS = [5, 17, 40]
ONE = torch.rand(200, 2, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(18, 7), nn.ReLU(), nn.Linear(7, 6, bias=False), nn.ReLU())


class Own(nn.Module):
    """A forward of one's own."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(18, 7), nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x.flatten(1)).relu_()) + self.b(self.a(x.flatten(1) * 2))


def losses_and_gradients(net: Replicas, call: Callable[..., Tensor], x: Tensor) -> list[Tensor]:
    net.zero_grad()
    outputs = call(x)
    (outputs**2).sum().backward()
    return [outputs.detach(), *[p.grad for p in net.parameters() if p.grad is not None]]


@pytest.mark.parametrize("make", [mlp, Own])
def test_replicas_of_one_batch_are_those_of_its_copies_and_to_the_bit_each_seed_alone(make: Any) -> None:
    net = replicate(make, SEEDS, "wide", example=ONE.float()).double()
    shared = losses_and_gradients(net, net, ONE)
    copied = losses_and_gradients(net, net.each, for_each(ONE, len(SEEDS)))
    assert len(shared) == len(copied) == 1 + len(list(net.parameters()))
    for ours, theirs in zip(shared, copied, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    for k, seed in enumerate(SEEDS):
        alone = replicate(make, [seed], "wide", example=ONE.float()).double()
        outputs, *gradients = losses_and_gradients(alone, alone, ONE)
        assert torch.equal(shared[0][:, k], outputs[:, 0])
        for ours, theirs in zip(shared[1:], gradients, strict=True):
            assert torch.equal(ours.chunk(len(SEEDS))[k], theirs)


CHANGES: dict[str, Callable[[Tensor], Any]] = {
    "nothing": lambda x: None,
    "all in place": lambda x: x.mul_(2),
    "all in place, flattened": lambda x: x.flatten(1).mul_(2),
    "a part in place": lambda x: x[:, 3].fill_(7),
    "a part through a view": lambda x: x.movedim(1, -1)[0].zero_(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_shared_batch_may_be_changed_and_read_in_any_way(change: str) -> None:
    shared, copied = OneBatch.of(ONE, 3), fold(for_each(ONE, 3)).clone()
    kept = ONE.clone()
    for x in (shared, copied):
        CHANGES[change](x)
    weight = torch.rand(6, 2, 2, 2, dtype=torch.float64)
    for read in (
        lambda x: x.flatten(1) @ x.flatten(1).T,
        lambda x: torch.cat([x, x + 1]),
        lambda x: torch.conv2d(x, weight, groups=3),
        lambda x: x.to(torch.float32),
        lambda x: x[1:, ::2],
    ):
        assert torch.equal(read(shared), read(copied))
    assert torch.equal(ONE, kept)
