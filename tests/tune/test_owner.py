"""A process is known to be gone only where that is certain."""

import subprocess
import sys
from dataclasses import replace

from tune.owner import Owner


def test_a_living_process_is_not_gone() -> None:
    assert not Owner.me().is_gone()
    assert Owner.read(Owner.me().written()) == Owner.me()


def test_an_ended_process_is_gone_though_nobody_has_waited_for_it() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.read()  # until its end
    try:
        owner = replace(Owner.me(), pid=process.pid)
        while not owner.is_gone():
            pass
    finally:
        process.wait()
    assert owner.is_gone()


def test_a_process_that_started_at_another_time_has_only_the_number() -> None:
    assert replace(Owner.me(), started=Owner.me().started + 1).is_gone()


def test_of_another_machine_nothing_is_known() -> None:
    assert not replace(Owner.me(), place="another", pid=2**22 + 1).is_gone()
