"""The progress bar says how long the rest takes."""

import pytest
from rich.console import Console

from lightning_modules.results.progress import StudyProgress
from lightning_modules.results.tensorboard import EpochMetrics


@pytest.mark.parametrize("kept", [0, 1, 50, 90])
def test_the_time_that_is_left_is_told_by_what_is_trained_now(kept: int) -> None:
    seconds = 0.0
    bar = StudyProgress(Console(quiet=True), ["cnn"], 100)
    bar.progress.get_time = lambda: seconds
    bar.progress.reset(bar.task)
    for epoch in range(kept):
        bar.add("cnn", EpochMetrics(epoch, epoch, {"train/error": [0.5]}), kept=True)
    for epoch in range(kept, kept + 5):
        seconds += 2.0
        bar.add("cnn", EpochMetrics(epoch, epoch, {"train/error": [0.5]}))
    (task,) = bar.progress.tasks
    assert task.completed == kept + 5
    assert task.time_remaining == 2 * (100 - kept - 5)


def test_a_study_of_which_all_epochs_were_kept_has_none_left() -> None:
    bar = StudyProgress(Console(quiet=True), ["weight_sharing"], 2)
    for epoch in range(2):
        bar.add("weight_sharing", EpochMetrics(epoch, epoch, {"train/error": [0.5]}), kept=True)
    (task,) = bar.progress.tasks
    assert task.finished
    assert task.time_remaining == 0
