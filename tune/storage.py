"""Where a study's state lies: by default a SQLite file in its folder, by URL a server for many machines.

Everything goes through `optuna.storages.RDBStorage`, whose heartbeat tells workers of other machines that one
of them is gone. docs/tuning.md says why SQLite and not Optuna's journal file.
"""

from __future__ import annotations

import re
import time
import warnings
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import optuna
from filelock import FileLock
from optuna.storages import RDBStorage, get_storage
from sqlalchemy import event, exc, make_url

from lightning_modules.cli import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from sqlalchemy import URL

HEARTBEAT, GRACE = 10, 60  # seconds between two signs of life; without one for so long a worker is gone
TRIES = 3  # to open a database that somebody else may be making
BUSY = 120  # seconds to wait for another process's write
FILE = "study.db"

# What comes of an unreachable or a dying server, whoever noticed.
StorageError = (exc.SQLAlchemyError, optuna.exceptions.StorageInternalError)


@dataclass(frozen=True)
class Place:
    """Where a study's state lies, as every process opens it for itself."""

    folder: Path
    url: str | None = None  # None: a file in the folder

    @property
    def embedded(self) -> bool:
        """Whether it is a file that processes of this machine share."""
        return self.url is None

    def __str__(self) -> str:
        return str(self.folder / FILE) if self.url is None else _parsed(self.url).render_as_string()

    def open(self) -> RDBStorage:
        """Open the storage; make its tables where there are none.

        Raises:
            CommandError: It cannot be reached, or the URL is wrong.
        """
        with clear_errors(self), warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            if self.url is not None:
                return _cached(_connect_server(self.url))
            with self.turn():  # one at a time makes the tables
                storage = _connect(f"sqlite:///{self.folder / FILE}", connect_args={"timeout": BUSY})
                event.listen(storage.engine, "connect", _relax)
                storage.engine.dispose()  # connections made so far do not know of it
            return _cached(storage)

    def turn(self) -> AbstractContextManager[Any]:
        """One process of this machine at a time takes points, so that none makes a trial in vain.

        Right it is without, too (`points.Points.take`). The kernel frees the lock of a killed process.
        """
        return FileLock(self.folder / "turn.lock")


@contextmanager
def clear_errors(place: Place) -> Iterator[None]:
    """Say in one line what is wrong with a storage.

    Args:
        place: Where it is.

    Raises:
        CommandError: Something is.
    """
    try:
        yield
    except StorageError as error:
        cause = error.__cause__ if isinstance(error, optuna.exceptions.StorageInternalError) else error
        reason, *_ = [*str(getattr(cause, "orig", None) or cause).strip().splitlines(), type(cause).__name__]
        raise CommandError(f"storage {place} cannot be used: {reason}") from error


def _connect_server(url: str) -> RDBStorage:
    parsed = _parsed(url)
    if parsed.drivername in ("postgresql", "postgres"):  # the driver that we declare, not SQLAlchemy's
        parsed = parsed.set(drivername="postgresql+psycopg")
    try:
        return _connect(parsed.render_as_string(hide_password=False), pool_pre_ping=True)
    except exc.NoSuchModuleError as error:
        raise _no_url(url) from error
    except ImportError as error:
        raise CommandError(
            f"storage {parsed.render_as_string()} needs its driver: pip install '.[postgresql]'"
        ) from error


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except (exc.ArgumentError, ValueError) as error:  # the latter by a port that is no number
        raise _no_url(url) from error


def _no_url(url: str) -> CommandError:
    shown = re.sub(":.*@", ":***@", url)  # whatever it is, there may be a password between
    return CommandError(
        f"storage must be an URL such as postgresql://user:password@host/database, got {shown!r}"
    )


def _connect(url: str, **engine: Any) -> RDBStorage:
    for _ in range(TRIES):
        # Of two that make the tables of a new database at once, one is told that they exist.
        with suppress(exc.IntegrityError, exc.ProgrammingError):
            return RDBStorage(url, engine_kwargs=engine, heartbeat_interval=HEARTBEAT, grace_period=GRACE)
        time.sleep(1)
    return RDBStorage(url, engine_kwargs=engine, heartbeat_interval=HEARTBEAT, grace_period=GRACE)


def _cached(storage: RDBStorage) -> RDBStorage:
    return cast("RDBStorage", get_storage(storage))  # Optuna's cache around it has its methods


def _relax(connection: Any, record: object) -> None:
    """Write ahead: readers and a writer do not wait for each other, and a commit needs no fsync.

    A killed process loses nothing by that; a machine that loses power may lose its last trials, which are
    then run again.
    """
    connection.execute(f"PRAGMA busy_timeout = {1000 * BUSY}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
