"""Worker processes: results in order, errors by their name, no silent deaths."""

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_modules.command.forkserver import worker_context
from lightning_modules.training.workers import WorkerError, run_jobs, start, threads

Report = Callable[[Any], None]


def square(number: int, report: Report) -> int:
    report(("at", number))
    return number**2


def count_threads(report: Report) -> int:
    return torch.get_num_threads()


def watch_collector(report: Report) -> tuple[bool, bool]:
    return gc.isenabled(), gc.get_freeze_count() > 0


def refuse(report: Report) -> None:
    raise ValueError("lr must be above 0, got -1")


class OddError(Exception):
    """An error that cannot travel."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} {two}")


def be_odd(report: Report) -> None:
    raise OddError(1, 2)


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
    assert run_jobs([count_threads], 1, lambda number, value: None) == [1]


class Interrupting:
    """A job that is interrupted while a worker is started for it."""

    def __reduce__(self) -> tuple[type, tuple[()]]:
        signal.raise_signal(signal.SIGINT)
        return Interrupting, ()

    def __call__(self, report: Report) -> None:
        raise AssertionError


def test_ctrl_c_while_a_worker_starts_leaves_none_of_which_nobody_knows() -> None:
    running = dict[Any, Any]()
    with pytest.raises(KeyboardInterrupt):
        start(Interrupting(), running)
    (process,) = running.values()
    process.kill()


def process_number(report: Report) -> int:
    return os.getpid()


def test_a_worker_collects_garbage_but_not_among_what_its_server_has_imported() -> None:
    assert run_jobs([watch_collector], 1, lambda number, value: None) == [(True, True)]


def test_a_worker_takes_one_job_after_the_other() -> None:
    assert len(set(run_jobs([process_number] * 3, 1, lambda number, value: None))) == 1


def test_an_error_in_a_job_is_raised_as_it_was() -> None:
    with pytest.raises(ValueError, match="lr must be above 0, got -1"):
        run_jobs([refuse, partial(square, 2)], 2, lambda number, value: None)


def test_an_error_that_cannot_travel_arrives_by_name() -> None:
    with pytest.raises(RuntimeError, match="OddError: 1 2"):
        run_jobs([be_odd], 1, lambda number, value: None)


def test_threads_are_as_before_after_a_block() -> None:
    before = torch.get_num_threads()
    with threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_a_killed_worker_is_noticed_and_named() -> None:
    with pytest.raises(WorkerError, match=r"exit code -9"):
        run_jobs([die], 1, lambda number, value: None)


def test_where_no_socket_can_be_made_workers_start_without_a_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("x" * 100)  # a socket's path has 108 bytes at most
    deep.mkdir()
    monkeypatch.setitem(vars(multiprocessing.current_process())["_config"], "tempdir", str(deep))
    monkeypatch.setattr(forkserver, "ensure_running", forkserver.ForkServer().ensure_running)
    assert worker_context().get_start_method() == "spawn"
    assert run_jobs([partial(square, 3)], 1, lambda number, value: None) == [9]


def import_unguarded(report: Report) -> None:
    vars(multiprocessing.current_process())["_inheriting"] = True  # as while the script is imported
    worker_context()


def test_a_worker_in_which_the_script_starts_workers_again_ends_and_says_to_guard_it() -> None:
    with pytest.raises(WorkerError, match=r'put the call under `if __name__ == "__main__":`, or take 1'):
        run_jobs([import_unguarded], 1, lambda number, value: None)


@pytest.mark.slow
def test_a_script_without_a_guard_leaves_no_study_behind(tmp_path: Path) -> None:
    flags = ["--accelerator", "cpu", "--workers", "2", "--runs", "2", "--log_dir", str(tmp_path / "runs")]
    (tmp_path / "script.py").write_text(f"import train\n\ntrain.main({flags})\n")
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, str(tmp_path / "script.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert 'put the call under `if __name__ == "__main__":`' in done.stderr
    assert not (tmp_path / "runs").exists()
