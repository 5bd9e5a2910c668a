"""Schedules against torch.optim.lr_scheduler over their whole length, momentum and replicas included."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from scratch_twins import draw
from torch import optim
from torch.optim import lr_scheduler

import scratch_framework as sf
from scratch_framework import Parameter

Options = dict[str, Any]
Kind = Callable[..., Any]

OPTIONS: list[tuple[Kind, Kind, Options]] = [
    (sf.StepLR, lr_scheduler.StepLR, {"step_size": 7}),
    (sf.StepLR, lr_scheduler.StepLR, {"step_size": 1, "gamma": 0.97}),
    (sf.CosineAnnealingLR, lr_scheduler.CosineAnnealingLR, {"T_max": 60}),
    (
        sf.CosineAnnealingLR,
        lr_scheduler.CosineAnnealingLR,
        {"T_max": 13, "eta_min": 0.01},
    ),  # four waves and more
    (sf.OneCycleLR, lr_scheduler.OneCycleLR, {"max_lr": 0.4, "total_steps": 60}),
    (sf.OneCycleLR, lr_scheduler.OneCycleLR, {"max_lr": 0.4, "epochs": 6, "steps_per_epoch": 10}),
    (
        sf.OneCycleLR,
        lr_scheduler.OneCycleLR,
        {"max_lr": 0.4, "total_steps": 60, "anneal_strategy": "linear", "pct_start": 0.21},
    ),
    (sf.OneCycleLR, lr_scheduler.OneCycleLR, {"max_lr": 0.4, "total_steps": 60, "three_phase": True}),
    (
        sf.OneCycleLR,
        lr_scheduler.OneCycleLR,
        {"max_lr": 0.4, "total_steps": 60, "div_factor": 10.0, "final_div_factor": 50.0, "pct_start": 0.0},
    ),
    (
        sf.OneCycleLR,
        lr_scheduler.OneCycleLR,
        {"max_lr": 0.4, "total_steps": 60, "base_momentum": 0.6, "max_momentum": 0.9, "pct_start": 0.9},
    ),
    (sf.OneCycleLR, lr_scheduler.OneCycleLR, {"max_lr": 0.4, "total_steps": 60, "cycle_momentum": False}),
]
CASES = pytest.mark.parametrize(
    ("ours", "theirs", "options"), OPTIONS, ids=[f"{ours.__name__} {options}" for ours, _, options in OPTIONS]
)
OPTIMIZERS = pytest.mark.parametrize(("kind", "twin"), [(sf.SGD, optim.SGD), (sf.AdamW, optim.AdamW)])


@CASES
@OPTIMIZERS
def test_a_schedule_has_torchs_rates_and_momenta_from_start_to_end(
    ours: Kind, theirs: Kind, options: Options, kind: Kind, twin: Kind
) -> None:
    optimizer, torch_optimizer = kind([Parameter(draw(2))], lr=0.2), twin([draw(2).requires_grad_()], lr=0.2)
    schedule, torch_schedule = ours(optimizer, **options), theirs(torch_optimizer, **options)
    for _ in range(60):
        (group,) = torch_optimizer.param_groups
        assert schedule.get_last_lr() == [optimizer.lr] == pytest.approx([group["lr"]], rel=1e-12, abs=1e-15)
        assert momentum(optimizer) == pytest.approx(group.get("momentum", group.get("betas")), rel=1e-12)
        torch_optimizer.step()
        schedule.step()
        torch_schedule.step()


def momentum(optimizer: sf.SGD | sf.AdamW) -> float | tuple[float, float]:
    return optimizer.momentum if isinstance(optimizer, sf.SGD) else optimizer.betas


@CASES
def test_a_schedule_moves_the_rate_of_each_replica_as_it_moves_it_alone(
    ours: Kind, theirs: Kind, options: Options
) -> None:
    rates = [0.1, 0.3]
    together = sf.SGD([Parameter(draw(2, 3), replicas=2)], torch.tensor(rates, dtype=torch.float64))
    alone = [sf.SGD([Parameter(draw(3))], rate) for rate in rates]
    peaks = [{"max_lr": rate} if "max_lr" in options else {} for rate in rates]
    peak = {"max_lr": torch.tensor(rates, dtype=torch.float64)} if "max_lr" in options else {}
    schedules = [ours(single, **options | own) for single, own in zip(alone, peaks, strict=True)]
    schedules.append(ours(together, **options | peak))
    for _ in range(60):
        assert isinstance(together.lr, torch.Tensor)
        assert together.lr.tolist() == pytest.approx([single.lr for single in alone], rel=1e-12, abs=1e-15)
        for schedule in schedules:
            schedule.step()


def test_one_cycle_ends_with_its_last_step() -> None:
    schedule = sf.OneCycleLR(sf.SGD([Parameter(draw(2))]), 0.1, total_steps=3)
    for _ in range(3):  # the third comes after the last step of the optimiser
        schedule.step()
    with pytest.raises(ValueError, match="must end after total_steps 3, got step 4"):
        schedule.step()


def test_a_rise_of_one_step_starts_at_the_peak() -> None:
    optimizer = sf.SGD([Parameter(draw(2))])
    sf.OneCycleLR(optimizer, 0.1, total_steps=10, pct_start=0.1)
    assert optimizer.lr == pytest.approx(0.1)
