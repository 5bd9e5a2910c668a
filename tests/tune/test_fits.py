"""The trials of one fit: scores, pruned and diverged ones, and no look at the test data."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from datamodules import DigitPairs
from tune import digit_pairs, disc
from tune.chunk import CURVE, ERRORS, SECONDS, STD, Chunk, Member
from tune.definition import Definition
from tune.points import REASON
from tune.samplers import make_pruner
from tune.storage import Place

DEFINITION = Definition("auxiliary", "paper", "grid", "none", 2, 5, 4, 60, 40, None, together=3)
DISC = replace(DEFINITION, model="disc", train_size=200, val_size=100)
Params = list[dict[str, Any]]

POINTS: Params = [
    {"lr": 0.1, "alpha": 1.0, "gamma": 1.0},
    {"lr": 0.05, "alpha": 0.2, "gamma": 1.0},
    {"lr": 0.5, "alpha": 0.5, "gamma": 0.2},
]
DISC_POINTS: Params = [
    {"activations": "tanh,relu,relu,tanh", "lr": lr, "weight_decay": decay}
    for lr, decay in ((1e-3, 0.0), (5e-3, 1e-6), (1e-2, 0.0))
]


def train(
    definition: Definition, points: Params, folder: Path, hopeless: Callable[[Any], bool]
) -> optuna.Study:
    """Train points as one fit; the trial with the number n is that of the n-th point."""

    class Pruner(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            return hopeless(trial)

    folder.mkdir(exist_ok=True)
    storage = Place(folder).open()
    study = optuna.create_study(storage=storage, pruner=Pruner())
    members = []
    for point in points:
        trial = study.ask()
        trial_id = study.trials[trial.number]._trial_id
        members.append(Member(point, trial, trial_id))
    chunk = Chunk(definition, storage, members, lambda: None)
    if definition.model == "disc":
        disc.train(chunk)
    else:
        digit_pairs.train(chunk, "cpu")
    return study


def never(trial: Any) -> bool:
    return False


@pytest.mark.parametrize(("definition", "points"), [(DEFINITION, POINTS), (DISC, DISC_POINTS)])
def test_a_score_is_the_mean_validation_error_over_the_repeats(
    definition: Definition, points: Params, tmp_path: Path
) -> None:
    study = train(definition, points, tmp_path, never)
    for trial in study.trials:
        errors = trial.user_attrs[ERRORS]
        assert trial.state == TrialState.COMPLETE
        assert trial.value == pytest.approx(sum(errors) / 2)
        assert trial.user_attrs[STD] == pytest.approx(abs(errors[0] - errors[1]) / math.sqrt(2))
        assert trial.user_attrs[CURVE][-1] == errors
        assert list(trial.intermediate_values) == [1, 2, 3, 4]
        assert trial.user_attrs[SECONDS] > 0
        assert [round(error * definition.val_size) / definition.val_size for error in errors] == errors


def test_the_test_data_are_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: DigitPairs) -> None:
        raise AssertionError("test pairs were asked for")

    for name in ("test_dataloader", "predict_dataloader", "all_test_dataloader"):
        monkeypatch.setattr(DigitPairs, name, refuse)
    train(DEFINITION, POINTS, tmp_path, never)


@pytest.mark.parametrize(("definition", "points"), [(DEFINITION, POINTS), (DISC, DISC_POINTS)])
def test_a_pruned_trial_stops_and_the_others_go_on_as_they_would_have(
    definition: Definition, points: Params, tmp_path: Path
) -> None:
    whole = train(definition, points, tmp_path / "whole", never)
    kept = train(
        replace(definition, pruner="median"), points, tmp_path / "kept", lambda trial: trial.number == 1
    )
    assert [trial.state.name for trial in kept.trials] == ["COMPLETE", "PRUNED", "COMPLETE"]
    assert len(kept.trials[1].user_attrs[CURVE]) == 1
    for number in (0, 2):  # in float32 a few pairs may come out otherwise
        curves = [study.trials[number].user_attrs[CURVE] for study in (whole, kept)]
        assert curves[0][0] == curves[1][0]
        assert curves[1][-1] == pytest.approx(curves[0][-1], abs=0.15)


def test_where_all_are_hopeless_the_fit_ends(tmp_path: Path) -> None:
    study = train(replace(DEFINITION, pruner="median"), POINTS, tmp_path, lambda trial: True)
    assert [trial.state.name for trial in study.trials] == ["PRUNED"] * 3
    assert [len(trial.user_attrs[CURVE]) for trial in study.trials] == [1] * 3


@pytest.mark.parametrize(("definition", "points"), [(DEFINITION, POINTS), (DISC, DISC_POINTS)])
def test_a_diverged_trial_fails_with_its_reason_and_spares_its_neighbours(
    definition: Definition, points: Params, tmp_path: Path
) -> None:
    first, second, third = points
    study = train(definition, [first, second | {"lr": 1e30}, third], tmp_path, never)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "FAIL", "COMPLETE"]
    failed = study.trials[1]
    assert failed.value is None
    assert failed.user_attrs[REASON].startswith("diverged: not finite after epoch ")
    assert failed.user_attrs[REASON].endswith("seed 5, 6")


@pytest.mark.parametrize(("name", "kind"), [("median", "MedianPruner"), ("hyperband", "HyperbandPruner")])
def test_pruners_have_optunas_names(name: str, kind: str) -> None:
    assert type(make_pruner(replace(DEFINITION, pruner=name))).__name__ == kind
