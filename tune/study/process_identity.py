"""Which process runs a trial, and whether it is dead: machine, process number and start time tell."""

import os
import socket
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

# Linux tells one boot of a machine, and one namespace of process numbers, from all others.
BOOT, NAMESPACE = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")


@dataclass(frozen=True)
class ProcessIdentity:
    """A process, told from later processes with its number and from those of other machines."""

    machine: str  # host, boot, and namespace of process numbers; or host and network card
    pid: int
    started: float  # in seconds

    @classmethod
    def current(cls) -> Self:
        """This process."""
        return cls(_this_machine(), os.getpid(), _started(psutil.Process()))

    def is_local(self) -> bool:
        """Whether it is or was a process of this machine."""
        return self.machine == _this_machine()

    def is_dead(self) -> bool:
        """Whether the process is known to have ended; nothing is known of those of other machines."""
        if not self.is_local():
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
            return False  # another user's, or it ends just now: the next look tells


def _this_machine() -> str:
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
