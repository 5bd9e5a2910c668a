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


@contextmanager
def serve() -> Iterator[str]:
    """Run a server; its URL. It refuses to be root, so that root lends it another user."""
    programs, port, who = binaries(), free_port(), dict[str, Any]()
    with tempfile.TemporaryDirectory(prefix="postgresql", ignore_cleanup_errors=True) as folder:
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
            who = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": [], "cwd": folder}
        initdb, postgres = (f"{programs / name} -D {folder}/data" for name in ("initdb", "postgres"))
        make = shlex.split(f"{initdb} -U tune -A trust -E UTF8 --no-sync")
        subprocess.run(make, check=True, capture_output=True, **who)
        run = f"{postgres} -c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={folder}"
        server = subprocess.Popen(shlex.split(run), stderr=subprocess.DEVNULL, **who)
        try:
            _wait_for(port, server)
            yield f"postgresql://tune@127.0.0.1:{port}/postgres"
        finally:
            server.send_signal(signal.SIGINT)  # does not wait for clients
            server.wait()


def _wait_for(port: int, server: "subprocess.Popen[bytes]") -> None:
    for _ in range(300):
        assert server.poll() is None, "the server ended at once"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError("the server does not answer")
