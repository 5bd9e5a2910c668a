"""Worker processes with one thread each: many small trainings want cores, not threads.

Two OpenMP threads on a shared two-core machine can be a hundred times slower than one, so that a process a
core is what scales. Results and reports come back through pipes; a worker that dies is noticed at once, and
workers end when the main process does.
"""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import torch

Job = Callable[[Callable[[Any], None]], Any]  # called with a function that reports to the main process


class WorkerError(Exception):
    """A worker process ended without a result."""


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_jobs(jobs: Sequence[Job], workers: int, on_report: Callable[[int, Any], None]) -> list[Any]:
    """Run jobs in worker processes, at most so many at once.

    Args:
        jobs: Picklable functions; each gets a function to report with. Results and reports must not hold
            tensors: torch passes those by reference to memory that ends with the worker.
        workers: Number of processes at a time.
        on_report: Called in this process with a job's number and each of its reports.

    Returns:
        The jobs' results, in order.

    Raises:
        WorkerError: A worker was killed or crashed.
        Exception: What a job raised.
    """
    results: dict[int, Any] = {}
    pending = deque(enumerate(jobs))
    running: dict[Connection, tuple[int, BaseProcess]] = {}
    try:
        while pending or running:
            while pending and len(running) < workers:
                number, job = pending.popleft()
                connection, process = _start(job)
                running[connection] = (number, process)
            for ready in wait(list(running)):
                assert isinstance(ready, Connection)
                number, process = running[ready]
                kind, value = _receive(ready, process)
                if kind == "report":
                    on_report(number, value)
                elif kind == "error":
                    raise value
                else:
                    results[number] = value
                    process.join()
                    del running[ready]
    finally:
        for _, process in running.values():
            process.kill()
    return [results[number] for number in range(len(jobs))]


def _start(job: Job) -> tuple[Connection, BaseProcess]:
    # The fork server imports torch once for all workers; where there is none, each imports for itself.
    methods = multiprocessing.get_all_start_methods()
    context: Any = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if "forkserver" in methods:
        context.set_forkserver_preload(["lightning_modules.protocol"])
    connection, child_end = context.Pipe()
    process = context.Process(target=_work, args=(job, child_end), daemon=True)
    process.start()
    child_end.close()  # else the end of the child would not end the pipe
    return connection, process


def _work(job: Job, connection: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's to handle
    torch.set_num_threads(1)
    try:
        connection.send(("result", job(lambda value: connection.send(("report", value)))))
    except BrokenPipeError:
        pass  # the main process is gone
    except Exception as error:
        connection.send(("error", error))


def _receive(connection: Connection, process: BaseProcess) -> tuple[str, Any]:
    try:
        return connection.recv()
    except (EOFError, ConnectionResetError) as error:
        process.join()
        raise WorkerError(
            f"a worker process died (exit code {process.exitcode}; -9 is often a lack of memory)"
        ) from error
