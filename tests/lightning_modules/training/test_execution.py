"""What is chosen for the machine, what a person may choose, and what does not go together."""

import os
from functools import partial
from typing import Any, cast

import pytest
import pytorch_lightning as pl
from loky import cpu_count

from lightning_modules.command.cli import CommandError
from lightning_modules.training.execution import REPLICAS_PER_CORE, Choice
from lightning_modules.training.runner import make_trainer
from lightning_modules.training.workers import run_jobs


def trainer(**arguments: Any) -> pl.Trainer:
    return make_trainer({"accelerator": "cpu", **arguments})


def workers_on_one_core(report: Any) -> int:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    return Choice().on(trainer(), 15).workers


def test_on_a_cpu_each_core_gets_a_process_with_one_thread() -> None:
    chosen = Choice().on(trainer(), 100)
    assert (chosen.workers, chosen.threads) == (cpu_count(), 1)
    assert (chosen.replicas, chosen.engine, chosen.layout) == (REPLICAS_PER_CORE, "fused", "channels_last")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_workers_follow_the_cores_that_the_process_may_use() -> None:
    assert run_jobs([workers_on_one_core], 1, lambda number, value: None) == [1]


def test_workers_follow_a_limit_of_the_control_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loky.backend.context._cpu_count_cgroup", lambda cores: 1)
    assert Choice().on(trainer(), 15).workers == 1


@pytest.mark.parametrize("value", ["abc", "2.5", ""])
def test_a_limit_that_is_no_number_is_named(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", value)
    with pytest.raises(CommandError, match=f"LOKY_MAX_CPU_COUNT must be a whole number, got '{value}'"):
        Choice().on(trainer(), 15)


def test_no_more_processes_or_replicas_than_runs() -> None:
    chosen = Choice(workers=8, replicas=9).on(trainer(), 3)
    assert (chosen.workers, chosen.replicas) == (3, 3)


@pytest.mark.parametrize("team", [1, 10, 16, 17, 30])
def test_the_trainings_of_one_run_fit_into_a_program(team: int) -> None:
    assert Choice().on(trainer(), 3 * team, team).replicas == min(3 * team, max(REPLICAS_PER_CORE, team))
    assert Choice(replicas=team).on(trainer(), 3 * team, team).replicas == team
    if team > 1:
        with pytest.raises(CommandError, match=f"replicas must be at least {team}, .* got {team - 1}$"):
            Choice(replicas=team - 1).on(trainer(), 3 * team, team)


def test_where_lightning_starts_the_processes_one_program_trains_all() -> None:
    chosen = Choice().on(trainer(strategy="ddp", devices=2), 100)
    assert (chosen.workers, chosen.replicas) == (1, 100)


def test_half_precision_weights_are_trained_by_torchs_operations() -> None:
    assert Choice().on(trainer(precision="bf16-true"), 3).engine == "torch"
    assert Choice().on(trainer(precision="bf16-mixed"), 3).engine == "fused"


def test_all_can_be_set_and_is_said() -> None:
    choice = Choice(workers=1, threads=2, replicas=5, engine="torch", layout="contiguous")
    said = "1 processes with 2 threads each, at most 5 replicas in a program, engine torch, layout contiguous"
    assert str(choice.on(trainer(), 15)) == said


@pytest.mark.parametrize(
    ("choice", "arguments", "message"),
    [
        (partial(Choice, workers=0), {}, "workers must be at least 1, got 0"),
        (partial(Choice, threads=-1), {}, "threads must be at least 1, got -1"),
        (partial(Choice, replicas=0), {}, "replicas must be at least 1, got 0"),
        (
            partial(Choice, engine=cast("Any", "fuse")),
            {},
            "engine must be one of .*; did you mean fused?",
        ),
        (
            partial(Choice, layout=cast("Any", 2)),
            {},
            "layout must be one of .*, got 2",
        ),
        (partial(Choice, workers=2), {"devices": 2}, "workers must be 1 where Lightning runs"),
        (partial(Choice, replicas=2), {"devices": 2}, "replicas must be left out"),
        (partial(Choice, engine="fused", layout="contiguous"), {}, "layout must be channels_last"),
        (partial(Choice, engine="fused"), {"precision": "bf16-true"}, "engine fused computes on a CPU"),
    ],
)
def test_what_does_not_go_together_is_refused(choice: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((CommandError, ValueError), match=message):
        choice().on(trainer(**arguments), 15)
