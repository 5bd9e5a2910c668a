"""Finds the worker processes of a command that a test started."""

from pathlib import Path


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
