"""Whole trainings, step by step beside torch.nn from the same weights and batches."""

import math

import torch
from scratch_twins import assert_same, draw, paper_net, torch_paper_net
from torch import Generator, Tensor, nn, optim

import scratch_framework as sf


def disc() -> tuple[Tensor, Tensor]:
    """The paper's data: 1000 points of the unit square, 1 inside a disc of half the square's area."""
    x = torch.rand(1000, 2, dtype=torch.float64, generator=Generator().manual_seed(0))
    inside = (x - 0.5).norm(dim=1, keepdim=True) < 1 / math.sqrt(2 * math.pi)
    return x, inside.double()


def test_the_first_1000_steps_of_the_papers_training_are_torchs() -> None:
    ours, theirs = paper_net(), torch_paper_net()
    theirs.load_state_dict(ours.state_dict())
    optimizer = sf.SGD(ours.parameters(), lr=0.005, weight_decay=1e-6)
    torch_optimizer = optim.SGD(theirs.parameters(), lr=0.005, weight_decay=1e-6)
    criterion, torch_criterion = sf.MSELoss(reduction="sum"), nn.MSELoss(reduction="sum")
    order, (x, target) = Generator().manual_seed(1), disc()
    losses: list[Tensor] = []
    for _ in range(50):
        for batch in torch.randperm(1000, generator=order).split(50):
            optimizer.zero_grad()
            losses.append(criterion(ours(x[batch]), target[batch]))
            ours.backward(criterion.backward())
            optimizer.step()
            torch_optimizer.zero_grad()
            loss = torch_criterion(theirs(x[batch]), target[batch])
            loss.backward()
            torch_optimizer.step()
            assert_same(losses[-1], loss, 1e-9)
    assert len(losses) == 1000
    assert sum(losses[-20:]) < sum(losses[:20]) / 2  # it did learn
    for name, value in theirs.state_dict().items():
        assert_same(ours.state_dict()[name], value, 1e-9)


def test_a_classifier_with_dropout_adamw_and_one_cycle_trains_as_torchs_does() -> None:
    ours = sf.Sequential(
        sf.Linear(2, 20, dtype=torch.float64),
        sf.LeakyReLU(),
        sf.Dropout(0.1),
        sf.Linear(20, 2, dtype=torch.float64),
    )
    theirs = nn.Sequential(nn.Linear(2, 20), nn.LeakyReLU(), nn.Dropout(0.1), nn.Linear(20, 2)).double()
    theirs.load_state_dict(ours.state_dict())
    optimizer, torch_optimizer = sf.AdamW(ours.parameters()), optim.AdamW(theirs.parameters())
    schedule = sf.OneCycleLR(optimizer, 1e-2, total_steps=200)
    torch_schedule = optim.lr_scheduler.OneCycleLR(torch_optimizer, 1e-2, total_steps=200)
    criterion, torch_criterion = (
        sf.CrossEntropyLoss(label_smoothing=0.1),
        nn.CrossEntropyLoss(label_smoothing=0.1),
    )
    for step in range(200):
        x = draw(50, 2, seed=step)
        target = (x.norm(dim=1) < 1).long()
        optimizer.zero_grad()
        torch.manual_seed(step)  # both draw one dropout mask
        criterion(ours(x), target)
        ours.backward(criterion.backward())
        optimizer.step()
        schedule.step()
        torch_optimizer.zero_grad()
        torch.manual_seed(step)
        torch_criterion(theirs(x), target).backward()
        torch_optimizer.step()
        torch_schedule.step()
    for name, value in theirs.state_dict().items():
        assert_same(ours.state_dict()[name], value, 1e-9)
