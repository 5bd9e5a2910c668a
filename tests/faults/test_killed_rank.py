"""Ranks of torchrun and whole machines are killed at any moment; the study has the figures of one process."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from events import scalars

import train

ROOT = Path(__file__).parents[2]
TINY = "--accelerator cpu --train_pairs 60 --val_pairs 20 --test_pairs 40 --replicas 2 --checkpoint_every 0"
MODEL = "auxiliary"
STUDY = [*TINY.split(), *f"--runs 6 --max_epochs 10 --model {MODEL} --recipe modern --width 4".split()]
KILLS = 20

# The agent of torchrun, which forks its ranks where the command starts an interpreter for each, which would
# import for many seconds after every kill. The slow disk lets kills meet files that are being written.
AGENT = """
import os, sys, time
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
import train
import lightning_modules.training.experiment, datamodules
fsync = os.fsync
os.fsync = lambda file: (time.sleep(0.02), fsync(file))[1]
nodes, processes, endpoint, is_host, *args = sys.argv[1:]
config = LaunchConfig(
    int(nodes), int(nodes), int(processes), run_id="job", rdzv_backend="c10d", rdzv_endpoint=endpoint,
    rdzv_configs={"is_host": is_host}, max_restarts=1000, monitor_interval=0.02, start_method="fork",
)
elastic_launch(config, train.main)(args)
"""


@contextmanager
def agent(
    nodes: int, processes: int, endpoint: str, log_dir: Path, is_host: bool = True
) -> Iterator[subprocess.Popen[bytes]]:
    """One machine's agent, in a process group of its own; `is_host` is the one of the endpoint."""
    flags = [*STUDY, "--log_dir", str(log_dir), "--name", "study"]
    with subprocess.Popen(
        [sys.executable, "-c", AGENT, str(nodes), str(processes), endpoint, str(is_host), *flags],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log_dir with the study of one process."""
    log_dir = tmp_path_factory.mktemp("alone")
    train.main([*STUDY, "--workers", "1", "--log_dir", str(log_dir), "--name", "study"])
    return log_dir


def outcome(log_dir: Path) -> dict[str, Any]:
    """All figures that are left; the nets' weights as a list of numbers."""
    study = log_dir / "study"
    assert not [path for path in study.rglob("*") if path.name.endswith((".part", ".tmp"))]
    weights = torch.load(study / MODEL / "checkpoint.ckpt", weights_only=True)["state_dict"]
    return {
        "rows": json.loads((study / "results.json").read_text())["rows"],
        "curves": scalars(study / MODEL),
        "weights": {name: tensor.tolist() for name, tensor in weights.items()},
        "mistakes": (study / MODEL / "mistakes.npz").read_bytes(),
    }


def ranks_of(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children()
    except psutil.NoSuchProcess:
        return []


def kill_ranks(process: subprocess.Popen[bytes], moments: random.Random, most: int) -> int:
    """Kill ranks at random moments, at most so many; return how many there were."""
    killed = 0
    while process.poll() is None and killed < most:
        if not (ranks := ranks_of(process.pid)):
            time.sleep(0.01)
            continue
        time.sleep(moments.uniform(0, 1.5))
        victim = moments.choice(ranks)
        if victim.is_running() and victim.status() != psutil.STATUS_ZOMBIE:
            victim.kill()
            killed += 1
            while process.poll() is None and {*ranks_of(process.pid)} & {*ranks}:
                time.sleep(0.01)
    return killed


@pytest.mark.slow
def test_ranks_killed_at_random_moments_are_restarted_and_the_study_ends_by_itself(
    alone: Path, tmp_path: Path
) -> None:
    kills, moments, expected = 0, random.Random(0), outcome(alone)
    while kills < KILLS:
        log_dir = tmp_path / str(kills)
        with agent(1, 2, "localhost:0", log_dir) as process:
            kills += kill_ranks(process, moments, KILLS - kills)
            assert process.wait(timeout=100) == 0
        assert outcome(log_dir) == expected


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["other", "first"])
def test_a_whole_machine_that_is_gone_costs_nothing_that_was_done(
    lost: str, alone: Path, tmp_path: Path
) -> None:
    """Without the other machine the first one goes on by itself; without the first, `--resume` does."""
    endpoint = f"localhost:{29400 + os.getpid() % 1000}"
    results = tmp_path / "study" / "results.json"
    with agent(2, 1, endpoint, tmp_path) as one, agent(2, 1, endpoint, tmp_path, is_host=False) as two:
        while not (claims := tmp_path / "study" / ".claims").exists() or b"1" not in claims.read_bytes():
            assert one.poll() is None
            time.sleep(0.01)
        owner = first_machine(one, two, tmp_path / "study" / ".lock")
        gone = owner if lost == "first" else ({one, two} - {owner}).pop()
        os.killpg(gone.pid, signal.SIGKILL)
        # The agent would wait for the other machine for minutes after its rank has ended.
        while lost == "other" and not (results.exists() and not ranks_of(owner.pid)):
            assert owner.poll() is None
            time.sleep(0.05)
    if lost == "first":
        assert not results.exists()
        train.main([*STUDY, "--workers", "1", "--log_dir", str(tmp_path), "--name", "study", "--resume"])
    assert outcome(tmp_path) == outcome(alone)


def first_machine(
    one: subprocess.Popen[bytes], two: subprocess.Popen[bytes], lock: Path
) -> subprocess.Popen[bytes]:
    """The machine of rank 0, which holds the study's lock."""
    files = [file.path for rank in ranks_of(one.pid) for file in rank.open_files()]
    return one if str(lock) in files else two
