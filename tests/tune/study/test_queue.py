"""Nothing is lost and nothing is double, whoever takes points and whoever disappears."""

import time
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from tune.study.definition import Definition
from tune.study.process_identity import ProcessIdentity
from tune.study.queue import TrialQueue, fail_trial
from tune.study.storage import StudyStorage
from tune.study.trials import DIVERGED, OWNER, POINT, REASON, is_finished, trials_by_point

DEFINITION = Definition("auxiliary", "paper", "grid", "none", 2, 0, 3, 60, 40, None, trials_per_fit=3)


def queue(folder: Path, count: int = 8, definition: Definition = DEFINITION) -> TrialQueue:
    storage = StudyStorage(folder).open()
    study = optuna.create_study(study_name="study", storage=storage, load_if_exists=True)
    return TrialQueue(study, storage, definition, count)


def claimed(some: TrialQueue) -> list[int]:
    return [trial.user_attrs[POINT] for trial in some.claim()]


def finish(some: TrialQueue, state: TrialState = TrialState.COMPLETE) -> None:
    for trial in some.study.get_trials(states=(TrialState.RUNNING,)):
        some.storage.set_trial_state_values(trial._trial_id, state, [0.5])


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> ProcessIdentity:
    """A living process of another machine, which takes what is taken until the end of the test."""
    identity = replace(ProcessIdentity.current(), machine="another")
    monkeypatch.setattr(ProcessIdentity, "current", lambda: identity)
    return identity


def test_points_are_taken_batch_by_batch_until_all_are_finished(tmp_path: Path) -> None:
    one, other = queue(tmp_path), queue(tmp_path)
    assert claimed(one) == [0, 1, 2]
    other.own_trials = one.own_trials  # two workers have different processes; these have one
    assert [claimed(other), claimed(one), claimed(one)] == [[3, 4, 5], [6, 7], []]
    assert one.remaining() == 8
    finish(one)
    assert (one.remaining(), claimed(one)) == (0, [])
    params = [trial.params for trial in one.study.trials]
    assert params == DEFINITION.searched().grid()[:8]


def test_a_lost_trial_is_closed_with_its_reason_and_its_point_taken_again(tmp_path: Path) -> None:
    first = queue(tmp_path)
    assert claimed(first) == [0, 1, 2]
    first.storage.set_trial_state_values(first.study.trials[1]._trial_id, TrialState.COMPLETE, [0.5])
    again = queue(tmp_path)  # holds none of them, though its process is their owner
    assert claimed(again) == [0, 2]
    lost = [trial.number for trial in again.study.trials if "lost" in trial.user_attrs.get(REASON, "")]
    assert lost == [0, 2]
    finish(again)
    assert sorted(trials_by_point(again.study.trials)) == [0, 1, 2]


def test_of_two_trials_made_at_once_the_one_with_the_lower_number_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast, slow = queue(tmp_path, 2), queue(tmp_path, 2)
    slow.own_trials = fast.own_trials
    make = slow._create_trial

    def late(point: int, trials: list[optuna.trial.FrozenTrial]) -> optuna.trial.FrozenTrial:
        """Between the look at the trials and the making of one, somebody else is faster."""
        monkeypatch.setattr(slow, "_create_trial", make)
        assert claimed(fast) == [0, 1]
        return make(point, trials)

    monkeypatch.setattr(slow, "_create_trial", late)
    assert claimed(slow) == []
    double = [t for t in slow.study.trials if t.user_attrs.get(REASON) == "duplicate of trial 0"]
    assert [trial.state for trial in double] == [TrialState.FAIL]
    assert not any(map(is_finished, double))


def test_what_was_run_while_a_process_slept_is_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast, slow = queue(tmp_path, 3), queue(tmp_path, 3)
    slow.own_trials = fast.own_trials
    make = slow._create_trial

    def late(point: int, trials: list[optuna.trial.FrozenTrial]) -> optuna.trial.FrozenTrial:
        """Between the look at the trials and the making of one, somebody runs all, but loses the first."""
        monkeypatch.setattr(slow, "_create_trial", make)
        assert claimed(fast) == [0, 1, 2]
        fail_trial(fast.storage, fast.study.trials[0]._trial_id, "lost")
        finish(fast)
        return make(point, trials)

    monkeypatch.setattr(slow, "_create_trial", late)
    assert claimed(slow) == [0]


