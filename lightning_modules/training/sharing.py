"""Ranks share the shards of studies: each takes a free one, trains it, and takes the next.

A shard is a function of its study alone, and its file is replaced whole. So it does not matter for the
results which rank trains a shard, or whether two do: claims only save time.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from types import TracebackType
from typing import Any, Self

from lightning_modules.command.cli import CommandError, set_rank
from lightning_modules.command.console import make_console
from lightning_modules.results.progress import progress_bar
from lightning_modules.results.tensorboard import EpochMetrics
from lightning_modules.training.ranks import Ranks
from lightning_modules.training.runner import Study, fit
from lightning_modules.training.workers import run_jobs

DONE = b"1"
LOOK = 0.05  # seconds from one look for a free shard to the next, where the last look found none

Report = Callable[[int, EpochMetrics], None]  # of a shard's number and each of its epochs


class Claims:
    """Which shards are done, and which are being trained: a file with a byte for each.

    A rank holds the lock on a shard's byte while it trains the shard, and writes 1 there when the shard's own
    file is whole. The system takes the locks from a process that ends, however it ends; the server of a
    network file system takes them from a machine that is gone. So no heartbeat and no clock is needed.

    Raises:
        OSError: The file cannot be written or locked; the message names it.
    """

    def __init__(self, path: Path, count: int) -> None:
        self.path = path
        self.file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        if os.fstat(self.file).st_size < count:
            os.truncate(self.file, count)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.file)

    def is_done(self, number: int) -> bool:
        return os.pread(self.file, 1, number) == DONE

    def finish(self, number: int) -> None:
        """Say that the file of a shard is whole."""
        with self._named():
            os.pwrite(self.file, DONE, number)

    @contextmanager
    def claim(self, number: int) -> Iterator[bool]:
        """Claim a shard for this block; false if another rank trains it, or it is done."""
        import fcntl  # not on Windows, which has neither torchrun's elastic agent nor SLURM

        try:
            with self._named():
                fcntl.lockf(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
        except (BlockingIOError, PermissionError):  # systems have either
            yield False
            return
        try:
            yield not self.is_done(number)
        finally:
            fcntl.lockf(self.file, fcntl.LOCK_UN, 1, number)

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:  # locking and writing know no name
            raise OSError(error.errno, error.strerror or str(error), str(self.path)) from error


def share_studies(studies: Sequence[Study], folder: Path, ranks: Ranks) -> None:
    """Train the shards of a list of studies on all ranks; say so, and show a bar.

    Args:
        studies: The same list in all ranks; each has a `study_id`, and a `checkpoint` beside which the files
            of its shards are kept. A study that is in the list twice is trained once.
        folder: For the claims of this list; it is made.
        ranks: Who shares them.

    Raises:
        CommandError: A shard's file is damaged or could not be written, or a worker process died.
        OSError: The folder cannot be written.
    """
    set_rank(ranks.rank)
    once = {study.study_id: study for study in studies}
    shards = dict(enumerate(shard for study in once.values() for shard in study.shards()))
    if not shards:
        return
    folder.mkdir(parents=True, exist_ok=True)
    # Of this job and list: claims of another one would say nothing about these shards.
    names = " ".join([ranks.job or token_hex(8), *map(str, once)])
    path = folder / f"{sha256(names.encode()).hexdigest()[:16]}.claims"
    console = make_console(quiet=ranks.rank > 0)
    console.print(ranks.describe([len(shard.seeds) for shard in shards.values()]))
    with progress_bar(console) as progress:
        task = progress.add_task("shards", total=sum(shard.settings.max_epochs for shard in shards.values()))
        share(shards, path, ranks, lambda number, epoch: progress.advance(task))
    if not ranks.job:  # a rank that starts late still has to learn that all is done
        path.unlink()


def share(shards: Mapping[int, Study], path: Path, ranks: Ranks, report: Report) -> None:
    """Train shards of one or many studies on all ranks; all of them are done when this returns.

    Args:
        shards: By their numbers, the same in all ranks; each has a file, which then holds its results.
        path: File of the claims, which all ranks reach.
        ranks: Who shares them.
        report: Called in rank 0 with each epoch of each shard, those of other ranks when the shard is done.

    Raises:
        CommandError: A shard's file is damaged or could not be written, or a worker process died.
        OSError: The claims cannot be written.
    """
    if ranks.devices:
        jobs = [partial(_train_on, device, shards, path) for device in ranks.devices[: len(shards)]]
        run_jobs(jobs, len(jobs), lambda _, epoch: report(*epoch))
        return

    def finished_elsewhere(number: int) -> None:
        part = shards[number].shard
        for epoch in part.read().metrics if part and ranks.rank == 0 else ():
            report(number, epoch)

    train_shards(shards, path, report, finished_elsewhere)


def train_shards(
    shards: Mapping[int, Study],
    path: Path,
    report: Report,
    finished_elsewhere: Callable[[int], None] = lambda number: None,
) -> None:
    """Train what no other rank trains until all shards are done; take over what a dead rank has left."""
    left = dict(shards)
    with Claims(path, max(shards, default=-1) + 1) as claims:
        while left:
            before = len(left)
            for number, shard in list(left.items()):
                with claims.claim(number) as is_ours:
                    if is_ours:
                        _train(shard, partial(report, number))
                        claims.finish(number)
                        del left[number]
                if number in left and claims.is_done(number):
                    finished_elsewhere(number)
                    del left[number]
            if len(left) == before:  # else others may have done theirs meanwhile
                time.sleep(LOOK)


def _train(shard: Study, report: Callable[[EpochMetrics], None]) -> None:
    assert shard.shard
    try:
        result = fit(shard, report)
    except SystemExit as stop:  # Lightning's answer to Ctrl-C
        raise KeyboardInterrupt from stop
    if result.unsaved:
        raise CommandError(f"{shard.shard.path} could not be written: {result.unsaved}")


def _train_on(device: Any, shards: Mapping[int, Study], path: Path, report: Callable[[Any], None]) -> None:
    """Be a rank in a worker process."""
    moved = {
        number: replace(shard, trainer={**shard.trainer, "devices": device})
        for number, shard in shards.items()
    }
    train_shards(moved, path, lambda number, epoch: report((number, epoch)))
