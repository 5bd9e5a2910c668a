"""A real PostgreSQL server on loopback."""

import os
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


def binaries() -> Path:
    """Folder of the server's programs: on the PATH, or where Debian puts them.

    Without them the test is skipped, but never in CI.
    """
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    if folders := sorted(Path("/usr/lib/postgresql").glob("*/bin")):
        return folders[-1]
    reason = "no PostgreSQL server: initdb is neither on the PATH nor in /usr/lib/postgresql/*/bin"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def lent_user(folder: str) -> dict[str, Any]:
    """Arguments of a process for the server, which refuses to be root: another user, who gets the folder."""
    if os.geteuid() != 0:
        return {"cwd": folder}
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": [], "cwd": folder}


class Server:
    """A server that can be stopped and started again."""

    def __init__(self, folder: str) -> None:
        """Make its database.

        Args:
            folder: For its files; empty.
        """
        self.folder, self.port, self.who = folder, free_port(), lent_user(folder)
        make = f"{binaries() / 'initdb'} -D {folder}/data -U tune -A trust -E UTF8 --no-sync"
        subprocess.run(shlex.split(make), check=True, capture_output=True, **self.who)
        self.start()

    @property
    def url(self) -> str:
        """Of its database."""
        return f"postgresql://tune@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it and wait until it answers."""
        run = f"{binaries() / 'postgres'} -D {self.folder}/data -c listen_addresses=127.0.0.1"
        run += f" -c port={self.port} -c unix_socket_directories={self.folder}"
        self.process = subprocess.Popen(shlex.split(run), stderr=subprocess.DEVNULL, **self.who)
        ready = [str(binaries() / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        for _ in range(300):
            assert self.process.poll() is None, "the server ended at once"
            if subprocess.run(ready).returncode == 0:
                return
            time.sleep(0.1)
        raise TimeoutError("the server does not answer")

    def stop(self) -> None:
        """Stop it without waiting for its clients."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait()


@contextmanager
def serve() -> Iterator[Server]:
    """Run a server."""
    with tempfile.TemporaryDirectory(prefix="postgresql", ignore_cleanup_errors=True) as folder:
        server = Server(folder)
        try:
            yield server
        finally:
            server.stop()
