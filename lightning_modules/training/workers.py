"""Worker processes with one thread each: many small trainings want cores, not threads.

Two OpenMP threads on a shared two-core machine can be a hundred times slower than one, so that a process a
core is what scales. Results and reports come back through pipes; a worker that dies is noticed at once, and
workers end when the main process does.
"""

import gc
import pickle
import signal
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, cast

import torch

from lightning_modules.command.blame import CommandError, carry_origin, origin
from lightning_modules.command.collector import freeze_once
from lightning_modules.command.forkserver import UNGUARDED, worker_context
from lightning_modules.command.interrupts import interrupts_wait

Job = Callable[[Callable[[Any], None]], Any]  # called with a function that reports to the main process


GUARD = (
    "worker processes import the script that calls this, and it would call it again:"
    ' put the call under `if __name__ == "__main__":`, or take 1 worker'
)


class WorkerError(CommandError):
    """A worker process ended without a result."""


@dataclass(frozen=True)
class Message:
    """What a worker says of a job."""

    job: int  # its number
    value: Any  # a report, or the result
    is_result: bool = False


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Compute with so many threads in this block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def run_jobs(jobs: Sequence[Job], workers: int, on_report: Callable[[int, Any], None]) -> list[Any]:
    """Run jobs in worker processes, at most so many at once.

    A worker takes one job after the other.

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
    results = dict(as_completed(jobs, workers, on_report))
    return [results[number] for number in range(len(jobs))]


def as_completed(
    jobs: Sequence[Job], workers: int, on_report: Callable[[int, Any], None]
) -> Generator[tuple[int, Any]]:
    """Run jobs as `run_jobs` does; whoever takes their results can work on them meanwhile.

    A worker takes the next job by itself, so that none waits for this process.

    Yields:
        A job's number and its result, as soon as it is done.
    """
    taken = worker_context().Value("i", 0)  # jobs that a worker has begun
    running: dict[Connection, BaseProcess] = {}
    try:
        for _ in range(min(workers, len(jobs))):
            start(partial(_take_jobs, jobs, taken), running)
        while running:
            for ready in wait(list(running)):
                connection = cast("Connection", ready)
                kind, value = receive(connection, running[connection])
                if kind == "error":
                    raise value
                if kind == "result":  # no job is left
                    running.pop(connection).join()
                elif value.is_result:
                    yield value.job, value.value
                else:
                    on_report(value.job, value.value)
    finally:
        for process in running.values():
            process.kill()


def _take_jobs(jobs: Sequence[Job], taken: Any, report: Callable[[Message], None]) -> None:
    while True:
        with taken.get_lock():
            number = taken.value
            taken.value += 1
        if number >= len(jobs):
            return
        result = jobs[number](lambda value, number=number: report(Message(number, value)))
        report(Message(number, result, is_result=True))


def check_start() -> None:
    """Learn whether workers can start, before anything is written."""
    run_jobs([_do_nothing], 1, lambda number, report: None)


def _do_nothing(report: Callable[[Any], None]) -> None:
    pass


def start(job: Job, running: dict[Connection, BaseProcess]) -> None:
    """Start a worker process for a job (see `run_jobs`).

    Args:
        job: What it does.
        running: Gets the process, by what to `receive` from.
    """
    context = worker_context()
    connection, child_end = context.Pipe()
    process = context.Process(target=_work, args=(job, child_end), daemon=True)
    with interrupts_wait():  # nobody would end a worker that is half started
        process.start()
        running[connection] = process
    child_end.close()  # else the end of the child would not end the pipe


def _work(job: Job, connection: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # for workers that no server started
    torch.set_num_threads(1)
    freeze_once()
    gc.enable()  # the server's rests
    try:
        connection.send(("result", job(lambda value: connection.send(("report", value)))))
    except BrokenPipeError:
        pass  # the main process is gone
    except Exception as error:
        connection.send(("error", _to_send(error)))


def _to_send(error: Exception) -> Exception:
    """The error, or one with its text if it cannot travel; with where it arose, which does not travel."""
    where, trace, sent = origin(error), traceback.format_exc(), error
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever its class does there
        sent = RuntimeError(f"{type(error).__name__}: {error}") if where else CommandError(str(error))
    sent.add_note(f"in a worker:\n{trace}")
    carry_origin(sent, where)
    return sent


def receive(connection: Connection, process: BaseProcess) -> tuple[str, Any]:
    """Wait for what a worker has to say.

    Returns:
        "report", "result" or "error", and the report, result or error.

    Raises:
        WorkerError: It was killed or crashed.
    """
    try:
        return connection.recv()
    except (EOFError, ConnectionResetError) as error:
        process.join()
        if process.exitcode == UNGUARDED:
            raise WorkerError(GUARD) from error
        hint = ": killed, often for lack of memory" if process.exitcode == -signal.SIGKILL else ""
        raise WorkerError(f"a worker process died (exit code {process.exitcode}{hint})") from error
