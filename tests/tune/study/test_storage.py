"""A study's state lies where it should, whatever its name, and all sessions at a server have one clock."""

import tempfile
from contextlib import chdir
from pathlib import Path

import optuna
import psycopg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState, create_trial
from sqlalchemy import text

from lightning_modules.command.atomic_io import choose_folder
from lightning_modules.command.cli import CommandError
from tune.study.storage import FILE, StudyStorage

# What SQLAlchemy, urllib, SQLite or Optuna may take for more than a part of a name, and other characters.
ODD = st.sampled_from([*"?%#&;:+=@~{}'\"\\$*|é ", "%20", "%2F", ":memory:", "file:", "?mode=memory"])
NAMES = st.lists(ODD | st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=5)


@settings(max_examples=6)
@given(NAMES.map("".join), NAMES.map("".join))
@example("w?y", "q?x=1")
@example("%20", ":memory:")
@example(":memory:", "a//b")
@example("file:x?mode=memory", "file:")
@example("a\\b", "{SCHEMA_VERSION}")
def test_a_studys_database_is_the_file_in_its_folder(name: str, log_dir: str) -> None:
    with tempfile.TemporaryDirectory() as top, chdir(top):
        try:
            folder = choose_folder(log_dir, name)
            folder.mkdir(parents=True)
        except (CommandError, OSError):
            return  # refused: no plain name, or none that a disk takes
        storage = StudyStorage(folder).open()
        optuna.create_study(storage=storage, study_name=name)
        files = [path for path in Path().rglob("*") if path.is_file()]
        found = {path for path in files if path.read_bytes().startswith(b"SQLite format 3")}
        assert found == {folder / FILE}
        assert [study.study_name for study in storage.get_all_studies()] == [name]


def session(url: str, setting: str) -> str:
    """What a session of ours has at a server."""
    with StudyStorage(Path(), url).open()._backend.engine.connect() as connection:  # type: ignore[attr-defined]
        return str(connection.execute(text(f"SHOW {setting}")).scalar())


@pytest.fixture(scope="module")
def far_away(postgresql: str) -> str:
    """The server, for a user whose sessions have a time zone of the other side of the world."""
    with psycopg.connect(postgresql, autocommit=True) as connection:
        connection.execute("CREATE ROLE far SUPERUSER LOGIN")
        connection.execute("ALTER ROLE far SET timezone TO 'Pacific/Kiritimati'")
        connection.execute("ALTER ROLE far SET lock_timeout TO 0")
    return postgresql.replace("tune@", "far@")


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "America/Los_Angeles"])
def test_a_beating_trial_is_alive_for_sessions_of_other_time_zones(
    zone: str, postgresql: str, far_away: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver takes its time zone from the environment, and the server has one for each user."""
    here = StudyStorage(Path(), postgresql).open()
    study = optuna.create_study(storage=here)
    trial_id = here.create_new_trial(study._study_id, create_trial(state=TrialState.RUNNING))
    monkeypatch.setenv("PGTZ", zone)
    there = StudyStorage(Path(), far_away).open()
    for beats, looks in ((here, there), (there, here)):
        for _ in range(2):  # the first beat is the database's default, the later ones are not
            beats.record_heartbeat(trial_id)
            assert looks._get_stale_trial_ids(study._study_id) == []
            assert beats._get_stale_trial_ids(study._study_id) == []


def test_a_session_at_a_server_waits_neither_for_locks_nor_for_sleepers_for_ever(far_away: str) -> None:
    expected = {"timezone": "UTC", "lock_timeout": "1min", "idle_in_transaction_session_timeout": "1min"}
    assert {name: session(far_away, name) for name in expected} == expected


def test_a_gone_network_is_noticed_and_the_url_may_say_when(postgresql: str) -> None:
    """The driver's own parameters of the open connection."""
    found = []
    for url in (postgresql, f"{postgresql}?connect_timeout=7&application_name=mine"):
        with StudyStorage(Path(), url).open()._backend.engine.connect() as connection:  # type: ignore[attr-defined]
            found.append(connection.connection.driver_connection.info.get_parameters())
    assert [(one["connect_timeout"], one["tcp_user_timeout"]) for one in found] == [
        ("10", "60000"),
        ("7", "60000"),
    ]
    assert all(one["keepalives_idle"] == "30" for one in found)


def test_braces_in_a_password_are_the_passwords(postgresql: str) -> None:
    """Optuna fills its own names into braces."""
    assert session(postgresql.replace("tune@", "tune:%7Bx%7D@"), "timezone") == "UTC"
