"""What the progress bar says, and how long it says that the rest takes."""

import io
import math

import pytest
from rich.console import Console

from lightning_modules.results import progress
from lightning_modules.results.progress import StudyProgress, progress_bar
from lightning_modules.results.tensorboard import EpochMetrics


def study(model: str, replicas: int, epochs: int) -> StudyProgress:
    return StudyProgress(Console(quiet=True), {model: replicas}, epochs)


@pytest.mark.parametrize("kept", [0, 1, 50, 90])
def test_the_time_that_is_left_is_told_by_what_is_trained_now(kept: int) -> None:
    seconds = 0.0
    bar = study("cnn", 1, 100)
    bar.progress.get_time = lambda: seconds
    bar.progress.reset(bar.task)
    for epoch in range(kept):
        bar.add("cnn", 0, EpochMetrics(epoch, epoch, {"train/error": [0.5]}), kept=True)
    for epoch in range(kept, kept + 5):
        seconds += 2.0
        bar.add("cnn", 0, EpochMetrics(epoch, epoch, {"train/error": [0.5]}))
    (task,) = bar.progress.tasks
    assert task.completed == kept + 5
    assert task.time_remaining == 2 * (100 - kept - 5)


def test_a_study_of_which_all_epochs_were_kept_has_none_left() -> None:
    bar = study("weight_sharing", 1, 2)
    for epoch in range(2):
        bar.add("weight_sharing", 0, EpochMetrics(epoch, epoch, {"train/error": [0.5]}), kept=True)
    (task,) = bar.progress.tasks
    assert task.finished
    assert task.time_remaining == 0


def test_what_is_said_is_the_mean_of_all_replicas_after_the_slowest_ones_epoch() -> None:
    bar = study("cnn", 3, 3)
    (task,) = bar.progress.tasks
    said = [task.description]
    for first, epoch, errors in (
        (0, 0, [0.1, 0.2]),
        (0, 1, [0.0, 0.0]),
        (2, 0, [0.6]),
        (0, 2, [0.0, 0.0]),
        (2, 1, [math.nan]),
        (2, 2, [math.nan]),
    ):
        values = {"train/error": [1.0] * len(errors), "val/error": errors}
        bar.add("cnn", first, EpochMetrics(epoch, epoch, values))
        said.append(task.description)
    assert said == [
        "cnn: loading",
        "cnn: training",
        "cnn: training",
        "cnn: training 1/3, val/error 30.0 %",
        "cnn: training 1/3, val/error 30.0 %",
        "cnn: training 2/3, val/error 0.0 %",
        "cnn: testing, val/error 0.0 %",
    ]
    assert task.finished


def test_a_log_file_gets_a_line_a_minute_and_a_terminal_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "MINUTE", 0.05)
    files = {terminal: io.StringIO() for terminal in (False, True)}
    for terminal, file in files.items():
        with progress_bar(Console(file=file, force_terminal=terminal, width=80)) as bar:
            bar.add_task("cnn: training", total=1)
            bar._stopped.wait(0.4)
    assert 3 <= files[False].getvalue().count("\n") <= 10
    assert set(files[False].getvalue()) <= set("cnn: training ━0%-left\n") | set(":")
    assert files[True].getvalue().count("\n") == 1
