"""Whole commands: the digit nets from scratch learn as Lightning's do."""

import json
import subprocess
import sys
from pathlib import Path
from statistics import mean, stdev

import pytest

from train import main as train_main

ROOT = Path(__file__).parents[4]
RUNS = 6


@pytest.mark.slow
def test_a_whole_command_ends_within_noise_of_lightnings(tmp_path: Path) -> None:
    """The net that has all layers and losses; all three follow torch step by step in test_digits_networks."""
    flags = ["--runs", str(RUNS), "--log_dir", str(tmp_path)]
    command = [sys.executable, "-m", "scratch_framework", "--net", "auxiliary", *flags, "--name", "scratch"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    train_main([*flags, "--model", "auxiliary", "--name", "lightning"])
    errors = []
    for name in ("scratch", "lightning"):
        rows = json.loads((tmp_path / name / "results.json").read_text())["rows"]
        errors.append([row["test_error"] for row in rows])
    noise = (sum(stdev(shares) ** 2 for shares in errors) / RUNS) ** 0.5  # of the difference of two means
    assert abs(mean(errors[0]) - mean(errors[1])) < 4 * noise
    assert mean(errors[0]) < 0.08


@pytest.mark.slow
def test_a_full_disk_costs_the_checkpoint_and_nothing_else(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: results fit, the checkpoint does not."""
    limited = ["bash", "-c", 'ulimit -f 200; exec "$@"', "bash"]
    flags = ["--net", "cnn", "--runs", "4", "--max_epochs", "1", "--log_dir", str(tmp_path), "--name", "full"]
    command = [*limited, sys.executable, "-m", "scratch_framework", *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "checkpoint.pt could not be written" in done.stderr
    assert "error in %" in done.stdout
    assert len(json.loads((tmp_path / "full" / "results.json").read_text())["rows"]) == 4
    assert (tmp_path / "full" / "results.png").exists()
    assert not list(tmp_path.rglob("checkpoint*"))  # nor half of one
