"""Worker processes: results in order, errors by their name, no silent deaths."""

import os
import signal
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch

from lightning_modules.workers import WorkerError, run_jobs

Report = Callable[[Any], None]


def square(number: int, report: Report) -> int:
    report(("at", number))
    return number**2


def threads(report: Report) -> int:
    return torch.get_num_threads()


def refuse(report: Report) -> None:
    raise ValueError("lr must be above 0, got -1")


def die(report: Report) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_results_come_in_order_and_reports_carry_their_jobs_number() -> None:
    reports: list[tuple[int, Any]] = []
    results = run_jobs(
        [partial(square, n) for n in range(5)], 2, lambda number, value: reports.append((number, value))
    )
    assert results == [0, 1, 4, 9, 16]
    assert sorted(reports) == [(n, ("at", n)) for n in range(5)]


def test_a_worker_computes_with_one_thread() -> None:
    assert run_jobs([threads], 1, lambda number, value: None) == [1]


def test_an_error_in_a_job_is_raised_as_it_was() -> None:
    with pytest.raises(ValueError, match="lr must be above 0, got -1"):
        run_jobs([refuse, partial(square, 2)], 2, lambda number, value: None)


def test_a_killed_worker_is_noticed_and_named() -> None:
    with pytest.raises(WorkerError, match=r"exit code -9"):
        run_jobs([die], 1, lambda number, value: None)
