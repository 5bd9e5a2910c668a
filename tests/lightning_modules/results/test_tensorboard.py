"""What TensorBoard is told: read back from the event file."""

import math
import signal
import time
from pathlib import Path
from statistics import mean, stdev

import pytest
from events import events
from matplotlib.figure import Figure

from lightning_modules.results.tensorboard import FLUSH, EpochMetrics, StudyLog


def test_an_epoch_is_logged_once_all_replicas_have_reported(tmp_path: Path) -> None:
    log = StudyLog(tmp_path, replicas=3)
    log.add(0, EpochMetrics(0, 20, {"val/error": [0.1, 0.2]}))
    log.add(0, EpochMetrics(1, 40, {"val/error": [0.2, 0.2]}))
    log.add(2, EpochMetrics(0, 20, {"val/error": [0.6]}))
    log.finish({"lr": 0.1}, {"hp/test_error": 0.25}, {"test/mistakes": Figure()})
    accumulator = events(tmp_path)
    assert [(e.step, pytest.approx(0.3)) for e in accumulator.Scalars("val/error")] == [
        (20, pytest.approx(0.3))
    ]
    deviation = 0.07**0.5
    assert accumulator.Scalars("val/error_low")[0].value == pytest.approx(0.3 - deviation)
    assert accumulator.Scalars("val/error_high")[0].value == pytest.approx(0.3 + deviation)
    assert accumulator.Tags()["images"] == ["test/mistakes"]


def test_a_replica_that_diverged_neither_hides_nor_bends_the_others_curve(tmp_path: Path) -> None:
    log = StudyLog(tmp_path, replicas=3)
    log.add(0, EpochMetrics(0, 20, {"train/loss": [1.0, math.nan, 3.0], "val/error": [0.1, 0.9, 0.3]}))
    log.add(0, EpochMetrics(1, 40, {"train/loss": [math.inf] * 3, "val/error": [0.1, 0.9, 0.3]}))
    log.close()
    curves = events(tmp_path)
    for tag, average, deviation in (("train/loss", 2, 2**0.5), ("val/error", 0.2, 0.02**0.5)):
        assert curves.Scalars(tag)[0].value == pytest.approx(average)
        assert curves.Scalars(f"{tag}_high")[0].value == pytest.approx(average + deviation)
        assert math.isnan(curves.Scalars(tag)[1].value)


@pytest.mark.parametrize("errors", [[0.1, 0.3], [0.2], []])
def test_figures_of_runs_have_the_band_of_the_runs_not_of_their_trainings(
    errors: list[float], tmp_path: Path
) -> None:
    log = StudyLog(tmp_path, replicas=6)
    log.add(0, EpochMetrics(0, 20, {"val/error": [0.1] * 6}))
    log.add_runs({"test/error": errors})
    log.close()
    curves = events(tmp_path)
    (high,) = [event.value for event in curves.Scalars("test/error_high")]
    if errors:
        assert high == pytest.approx(mean(errors) + (stdev(errors) if len(errors) > 1 else 0))
    else:
        assert math.isnan(high)
    assert curves.Scalars("test/error")[0].step == 20


def test_hyperparameters_and_final_metrics_lie_in_the_same_single_event_file(tmp_path: Path) -> None:
    log = StudyLog(tmp_path, replicas=1)
    log.add(0, EpochMetrics(0, 20, {"val/error": [0.1]}))
    log.finish({"model": "cnn", "lr": 0.1}, {"hp/test_error": 0.25, "hp/val_error": 0.2}, {})
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1
    accumulator = events(tmp_path)
    assert accumulator.Scalars("hp/test_error")[0].value == 0.25
    plugins = accumulator.SummaryMetadata("_hparams_/session_start_info").plugin_data.plugin_name
    assert plugins == "hparams"


def test_ctrl_c_between_an_entry_and_the_call_that_wakes_its_writer_waits_until_both_are_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = StudyLog(tmp_path, replicas=1)
    queue = log.writer._get_file_writer().event_writer._async_writer._byte_queue
    while not queue.not_empty._waiters:  # TensorBoard's thread has nothing to do
        time.sleep(0.01)
    wake = queue.not_empty.notify

    def interrupted() -> None:
        monkeypatch.undo()
        signal.raise_signal(signal.SIGINT)
        wake()

    monkeypatch.setattr(queue.not_empty, "notify", interrupted)
    with pytest.raises(KeyboardInterrupt):
        log.add(0, EpochMetrics(0, 20, {"val/error": [0.1]}))
    start = time.monotonic()
    log.close()
    assert time.monotonic() - start < FLUSH - 1  # it would wait for a thread that sleeps as long
    assert [event.step for event in events(tmp_path).Scalars("val/error_high")] == [20]
