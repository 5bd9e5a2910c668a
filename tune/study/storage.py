"""Storage of a study: by default a SQLite file in its folder, by URL a server for many machines.

Both are an `optuna.storages.RDBStorage`, whose heartbeats tell workers of other machines which of them are
alive. docs/tuning.md says why it is SQLite and not Optuna's journal file.
"""

import json
import re
import sqlite3
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from shutil import disk_usage
from typing import Any, cast

import optuna
from filelock import FileLock
from optuna.storages import RDBStorage, get_storage
from optuna.storages._rdb.models import StudyUserAttributeModel
from optuna.storages._rdb.storage import _create_scoped_session
from sqlalchemy import URL, exc, make_url

from lightning_modules.command.cli import CommandError
from lightning_modules.command.masking import PASSWORD_IS, masked

HEARTBEAT, GRACE = 10, 60  # seconds between two heartbeats; a worker without one for so long is lost
TRIES = 3  # to open a database that somebody else may be making
BUSY = 120  # seconds to wait for another process's write
FULL = 2**20  # bytes; SQLite's log and index need some of them
FILE = "study.db"

# Settings of PostgreSQL's client library: a server or a network that is gone is noticed within a minute.
NETWORK = {
    "connect_timeout": 10,  # seconds, as the next two
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,  # milliseconds
}
# Of each session at the server. Optuna writes heartbeats in the session's time zone and compares them without
# one, so that all sessions need the same. A machine that falls asleep within a transaction holds the study's
# row; the server ends such a session.
SESSION = (
    "SET timezone TO 'UTC'",
    "SET lock_timeout TO '60s'",
    "SET idle_in_transaction_session_timeout TO '60s'",
)

# Errors of an unreachable or dying server, from SQLAlchemy or from Optuna.
StorageError = (exc.SQLAlchemyError, optuna.exceptions.StorageInternalError)


@dataclass(frozen=True)
class StudyStorage:
    """Where a study is stored; every process opens it for itself."""

    folder: Path
    url: str | None = field(default=None, repr=False)  # None: a file in the folder; may hold a password

    @property
    def embedded(self) -> bool:
        """Whether it is a file that processes of this machine share."""
        return self.url is None

    def __str__(self) -> str:
        return str(self.folder / FILE) if self.url is None else _shown(self.url)

    def open(self) -> RDBStorage:
        """Open the storage; make its tables where there are none.

        Raises:
            CommandError: It cannot be reached, or the URL is wrong.
        """
        with clear_errors(self), warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            if self.url is not None:
                return _cached(_connect_server(self.url))
            with self.claim_lock():  # one at a time makes the tables
                return _cached(_connect_file(self.folder / FILE))

    def claim_lock(self) -> AbstractContextManager[Any]:
        """A lock with which one process of this machine at a time claims points.

        Correctness does not depend on it (`queue.TrialQueue.claim`); it only saves futile trials. The kernel
        frees the lock of a killed process.
        """
        return FileLock(self.folder / "claim.lock")


@contextmanager
def clear_errors(storage: StudyStorage) -> Iterator[None]:
    """Turn an error of the database into one line that names the storage."""
    try:
        yield
    except StorageError as error:
        cause = error.__cause__ if isinstance(error, optuna.exceptions.StorageInternalError) else error
        reason, *_ = [*str(getattr(cause, "orig", None) or cause).strip().splitlines(), type(cause).__name__]
        if storage.embedded and disk_usage(storage.folder).free < FULL:  # SQLite may say `disk I/O error`
            reason = f"the disk is full ({reason}); make room on that disk"
        raise CommandError(f"storage {storage} cannot be used: {reason}") from error


def write_once(study: optuna.Study, key: str, value: object) -> None:
    """Give a study an attribute unless it has it; of two that do so at once, the first one's value stays.

    Optuna's `set_user_attr` looks for the attribute and then writes it, so that the second would replace the
    first. Here both insert a row, and the database refuses the second.
    """
    row = StudyUserAttributeModel(study_id=study._study_id, key=key, value_json=json.dumps(value))
    storage = cast("Any", study._storage)._backend
    with _create_scoped_session(storage.scoped_session, ignore_integrity_error=True) as session:
        session.add(row)


