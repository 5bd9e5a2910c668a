"""Processes of a command that a test started."""

import time
from pathlib import Path

import psutil


def workers_of(group: int) -> list[int]:
    """Processes of a command that its server of processes has started.

    Args:
        group: The command's process group.
    """
    parents, servers = dict[int, int](), set[int]()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            called = (folder / "cmdline").read_bytes()
        except OSError:
            continue  # it has just ended
        if int(fields[2]) == group:
            parents[int(folder.name)] = int(fields[1])
            if b"forkserver" in called:
                servers.add(int(folder.name))
    return [pid for pid, parent in parents.items() if parent in servers]


def let_compute(pid: int, seconds: float) -> None:
    """Wait until a process has computed for some time, however busy the machine is.

    Args:
        pid: Its number.
        seconds: Of processor time, from now on.
    """
    process = psutil.Process(pid)
    enough = process.cpu_times().user + seconds
    while process.cpu_times().user < enough:
        time.sleep(0.1)
