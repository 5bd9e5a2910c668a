"""A process is known to be gone only where that is certain."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tune.study.process_identity import ProcessIdentity


def test_a_living_process_is_not_gone() -> None:
    assert not ProcessIdentity.current().is_dead()


def test_an_ended_process_is_gone_though_nobody_has_waited_for_it() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.read()  # until its end
    try:
        identity = replace(ProcessIdentity.current(), pid=process.pid)
        while not identity.is_dead():
            pass
    finally:
        process.wait()
    assert identity.is_dead()


def test_a_process_that_started_at_another_time_has_only_the_number() -> None:
    assert replace(ProcessIdentity.current(), started=ProcessIdentity.current().started + 1).is_dead()


def test_of_another_machine_nothing_is_known() -> None:
    assert not replace(ProcessIdentity.current(), machine="another", pid=2**22 + 1).is_dead()


def test_setting_the_clock_makes_no_living_process_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of the boot follows the clock, and with it a start that is counted from 1970."""
    before, boot = ProcessIdentity.current(), psutil.boot_time()
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: boot + 3600)
    assert psutil.Process().create_time() > boot + 3600
    assert not before.is_dead()
    assert ProcessIdentity.current() == before


def test_two_machines_of_one_name_without_proc_are_two(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tune.study.process_identity.BOOT", tmp_path / "none")
    monkeypatch.setattr("socket.gethostname", lambda: "MacBook-Pro.local")
    monkeypatch.setattr("uuid.getnode", lambda: 0xA1B2C3D4E5F6)
    ours = replace(ProcessIdentity.current(), pid=2**22 + 1)
    assert ours.is_local()
    assert ours.is_dead()
    monkeypatch.setattr("uuid.getnode", lambda: 0xA1B2C3D4E5F7)
    assert not ours.is_local()
    assert not ours.is_dead()


def test_a_process_of_another_user_lives() -> None:
    init = psutil.Process(1)
    identity = replace(
        ProcessIdentity.current(), pid=1, started=round(init.create_time() - psutil.boot_time(), 2)
    )
    assert not identity.is_dead()
