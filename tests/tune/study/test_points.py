"""Nothing is lost and nothing is double, whoever takes points and whoever disappears."""

import time
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from tune.study.definition import Definition
from tune.study.owner import Owner
from tune.study.points import DIVERGED, OWNER, POINT, REASON, Points, close, is_finished, standing
from tune.study.storage import Place

DEFINITION = Definition("auxiliary", "paper", "grid", "none", 2, 0, 3, 60, 40, None, together=3)


def points(folder: Path, count: int = 8, definition: Definition = DEFINITION) -> Points:
    storage = Place(folder).open()
    study = optuna.create_study(study_name="study", storage=storage, load_if_exists=True)
    return Points(study, storage, definition, count)


def taken(some: Points) -> list[int]:
    return [trial.user_attrs[POINT] for trial in some.take()]


def finish(some: Points, state: TrialState = TrialState.COMPLETE) -> None:
    for trial in some.study.get_trials(states=(TrialState.RUNNING,)):
        some.storage.set_trial_state_values(trial._trial_id, state, [0.5])


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Owner:
    """A living process of another machine, which takes what is taken until the end of the test."""
    owner = replace(Owner.me(), place="another")
    monkeypatch.setattr(Owner, "me", lambda: owner)
    return owner


def test_points_are_taken_chunk_by_chunk_until_all_are_finished(tmp_path: Path) -> None:
    one, other = points(tmp_path), points(tmp_path)
    assert taken(one) == [0, 1, 2]
    other.held = one.held  # two workers have different processes; these have one
    assert [taken(other), taken(one), taken(one)] == [[3, 4, 5], [6, 7], []]
    assert one.remaining() == 8
    finish(one)
    assert (one.remaining(), taken(one)) == (0, [])
    params = [trial.params for trial in one.study.trials]
    assert params == DEFINITION.searched().grid()[:8]


def test_a_lost_trial_is_closed_with_its_reason_and_its_point_taken_again(tmp_path: Path) -> None:
    first = points(tmp_path)
    assert taken(first) == [0, 1, 2]
    first.storage.set_trial_state_values(first.study.trials[1]._trial_id, TrialState.COMPLETE, [0.5])
    again = points(tmp_path)  # holds none of them, though its process is their owner
    assert taken(again) == [0, 2]
    lost = [trial.number for trial in again.study.trials if "lost" in trial.user_attrs.get(REASON, "")]
    assert lost == [0, 2]
    finish(again)
    assert sorted(standing(again.study.trials)) == [0, 1, 2]


def test_of_two_trials_made_at_once_the_one_with_the_lower_number_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast, slow = points(tmp_path, 2), points(tmp_path, 2)
    slow.held = fast.held
    make = slow._make

    def late(point: int, trials: list[optuna.trial.FrozenTrial]) -> optuna.trial.FrozenTrial:
        """Between the look at the trials and the making of one, somebody else is faster."""
        monkeypatch.setattr(slow, "_make", make)
        assert taken(fast) == [0, 1]
        return make(point, trials)

    monkeypatch.setattr(slow, "_make", late)
    assert taken(slow) == []
    double = [t for t in slow.study.trials if t.user_attrs.get(REASON) == "duplicate of trial 0"]
    assert [trial.state for trial in double] == [TrialState.FAIL]
    assert not any(map(is_finished, double))


def test_what_was_run_while_a_process_slept_is_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast, slow = points(tmp_path, 3), points(tmp_path, 3)
    slow.held = fast.held
    make = slow._make

    def late(point: int, trials: list[optuna.trial.FrozenTrial]) -> optuna.trial.FrozenTrial:
        """Between the look at the trials and the making of one, somebody runs all, but loses the first."""
        monkeypatch.setattr(slow, "_make", make)
        assert taken(fast) == [0, 1, 2]
        close(fast.storage, fast.study.trials[0]._trial_id, "lost")
        finish(fast)
        return make(point, trials)

    monkeypatch.setattr(slow, "_make", late)
    assert taken(slow) == [0]


def test_a_trial_that_is_taken_for_lost_before_it_begins_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = points(tmp_path, 3)
    make = some._make

    def lose(point: int, trials: list[optuna.trial.FrozenTrial]) -> optuna.trial.FrozenTrial:
        made = make(point, trials)
        if point != 2:
            close(some.storage, made._trial_id, "lost")
        return made

    monkeypatch.setattr(some, "_make", lose)
    assert taken(some) == [2]
    assert some.held == {2}


def test_trials_of_a_living_process_elsewhere_are_left_to_it(tmp_path: Path, elsewhere: Owner) -> None:
    away = points(tmp_path, 3)
    assert taken(away) == [0, 1, 2]
    assert {trial.user_attrs[OWNER]["place"] for trial in away.study.trials} == {"another"}
    with pytest.MonkeyPatch.context() as here:
        here.setattr(Owner, "me", lambda: replace(elsewhere, place="here"))
        assert taken(points(tmp_path, 3)) == []


def test_a_trial_that_is_being_taken_elsewhere_is_lost_after_a_while(
    tmp_path: Path, elsewhere: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    away, here = points(tmp_path, 1), points(tmp_path, 1)
    away._make(0, [])
    monkeypatch.setattr(Owner, "me", lambda: replace(elsewhere, place="here"))
    assert taken(here) == []
    monkeypatch.setattr("tune.study.points.GRACE", -1)
    assert taken(here) == [0]


def test_a_running_trial_of_elsewhere_without_a_heartbeat_is_lost(
    tmp_path: Path, elsewhere: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tune.study.storage.GRACE", 1)
    away, here = points(tmp_path, 2), points(tmp_path, 2)
    assert taken(away) == [0, 1]
    monkeypatch.setattr(Owner, "me", lambda: replace(elsewhere, place="here"))
    assert taken(here) == []
    for _ in range(3):  # the storage counts whole seconds
        time.sleep(1)
        away.storage.record_heartbeat(away.study.trials[1]._trial_id)
    assert taken(here) == []  # one of the chunk still runs
    away.storage.set_trial_state_values(away.study.trials[1]._trial_id, TrialState.COMPLETE, [0.5])
    assert taken(here) == [0]
    assert here.study.trials[0].user_attrs[REASON].startswith("lost: no heartbeat for ")


def test_a_diverged_trial_is_finished_and_a_finished_one_cannot_be_closed(tmp_path: Path) -> None:
    some = points(tmp_path, 2)
    first, second = some.take()
    close(some.storage, first._trial_id, f"{DIVERGED}: not finite")
    some.storage.set_trial_state_values(second._trial_id, TrialState.PRUNED, [0.5])
    close(some.storage, second._trial_id, "lost")
    assert [trial.state for trial in some.study.trials] == [TrialState.FAIL, TrialState.PRUNED]
    assert some.remaining() == 0


def test_a_lost_trial_of_a_sampler_keeps_its_parameters(tmp_path: Path) -> None:
    definition = replace(DEFINITION, sampler="random", together=1)
    some = points(tmp_path, 1, definition)
    (trial,) = some.take()
    begun = optuna.trial.Trial(some.study, trial._trial_id)
    for name, values in definition.searched().distributions.items():
        assert isinstance(values, optuna.distributions.CategoricalDistribution)
        begun.suggest_categorical(name, values.choices)
    again = points(tmp_path, 1, definition)
    (retried,) = again.take()
    assert retried.params == begun.params
