"""One worker process of a study is killed, as the kernel does when memory is short."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from processes import workers_of

ROOT = Path(__file__).parents[2]
PAIRS = "--train_pairs 200 --val_pairs 50 --test_pairs 50 --runs 4 --workers 2 --max_epochs 12"
TRAIN = ["train.py", "--accelerator", "cpu", "--model", "cnn", *PAIRS.split()]


def start(log_dir: Path, name: str, command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *command, "--log_dir", str(log_dir), "--name", name],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def kill_one(process: subprocess.Popen[str], log_dir: Path, sign: str) -> tuple[str, str]:
    """Kill a worker as soon as there is a file; return what the command says then."""
    while not (workers := workers_of(process.pid)) or not list(log_dir.rglob(sign)):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    os.kill(workers[0], signal.SIGKILL)
    said, complaint = process.communicate(timeout=300)
    assert process.returncode == 2, complaint
    assert complaint.count("\n") == 1, complaint
    assert "a worker process died (exit code -9: killed, often for lack of memory" in complaint
    return said, complaint


@pytest.mark.slow
def test_a_killed_worker_is_said_and_resume_gives_the_undisturbed_figures(tmp_path: Path) -> None:
    calm = start(tmp_path, "calm", TRAIN)
    assert calm.wait(timeout=600) == 0
    patient = [*TRAIN, "--checkpoint_every", "0"]
    said, _ = kill_one(start(tmp_path, "wild", patient), tmp_path / "wild", "*.part")
    assert "to go on, add --name wild --resume" in said
    again = start(tmp_path, "wild", [*patient, "--resume"])
    assert again.wait(timeout=600) == 0
    assert rows(tmp_path / "wild") == rows(tmp_path / "calm")


@pytest.mark.slow
def test_a_killed_worker_of_the_framework_from_scratch_is_said(tmp_path: Path) -> None:
    command = ["-m", "scratch_framework", "--net", "cnn", *PAIRS.split(), "--max_epochs", "100"]
    kill_one(start(tmp_path, "wild", command), tmp_path, "events*")
    assert not (tmp_path / "wild" / "results.json").exists()


def rows(study: Path) -> list[dict[str, Any]]:
    return json.loads((study / "results.json").read_text())["rows"]