def test_a_trial_that_is_taken_for_lost_before_it_begins_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = queue(tmp_path, 3)
    make = some._create_trial

    def lose(point: int, trials: list[optuna.trial.FrozenTrial]) -> optuna.trial.FrozenTrial:
        made = make(point, trials)
        if point != 2:
            fail_trial(some.storage, made._trial_id, "lost")
        return made

    monkeypatch.setattr(some, "_create_trial", lose)
    assert claimed(some) == [2]
    assert some.own_trials == {2}


def test_trials_of_a_living_process_elsewhere_are_left_to_it(
    tmp_path: Path, elsewhere: ProcessIdentity
) -> None:
    away = queue(tmp_path, 3)
    assert claimed(away) == [0, 1, 2]
    assert {trial.user_attrs[OWNER]["machine"] for trial in away.study.trials} == {"another"}
    with pytest.MonkeyPatch.context() as here:
        here.setattr(ProcessIdentity, "current", lambda: replace(elsewhere, machine="here"))
        assert claimed(queue(tmp_path, 3)) == []


def test_a_trial_that_is_being_taken_elsewhere_is_lost_after_a_while(
    tmp_path: Path, elsewhere: ProcessIdentity, monkeypatch: pytest.MonkeyPatch
) -> None:
    away, here = queue(tmp_path, 1), queue(tmp_path, 1)
    away._create_trial(0, [])
    monkeypatch.setattr(ProcessIdentity, "current", lambda: replace(elsewhere, machine="here"))
    assert claimed(here) == []
    monkeypatch.setattr("tune.study.queue.GRACE", -1)
    assert claimed(here) == [0]


def test_a_running_trial_of_elsewhere_without_a_heartbeat_is_lost(
    tmp_path: Path, elsewhere: ProcessIdentity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tune.study.storage.GRACE", 1)
    away, here = queue(tmp_path, 2), queue(tmp_path, 2)
    assert claimed(away) == [0, 1]
    monkeypatch.setattr(ProcessIdentity, "current", lambda: replace(elsewhere, machine="here"))
    assert claimed(here) == []
    for _ in range(3):  # the storage counts whole seconds
        time.sleep(1)
        away.storage.record_heartbeat(away.study.trials[1]._trial_id)
    assert claimed(here) == []  # one of the batch still runs
    away.storage.set_trial_state_values(away.study.trials[1]._trial_id, TrialState.COMPLETE, [0.5])
    assert claimed(here) == [0]
    assert here.study.trials[0].user_attrs[REASON].startswith("lost: no heartbeat for ")


def test_a_diverged_trial_is_finished_and_a_finished_one_cannot_be_closed(tmp_path: Path) -> None:
    some = queue(tmp_path, 2)
    first, second = some.claim()
    fail_trial(some.storage, first._trial_id, f"{DIVERGED}: not finite")
    some.storage.set_trial_state_values(second._trial_id, TrialState.PRUNED, [0.5])
    fail_trial(some.storage, second._trial_id, "lost")
    assert [trial.state for trial in some.study.trials] == [TrialState.FAIL, TrialState.PRUNED]
    assert some.remaining() == 0


def test_a_lost_trial_of_a_sampler_keeps_its_parameters(tmp_path: Path) -> None:
    definition = replace(DEFINITION, sampler="random", trials_per_fit=1)
    some = queue(tmp_path, 1, definition)
    (trial,) = some.claim()
    begun = optuna.trial.Trial(some.study, trial._trial_id)
    for name, values in definition.searched().distributions.items():
        assert isinstance(values, optuna.distributions.CategoricalDistribution)
        begun.suggest_categorical(name, values.choices)
    again = queue(tmp_path, 1, definition)
    (retried,) = again.claim()
    assert retried.params == begun.params
