"""What is chosen for the machine, what a person may choose, and what does not go together."""

import os
from functools import partial
from typing import Any, cast

import pytest
import pytorch_lightning as pl
from hypothesis import given
from hypothesis import strategies as st
from loky import cpu_count

from lightning_modules.command.cli import CommandError
from lightning_modules.training.execution import REPLICAS_PER_CORE, ExecutionConfig, divide
from lightning_modules.training.runner import make_trainer
from lightning_modules.training.workers import run_jobs


def trainer(**arguments: Any) -> pl.Trainer:
    return make_trainer({"accelerator": "cpu", **arguments})


def workers_on_one_core(report: Any) -> int:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    return ExecutionConfig().resolve(trainer(), 15).workers


def test_on_a_cpu_each_core_gets_a_process_with_one_thread() -> None:
    chosen = ExecutionConfig().resolve(trainer(), 100)
    assert (chosen.workers, chosen.threads) == (cpu_count(), 1)
    assert (chosen.replicas, chosen.engine, chosen.layout) == (REPLICAS_PER_CORE, "fused", "channels_last")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_workers_follow_the_cores_that_the_process_may_use() -> None:
    assert run_jobs([workers_on_one_core], 1, lambda number, value: None) == [1]


def test_workers_follow_a_limit_of_the_control_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loky.backend.context._cpu_count_cgroup", lambda cores: 1)
    assert ExecutionConfig().resolve(trainer(), 15).workers == 1


@pytest.mark.parametrize("value", ["abc", "2.5", ""])
def test_a_limit_that_is_no_number_is_named(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", value)
    with pytest.raises(CommandError, match=f"LOKY_MAX_CPU_COUNT must be a whole number, got '{value}'"):
        ExecutionConfig().resolve(trainer(), 15)


def test_no_more_processes_or_replicas_than_runs() -> None:
    chosen = ExecutionConfig(workers=8, replicas=9).resolve(trainer(), 3)
    assert (chosen.workers, chosen.replicas) == (3, 3)


@pytest.mark.parametrize("run_size", [1, 10, 16, 17, 30])
def test_the_trainings_of_one_run_fit_into_a_program(run_size: int) -> None:
    assert ExecutionConfig().resolve(trainer(), 3 * run_size, run_size).replicas == min(
        3 * run_size, max(REPLICAS_PER_CORE, run_size)
    )
    assert ExecutionConfig(replicas=run_size).resolve(trainer(), 3 * run_size, run_size).replicas == run_size
    if run_size > 1:
        with pytest.raises(
            CommandError, match=f"replicas must be at least {run_size}, .* got {run_size - 1}$"
        ):
            ExecutionConfig(replicas=run_size - 1).resolve(trainer(), 3 * run_size, run_size)


def test_where_lightning_starts_the_processes_one_program_trains_all() -> None:
    chosen = ExecutionConfig().resolve(trainer(strategy="ddp", devices=2), 100)
    assert (chosen.workers, chosen.replicas) == (1, 100)


def test_half_precision_weights_are_trained_by_torchs_operations() -> None:
    assert ExecutionConfig().resolve(trainer(precision="bf16-true"), 3).engine == "torch"
    assert ExecutionConfig().resolve(trainer(precision="bf16-mixed"), 3).engine == "fused"


def test_all_can_be_set_and_is_said() -> None:
    choice = ExecutionConfig(workers=1, threads=2, replicas=5, engine="torch", layout="contiguous")
    said = "1 processes with 2 threads each, at most 5 replicas in a program, engine torch, layout contiguous"
    assert str(choice.resolve(trainer(), 15)) == said


@pytest.mark.parametrize(
    ("choice", "arguments", "message"),
    [
        (partial(ExecutionConfig, workers=0), {}, "workers must be at least 1, got 0"),
        (partial(ExecutionConfig, threads=-1), {}, "threads must be at least 1, got -1"),
        (partial(ExecutionConfig, replicas=0), {}, "replicas must be at least 1, got 0"),
        (
            partial(ExecutionConfig, engine=cast("Any", "fuse")),
            {},
            "engine must be one of .*; did you mean fused?",
        ),
        (
            partial(ExecutionConfig, layout=cast("Any", 2)),
            {},
            "layout must be one of .*, got 2",
        ),
        (partial(ExecutionConfig, workers=2), {"devices": 2}, "workers must be 1 where Lightning runs"),
        (partial(ExecutionConfig, replicas=2), {"devices": 2}, "replicas must be left out"),
        (partial(ExecutionConfig, engine="fused", layout="contiguous"), {}, "layout must be channels_last"),
        (
            partial(ExecutionConfig, engine="fused"),
            {"precision": "bf16-true"},
            "engine fused computes on a CPU",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(choice: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((CommandError, ValueError), match=message):
        choice().resolve(trainer(**arguments), 15)


@given(
    runs=st.integers(1, 60),
    workers=st.integers(1, 8),
    replicas=st.integers(1, 32),
    run_size=st.integers(1, 12),
)
def test_every_run_has_one_shard_none_has_too_many_trainings_and_workers_have_as_many_shards(
    runs: int, workers: int, replicas: int, run_size: int
) -> None:
    shards = divide(runs, workers, replicas, run_size)
    assert [run for shard in shards for run in range(runs)[shard]] == list(range(runs))
    sizes = [shard.stop - shard.start for shard in shards]
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) == 1 or len(shards) % workers == 0
    assert max(sizes) == 1 or max(sizes) * run_size <= replicas
    fewer = len(shards) - workers  # as many for each worker process, but no more than are needed
    assert fewer <= 0 or -(-runs // fewer) * run_size > replicas
