"""A real SLURM cluster on loopback: one controller and two machines, which are two daemons of this one."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from postgresql_server import free_port

CONFIG = """
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
NodeName=one NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=4
NodeName=two NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=4
PartitionName=all Nodes=one,two Default=YES
"""


@contextmanager
def serve() -> Iterator[dict[str, str]]:
    """Run a cluster; yield the environment in which its commands find it.

    The test is skipped where the programs (of Debian: slurmctld, slurmd, slurm-client, munge) do not start.
    """
    if missing := [name for name in ("munged", "slurmctld", "slurmd", "srun") if not shutil.which(name)]:
        pytest.skip(f"no SLURM: {', '.join(missing)} not installed")
    if os.geteuid() != 0:
        pytest.skip("SLURM's daemons want to be root")
    with tempfile.TemporaryDirectory(prefix="slurm", ignore_cleanup_errors=True) as name:
        folder, started = Path(name), list[subprocess.Popen[bytes]]()
        folder.chmod(0o755)  # munged insists
        (folder / "state").mkdir()
        ports = [free_port() for _ in range(3)]
        config = CONFIG.format(host=socket.gethostname().partition(".")[0], folder=folder, ports=ports)
        (folder / "slurm.conf").write_text(config)
        key = folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
        files = {name: folder / f"munge.{name}" for name in ("socket", "pid-file", "log-file", "seed-file")}
        munge = ["munged", "--foreground", "--force", f"--key-file={key}"]
        daemons = [
            [*munge, *(f"--{name}={path}" for name, path in files.items())],
            ["slurmctld", "-D", "-c"],
            ["slurmd", "-D", "-N", "one"],
            ["slurmd", "-D", "-N", "two"],
        ]
        try:
            for daemon in daemons:
                nowhere = subprocess.DEVNULL
                started.append(subprocess.Popen(daemon, env=environment, stdout=nowhere, stderr=nowhere))
                time.sleep(0.5)
            wait_for_two(environment)
            yield environment
        finally:
            for process in reversed(started):
                process.terminate()
                process.wait()


def wait_for_two(environment: dict[str, str]) -> None:
    """Wait until both machines are idle."""
    for _ in range(60):
        said = subprocess.run(
            ["sinfo", "-h", "-o", "%T %D"], env=environment, capture_output=True, text=True
        ).stdout
        if said.split() == ["idle", "2"]:
            return
        time.sleep(0.5)
    pytest.skip(f"SLURM did not start: sinfo says {said!r}")
