"""A real disk of its own for a test: small, so that it is full soon, and one that can become read-only."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class Disk:
    """A mounted file system."""

    def __init__(self, path: Path) -> None:
        """Take it as it is.

        Args:
            path: Where it is mounted.
        """
        self.path, self.filler = path, path / "filler"

    def fill(self, left: int) -> None:
        """Leave only so many bytes free.

        Args:
            left: The bytes.
        """
        status = os.statvfs(self.path)
        self.filler.write_bytes(bytes(max(0, status.f_bavail * status.f_frsize - left)))

    def make_room(self) -> None:
        """Undo `fill`."""
        self.filler.unlink()

    def remount(self, mode: str) -> None:
        """Make it writable or not.

        Args:
            mode: "ro" or "rw".
        """
        subprocess.run(["mount", "-o", f"remount,{mode}", str(self.path)], check=True)


@contextmanager
def mounted(path: Path, size: int) -> Iterator[Disk]:
    """Mount a disk.

    Args:
        path: Where to; made here.
        size: Its bytes.
    """
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
    if refused := subprocess.run(mount, capture_output=True, text=True).stderr.strip():
        pytest.skip(f"needs the right to mount a disk, as root has it, also in CI: {refused}")
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)
