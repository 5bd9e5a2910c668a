"""Replicas: R nets trained as one are the R nets trained alone."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from scratch_twins import assert_same, draw, paper_net
from torch import Tensor

import scratch_framework as sf

R, STEPS = 4, 60
LR = torch.tensor([1e-3, 5e-3, 1e-2, 5e-2], dtype=torch.float64)
DECAY = torch.tensor([0.0, 1e-6, 1e-2, 0.1], dtype=torch.float64)

OPTIMIZERS: list[tuple[Callable[..., sf.Optimizer], dict[str, Any]]] = [
    (sf.SGD, {}),
    (sf.SGD, {"momentum": 0.9, "nesterov": True}),
    (sf.Adam, {}),
    (sf.AdamW, {"betas": (0.9, 0.99)}),
]


def train(
    net: sf.Module, criterion: sf.Criterion, optimizer: sf.Optimizer, x: Tensor, target: Tensor
) -> list[Tensor]:
    """Losses of 60 steps under a cosine schedule; x and target have the steps first."""
    schedule = sf.CosineAnnealingLR(optimizer, STEPS)
    losses = []
    for points, wanted in zip(x, target, strict=True):
        optimizer.zero_grad()
        losses.append(criterion(net(points), wanted))
        net.backward(criterion.backward())
        optimizer.step()
        schedule.step()
    return losses


@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS)
def test_each_replica_trains_as_it_trains_alone(
    kind: Callable[..., sf.Optimizer], options: dict[str, Any]
) -> None:
    nets = [paper_net(seed=seed) for seed in range(R)]
    together = paper_net(R)
    together.load_state_dict(sf.stack_states([net.state_dict() for net in nets]))
    x, target = draw(STEPS, R, 10, 2), draw(STEPS, R, 10, 1, seed=1).sign()
    optimizer = kind(together.parameters(), LR, weight_decay=DECAY, **options)
    losses = train(together, sf.MSELoss(replicas=R), optimizer, x, target)
    for k, net in enumerate(nets):
        alone = kind(net.parameters(), float(LR[k]), weight_decay=float(DECAY[k]), **options)
        own = train(net, sf.MSELoss(), alone, x[:, k], target[:, k])
        assert_same(torch.stack(losses)[:, k], torch.stack(own))
        trained = sf.replica_state(together.state_dict(), k)
        for name, value in net.state_dict().items():
            assert_same(trained[name], value)


def test_replicas_that_share_their_points_train_as_if_each_had_a_copy() -> None:
    first, second = (paper_net(R, seed=3) for _ in range(2))
    x, target = draw(STEPS, 10, 2), draw(STEPS, 10, 1, seed=1).sign()
    for net, points, wanted in (
        (first, x, target),
        (second, x.unsqueeze(1).repeat(1, R, 1, 1), target.unsqueeze(1).repeat(1, R, 1, 1)),
    ):
        train(net, sf.MSELoss(replicas=R), sf.SGD(net.parameters(), LR), points, wanted)
    for name, value in first.state_dict().items():
        assert_same(value, second.state_dict()[name])


def test_states_stack_and_come_apart_unchanged() -> None:
    states = [paper_net(seed=seed).state_dict() for seed in range(3)]
    stacked = sf.stack_states(states)
    for k, state in enumerate(states):
        taken = sf.replica_state(stacked, k)
        assert list(taken) == list(state)
        for name, value in state.items():
            assert torch.equal(taken[name], value)


def test_a_taken_replica_is_a_copy() -> None:
    net = paper_net(2)
    taken = sf.replica_state(net.state_dict(), 1)
    taken["0.weight"].zero_()
    assert net.state_dict()["0.weight"][1].any()