def _connect_file(path: Path) -> RDBStorage:
    """Open a SQLite file by its path: as a URL, `?`, `%20` or `:memory:` in it would name another file."""
    connect = partial(sqlite3.connect, path.absolute(), timeout=BUSY, check_same_thread=False)
    return _connect("sqlite:///file", _relax, creator=connect)  # only the dialect is taken from this URL


def _connect_server(url: str) -> RDBStorage:
    parsed = _parsed(url)
    if parsed.drivername in ("postgresql", "postgres"):  # the driver that we declare, not SQLAlchemy's
        parsed = parsed.set(drivername="postgresql+psycopg")
    is_libpq = parsed.drivername in ("postgresql+psycopg", "postgresql+psycopg2")
    arguments = {name: value for name, value in NETWORK.items() if is_libpq and name not in parsed.query}
    literal = parsed.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
    prepare = _join if parsed.get_backend_name() == "postgresql" else None
    try:
        return _connect(literal, prepare, pool_pre_ping=True, connect_args=arguments)
    except exc.NoSuchModuleError:
        raise _no_url(url) from None
    except ImportError as error:
        raise CommandError(f"storage {_shown(url)} needs its driver: pip install '.[postgresql]'") from error


def _parsed(url: str) -> URL:
    if url.partition("?")[0].count("@") > 1:  # else what follows the first one is taken for the host
        raise CommandError(f"storage: write %40 for an @ in user or password, got {_shown(url)!r}")
    try:
        return make_url(url)
    except (exc.ArgumentError, ValueError):  # the latter by a port that is no number
        raise _no_url(url) from None  # their message may quote the password


def _no_url(url: str) -> CommandError:
    shown = re.sub(":.*@", ":***@", url)  # whatever it is, there may be a password between
    return CommandError(
        f"storage must be an URL such as postgresql://user:password@host/database, got {_shown(shown)!r}"
    )


def _shown(url: str) -> str:
    """A URL without its passwords, which may hold spaces."""
    shown = re.sub("(//[^/:@]*:).*@", r"\1***@", url)
    return masked(re.sub(f"({PASSWORD_IS})[^&]*", r"\1***", shown))


def _connect(url: str, prepare: Callable[[Any, object], None] | None, **engine: Any) -> RDBStorage:
    """Open a database.

    Args:
        url: In which Optuna takes `{` for the start of a name of its own.
        prepare: Called with each new connection.
        engine: Arguments of SQLAlchemy's `create_engine`.
    """
    if prepare is not None:
        engine["pool_events"] = [(prepare, "connect")]
    for _ in range(TRIES):
        # Of two that make the tables of a new database at once, one is told that they exist.
        with suppress(exc.IntegrityError, exc.ProgrammingError):
            return RDBStorage(url, engine_kwargs=engine, heartbeat_interval=HEARTBEAT, grace_period=GRACE)
        time.sleep(1)
    return RDBStorage(url, engine_kwargs=engine, heartbeat_interval=HEARTBEAT, grace_period=GRACE)


def _cached(storage: RDBStorage) -> RDBStorage:
    return cast("RDBStorage", get_storage(storage))  # Optuna's cache around it has its methods


def _relax(connection: Any, record: object) -> None:
    """Use a write-ahead log: readers and a writer do not wait for each other, and a commit needs no fsync.

    A killed process loses nothing by that; a machine that loses power may lose its last trials, which are
    then run again.
    """
    connection.execute(f"PRAGMA busy_timeout = {1000 * BUSY}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")


def _join(connection: Any, record: object) -> None:
    """Set a session's `SESSION` settings, whatever the defaults of machine, user and database."""
    with connection.cursor() as cursor:
        for setting in SESSION:
            cursor.execute(setting)
    connection.commit()  # else the pool's rollback takes them back
