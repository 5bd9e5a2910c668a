"""Who holds a trial, and whether he still lives: by process number and start time on this machine."""

from __future__ import annotations

import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Owner:
    """A process, named so that no later one of its number and none of another machine is taken for it."""

    place: str  # host, boot, and namespace of process numbers
    pid: int
    started: int  # in ticks since boot; 0 where the system does not say

    @classmethod
    def me(cls) -> Owner:
        """This process."""
        return cls(_place(), os.getpid(), _started(os.getpid()) or 0)

    @classmethod
    def read(cls, written: dict[str, Any]) -> Owner:
        """From what `written` gave."""
        return cls(**written)

    def written(self) -> dict[str, Any]:
        """As a storage holds it."""
        return asdict(self)

    def is_here(self) -> bool:
        """Whether it is, or was, a process of this machine."""
        return self.place == _place()

    def is_gone(self) -> bool:
        """Whether the process is known to have ended; of one elsewhere nothing is known here."""
        if not self.is_here():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass  # somebody else's, perhaps of the same number
        started = _started(self.pid)
        return started is not None and started != self.started


def _place() -> str:
    boot, namespace = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    parts = [boot.read_text().strip()] if boot.exists() else []
    parts += [str(namespace.readlink())] if namespace.is_symlink() else []
    return " ".join([socket.gethostname(), *parts])


def _started(pid: int) -> int | None:
    """Start of a process in ticks since boot; None where the system does not say, -1 of a zombie."""
    try:
        # The name in brackets may hold anything; state and the rest follow the last one.
        state, *numbers = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return -1 if state in "ZX" else int(numbers[18])
