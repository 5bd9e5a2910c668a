"""A study that was killed at any moment goes on to what it would have been, to the bit."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from events import scalars

from lightning_modules.models.registry import MODULES

ROOT = Path(__file__).parents[2]
TINY = ["--accelerator", "cpu", "--train_pairs", "60", "--val_pairs", "20", "--test_pairs", "40"]

STUDIES = {
    "paper": "--recipe paper --runs 3 --workers 1 --max_epochs 12",
    "modern": "--recipe modern --runs 3 --workers 2 --max_epochs 8 --ensemble 2 --width 4 --batch_size 20",
}


# Python's own hook of its start, for workers too: a kill is to meet files that are being written.
SLOW_DISK = """
import os, time
fsync = os.fsync
os.fsync = lambda file: (time.sleep(0.05), fsync(file))[1]
"""


class Command:
    """``python train.py`` in a folder of its own, so that all are called alike, on a slow disk."""

    def __init__(self, folder: Path, study: str) -> None:
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(SLOW_DISK)
        self.folder, self.study = folder, folder / "runs" / "study"
        more = ["--checkpoint_every", "0", "--name", "study"]
        self.line = [sys.executable, str(ROOT / "train.py"), *TINY, *STUDIES[study].split(), *more]

    def start(self) -> subprocess.Popen[bytes]:
        """Begin the study, or go on with it."""
        return subprocess.Popen(
            [*self.line, "--resume"] if self.study.exists() else self.line,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(self.folder), str(ROOT)])},
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def is_writing(self) -> bool:
        """Whether a checkpoint is being written, or was when all ended."""
        return any(True for model in MODULES for _ in (self.study / model).glob("*.part.*"))

    def outcome(self) -> dict[str, Any]:
        """All that is left of it and has to be the same."""
        files = ["results.json"]
        files += [f"{model}/{file}" for model in MODULES for file in ("checkpoint.ckpt", "mistakes.npz")]
        left = {file: (self.study / file).read_bytes() for file in files}
        return left | {model: scalars(self.study / model) for model in MODULES}


class Kill(NamedTuple):
    """A way to end a study."""

    while_it_writes: bool  # a checkpoint
    alone: bool  # the command, and not its workers


def ended_at(command: Command, process: subprocess.Popen[bytes], moment: float, kind: Kill) -> bool:
    """Kill a process, and those that it started unless these are to find out for themselves.

    Args:
        command: What is running.
        process: Its process, the first of its group.
        moment: Not before, in seconds of the monotonic clock.
        kind: How.

    Returns:
        Whether it had not ended before.
    """
    while time.monotonic() < moment:
        time.sleep(0.001)
    while process.poll() is None:
        if not kind.while_it_writes or command.is_writing():
            (os.kill if kind.alone else os.killpg)(process.pid, signal.SIGKILL)
            return process.wait() == -signal.SIGKILL
        time.sleep(0.001)
    return False


@pytest.mark.slow
@pytest.mark.parametrize("study", STUDIES)
def test_killed_at_random_moments_and_while_it_writes_a_study_gives_the_same_results_to_the_bit(
    study: str, tmp_path: Path
) -> None:
    """Ten moments of each study: four while a checkpoint is written, in every other the workers live on."""
    start = time.monotonic()
    undisturbed = Command(tmp_path / "undisturbed", study)
    assert undisturbed.start().wait() == 0
    seconds, expected = time.monotonic() - start, undisturbed.outcome()
    command, moments, torn_ones = Command(tmp_path / "0", study), random.Random(study), 0
    for number in range(10):
        kind = Kill(while_it_writes=number % 5 in (1, 4), alone=number % 2 == 1)
        while not ended_at(
            command,
            process := command.start(),
            time.monotonic() + moments.uniform(0, seconds),
            kind,
        ):  # it was done before
            assert process.returncode == 0
            assert command.outcome() == expected
            seconds *= 0.8  # the machine is less busy than it was at first
            command = Command(tmp_path / f"{number}, after {process.pid}", study)
        torn_ones += command.is_writing()
    assert torn_ones
    assert command.start().wait() == 0
    assert command.outcome() == expected
