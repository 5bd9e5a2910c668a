"""Workers train what is missing, whatever fails beside it."""

import time
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import fake_fits
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console

from lightning_modules.command.cli import CommandError
from tune.fit.trial_batch import CURVE, TrialBatch
from tune.study.definition import Definition
from tune.study.queue import TrialQueue, fail_trial
from tune.study.storage import StudyStorage
from tune.study.trials import POINT, REASON, is_finished, trials_by_point
from tune.workers import worker
from tune.workers.heartbeat import Heartbeat
from tune.workers.supervisor import supervise
from tune.workers.worker import Job, work

DEFINITION = Definition("auxiliary", "paper", "grid", "none", 2, 0, 3, 60, 40, None, trials_per_fit=3)


def new_study(folder: Path, definition: Definition = DEFINITION, count: int = 6) -> tuple[TrialQueue, Job]:
    """A new study."""
    folder.mkdir(exist_ok=True)
    storage = StudyStorage(folder).open()
    study = optuna.create_study(study_name="study", storage=storage)
    definition.create_or_match(study, optuna.__version__)
    job = Job(StudyStorage(folder), "study", count, "cpu", None)
    return TrialQueue(study, storage, definition, count), job


def run(job: Job) -> dict[int, FrozenTrial]:
    """Work as the only worker; the trials by their points."""
    work(job, lambda value: None)
    trials = optuna.load_study(study_name="study", storage=job.storage.open()).get_trials()
    assert not [trial for trial in trials if not trial.state.is_finished()]
    finished = [trial.user_attrs[POINT] for trial in trials if is_finished(trial)]
    assert sorted(finished) == list(range(job.count))
    return trials_by_point(trials)


def test_a_batch_of_which_trials_are_lost_before_they_begin_has_its_undisturbed_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float32 the company decides about the last bits."""
    definition = replace(DEFINITION, max_epochs=4)
    calm = run(new_study(tmp_path / "calm", definition, 3)[1])
    original, lost = TrialQueue._start, set[int]()

    def lose(queue: TrialQueue, trial: FrozenTrial) -> bool:
        if (point := trial.user_attrs[POINT]) in (0, 1) and point not in lost:
            lost.add(point)
            fail_trial(queue.storage, trial._trial_id, "lost: no heartbeat")
        return original(queue, trial)

    monkeypatch.setattr(TrialQueue, "_start", lose)
    wild = run(new_study(tmp_path / "wild", definition, 3)[1])
    assert lost == {0, 1}
    for point, trial in calm.items():
        assert wild[point].user_attrs[CURVE] == trial.user_attrs[CURVE]


@pytest.mark.parametrize("sampler", ["grid", "random"])
def test_the_parameters_of_the_company_are_those_of_its_own_trials(tmp_path: Path, sampler: Any) -> None:
    queue, job = new_study(tmp_path, replace(DEFINITION, sampler=sampler))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "_train", fake_fits.train)
        trials = run(job)
    (kept,) = (trial for trial in worker._members(queue, [trials[1]]) if trial.trial is not None)
    assert kept.params == trials[1].params
    members = worker._members(queue, [trials[1]])
    assert [member.params for member in members] == [trials[point].params for point in (0, 1, 2)]
    assert [member.trial is None for member in members] == [True, False, True]


def test_a_point_that_raises_fails_with_its_reason_and_the_others_get_their_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = list[list[Any]]()

    def fragile(batch: TrialBatch, accelerator: str) -> None:
        fits.append([member.params for member in batch.members])
        if fake_fits.POISON in fits[-1]:
            raise ValueError("too wide")
        fake_fits.train(batch, accelerator)

    monkeypatch.setattr(worker, "_train", fragile)
    trials = run(new_study(tmp_path)[1])
    states = {point: trial.state for point, trial in trials.items()}
    assert states == dict.fromkeys((0, 2, 3, 4, 5), TrialState.COMPLETE) | {1: TrialState.FAIL}
    assert trials[1].user_attrs[REASON] == "failed: ValueError: too wide"
    assert [len(fit) for fit in fits if fake_fits.POISON in fit] == [3, 3, 3, 1]
    assert fake_fits.POISON not in fits[1], "what is sound comes first"


def test_a_point_that_kills_its_worker_fails_and_the_others_get_their_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tune.workers.supervisor.work", fake_fits.work)
    queue, job = new_study(tmp_path, replace(DEFINITION, trials_per_fit=1), 3)
    supervise(job, 1, queue, Console(quiet=True))
    trials = trials_by_point(queue.study.get_trials())
    assert [trials[point].state.name for point in range(3)] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert trials[1].user_attrs[REASON].startswith("failed: a worker process died (exit code -9")


@pytest.mark.slow
def test_where_every_trial_fails_the_study_ends_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tune.workers.supervisor.work", fake_fits.work)
    queue, job = new_study(tmp_path, replace(DEFINITION, trials_per_fit=1), 2)
    monkeypatch.setattr("tune.workers.supervisor.FAILURES", 1)
    with pytest.raises(CommandError, match="1 trials in a row failed, the last one: failed: a worker"):
        supervise(job, 1, queue, Console(quiet=True))


def test_a_deadline_does_not_look_at_the_clock_on_the_wall(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_train", fake_fits.train)
    job = replace(new_study(tmp_path)[1], until=time.monotonic() + 3600)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 86400)
    assert len(run(job)) == 6


def test_a_heartbeat_goes_on_after_any_error_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tune.workers.heartbeat.HEARTBEAT", 0.01)
    queue, _ = new_study(tmp_path)
    queue.claim()
    errors: list[Exception] = [
        KeyError("study"),
        RuntimeError("trouble"),
        ValueError(),
    ]
    beaten, record = Event(), queue.storage.record_heartbeat

    def fail(trial_id: int) -> None:
        if errors:
            raise errors.pop()
        record(trial_id)
        beaten.set()

    monkeypatch.setattr(queue.storage, "record_heartbeat", fail)
    with Heartbeat(queue.storage, queue):
        assert beaten.wait(60)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("tune: a heartbeat failed, others follow: ValueError")


def test_a_heartbeat_that_hangs_does_not_hold_its_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tune.workers.heartbeat.HEARTBEAT", 0.01)
    queue, _ = new_study(tmp_path)
    queue.claim()
    hangs, go_on = Event(), Event()

    def hang(trial_id: int) -> None:
        hangs.set()
        go_on.wait()

    monkeypatch.setattr(queue.storage, "record_heartbeat", hang)
    with Heartbeat(queue.storage, queue):
        assert hangs.wait(60)
    go_on.set()


def test_a_look_at_a_study_walks_no_finished_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_train", fake_fits.train)
    definition = replace(DEFINITION, sampler="random", max_epochs=1, trials_per_fit=1)
    queue, job = new_study(tmp_path, definition, 60)
    looks = list[int]()
    counting = type(queue.trials).trial_of_point

    def count(trials: Any, point: int) -> Any:
        looks.append(point)
        return counting(trials, point)

    monkeypatch.setattr(type(queue.trials), "trial_of_point", count)
    read = list[int]()
    backend = queue.storage._backend  # type: ignore[attr-defined]
    rows = type(backend)._get_trials

    def get(*args: Any, **more: Any) -> Any:
        found = rows(*args, **more)
        read.append(len(found))
        return found

    monkeypatch.setattr(type(backend), "_get_trials", get)
    run(job)
    assert len(looks) < 60 * 12
    assert sorted(read)[-2] <= 3  # the largest one is this test's own look
