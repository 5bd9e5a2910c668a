"""Who holds a trial, and whether he still lives: by process number and start time on this machine."""

from __future__ import annotations

import os
import socket
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

# Linux tells one boot of a machine, and one namespace of process numbers, from all others.
BOOT, NAMESPACE = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")


@dataclass(frozen=True)
class Owner:
    """A process, named so that no later one of its number and none of another machine is taken for it."""

    place: str  # host, boot, and namespace of process numbers; or host and network card
    pid: int
    started: float  # in seconds

    @classmethod
    def me(cls) -> Owner:
        """This process."""
        return cls(_place(), os.getpid(), _started(psutil.Process()))

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
        if not psutil.pid_exists(self.pid):
            return True
        try:
            process = psutil.Process(self.pid)
            ended = process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
            return ended or _started(process) != self.started
        except psutil.ZombieProcess:
            return True
        except psutil.Error:
            return False  # somebody else's, or it ends just now: the next look tells


def _place() -> str:
    if not BOOT.exists():  # two machines may have one name, but not one network card
        return f"{socket.gethostname()} {uuid.getnode():012x}"
    namespace = [str(NAMESPACE.readlink())] if NAMESPACE.is_symlink() else []
    return " ".join([socket.gethostname(), BOOT.read_text().strip(), *namespace])


def _started(process: psutil.Process) -> float:
    """Start of a process, by the same clock for every process that asks.

    Linux counts it from the boot. psutil adds the time of the boot, which moves when somebody sets the clock.
    """
    boot = psutil.boot_time() if psutil.LINUX else 0.0
    return round(process.create_time() - boot, 2)  # in hundredths of a second
