"""What TensorBoard is told: read back from the event file."""

import math
import signal
import time
from pathlib import Path
from statistics import mean, stdev

import pytest
from events import events
from matplotlib.figure import Figure
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from lightning_modules.results.tensorboard import FLUSH, EpochMetrics, StudyLog


def test_an_epoch_is_logged_once_all_replicas_have_reported(tmp_path: Path) -> None:
    log = StudyLog(tmp_path, replicas=3)
    log.add(0, EpochMetrics(0, 20, {"val/error": [0.1, 0.2]}))
    log.add(0, EpochMetrics(1, 40, {"val/error": [0.2, 0.2]}))
    log.add(2, EpochMetrics(0, 20, {"val/error": [0.6]}))
    log.finish({"lr": 0.1}, {"test_error": 0.25}, {"test/mistakes": Figure()})
    accumulator = events(tmp_path)
    assert [(e.step, pytest.approx(0.3)) for e in accumulator.Scalars("val/error")] == [
        (20, pytest.approx(0.3))
    ]
    deviation = 0.07**0.5
    assert accumulator.Scalars("zone/val/error_low")[0].value == pytest.approx(0.3 - deviation)
    assert accumulator.Scalars("zone/val/error_high")[0].value == pytest.approx(0.3 + deviation)
    assert accumulator.Tags()["images"] == ["when_trained/test_mistakes"]


def test_a_replica_that_diverged_neither_hides_nor_bends_the_others_curve(tmp_path: Path) -> None:
    log = StudyLog(tmp_path, replicas=3)
    log.add(0, EpochMetrics(0, 20, {"train/loss": [1.0, math.nan, 3.0], "val/error": [0.1, 0.9, 0.3]}))
    log.add(0, EpochMetrics(1, 40, {"train/loss": [math.inf] * 3, "val/error": [0.1, 0.9, 0.3]}))
    log.close()
    curves = events(tmp_path)
    for tag, average, deviation in (("train/loss", 2, 2**0.5), ("val/error", 0.2, 0.02**0.5)):
        assert curves.Scalars(tag)[0].value == pytest.approx(average)
        assert curves.Scalars(f"zone/{tag}_high")[0].value == pytest.approx(average + deviation)
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
    (high,) = [event.value for event in curves.Scalars("zone/when_trained/test_error_high")]
    if errors:
        assert high == pytest.approx(mean(errors) + (stdev(errors) if len(errors) > 1 else 0))
    else:
        assert math.isnan(high)
    assert curves.Scalars("when_trained/test_error")[0].step == 20


def test_hyperparameters_and_final_metrics_lie_in_the_same_single_event_file(tmp_path: Path) -> None:
    log = StudyLog(tmp_path, replicas=1)
    log.add(0, EpochMetrics(0, 20, {"val/error": [0.1]}))
    log.add_runs({"test/error": [0.25]})
    log.finish({"model": "cnn", "lr": 0.1, "alpha": None}, {"test_error": 0.25, "val_error": 0.2}, {})
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1
    accumulator = events(tmp_path)
    assert [event.value for event in accumulator.Scalars("when_trained/test_error")] == [0.25]
    content = [
        HParamsPluginData.FromString(accumulator.SummaryMetadata(tag).plugin_data.content)
        for tag in ("_hparams_/experiment", "_hparams_/session_start_info")
    ]
    infos = {info.name: info.differs for info in content[0].experiment.hparam_infos}
    assert infos == {"model": True, "lr": False, "alpha": False}  # those that differ have the first columns
    assert content[1].session_start_info.hparams.keys() == {"model", "lr"}  # this net has no alpha
    names = [info.name.tag for info in content[0].experiment.metric_infos]
    assert names == ["when_trained/test_error", "when_trained/val_error"]


def test_curves_come_before_what_has_one_point_and_the_ends_of_bands_last(tmp_path: Path) -> None:
    log = StudyLog(tmp_path, replicas=2)
    log.add(0, EpochMetrics(0, 20, {"val/error": [0.1, 0.2], "train/loss": [0.1, 0.3]}))
    log.add_runs({"test/error": [0.1, 0.2], "test/digit_error": [0.1, 0.2]})
    log.finish({}, {"test_error": 0.15}, {"figure/2.1": Figure()})
    accumulator = events(tmp_path)
    tags = accumulator.Tags()
    groups = sorted(dict.fromkeys(tag.partition("/")[0] for tag in [*tags["scalars"], *tags["images"]]))
    assert groups == ["train", "val", "when_trained", "zone"]
    assert all(tag.startswith("zone/") for tag in tags["scalars"] if tag.endswith(("_low", "_high")))
    layout = accumulator.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0]
    assert all(name in layout for name in (b"zone/val/error_low", b"zone/val/error_high"))


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
    assert [event.step for event in events(tmp_path).Scalars("zone/val/error_high")] == [20]
