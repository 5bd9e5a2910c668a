"""The trials of one fit: scores, pruned and diverged ones, and no look at the test data."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from optuna.trial import TrialState

from datamodules import DigitPairs
from scratch_framework.experiments.disc.learners import ScratchLearner
from scratch_framework.experiments.disc.points import DataConfig
from scratch_framework.experiments.disc.recipe import PAPER, Mistake
from scratch_framework.experiments.disc.training import evaluate, examples, train_epoch
from tune.fit import digit_pairs, disc
from tune.fit.trial_batch import CURVE, ERRORS, SECONDS, STD, BatchedTrial, TrialBatch
from tune.study.definition import Definition
from tune.study.samplers import make_pruner
from tune.study.storage import StudyStorage
from tune.study.trials import REASON

DEFINITION = Definition("auxiliary", "paper", "grid", "none", 2, 5, 4, 60, 40, None, trials_per_fit=3)
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
    storage = StudyStorage(folder).open()
    study = optuna.create_study(storage=storage, pruner=Pruner())
    members = []
    for point in points:
        trial = study.ask()
        trial_id = study.trials[trial.number]._trial_id
        members.append(BatchedTrial(point, trial, trial_id))
    batch = TrialBatch(definition, storage, members, lambda: None)
    if definition.model == "disc":
        disc.train(batch)
    else:
        digit_pairs.train(batch, "cpu")
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
        assert trial.value == pytest.approx(100 * sum(errors) / 2)
        assert trial.user_attrs[STD] == pytest.approx(abs(errors[0] - errors[1]) / math.sqrt(2))
        assert trial.user_attrs[CURVE][-1] == errors
        assert list(trial.intermediate_values) == [1, 2, 3, 4]
        assert trial.user_attrs[SECONDS] > 0
        assert [round(error * definition.val_size) / definition.val_size for error in errors] == errors


@pytest.mark.parametrize("mistake", ["none", "bias_per_row"])
def test_a_score_on_the_disc_is_that_of_a_training_by_itself(mistake: Mistake, tmp_path: Path) -> None:
    definition = replace(DISC, mistake=mistake)
    study = train(definition, DISC_POINTS, tmp_path, never)
    recipe, seeds = (
        replace(PAPER, mistake=mistake),
        definition.seeds,
    )  # that of the second point
    learner = ScratchLearner(recipe, seeds, 16, compiled=False)
    shown, held_out = (
        examples(recipe, DataConfig().draw(purpose, count, seeds), torch.float32)
        for purpose, count in (("train", definition.train_size), ("val", definition.val_size))
    )
    for epoch in range(definition.max_epochs):
        train_epoch(learner, recipe, shown, epoch)
    assert evaluate(learner, recipe, held_out)[1].tolist() == pytest.approx(
        study.trials[1].user_attrs[ERRORS], abs=1.5 / definition.val_size
    )


@pytest.mark.parametrize(("definition", "points"), [(DEFINITION, POINTS), (DISC, DISC_POINTS)])
def test_the_test_data_are_not_touched(
    definition: Definition, points: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither by a loader, nor as the data module's attributes, nor are points drawn for a test."""

    def refuse(*_: object) -> None:
        raise AssertionError("test data were asked for")

    for name in ("test_dataloader", "predict_dataloader", "all_test_dataloader"):
        monkeypatch.setattr(DigitPairs, name, refuse)
    setup = DigitPairs.setup

    def without_test_data(self: DigitPairs, stage: str) -> None:
        setup(self, stage)
        del self.test_set, self.test_digits

    monkeypatch.setattr(DigitPairs, "setup", without_test_data)
    drawn, draw = set[str](), DataConfig.draw

    def note(self: DataConfig, purpose: Any, *more: Any) -> Any:
        drawn.add(purpose)
        return draw(self, purpose, *more)

    monkeypatch.setattr(DataConfig, "draw", note)
    train(definition, points, tmp_path, never)
    assert drawn == ({"train", "val"} if definition.model == "disc" else set())


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
    for number in (0, 2):
        curves = [study.trials[number].user_attrs[CURVE] for study in (whole, kept)]
        assert curves[0][0] == curves[1][0]
        assert len(curves[1]) == 4
        # In float32 a pair of those that are counted may come out otherwise.
        assert np.abs(np.subtract(*curves)).max() <= 1.5 / definition.val_size


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


def decisions(pruner: Any, losses: list[float], value: float) -> list[bool]:
    """Whether a trial of 25 epochs is dropped after each, beside complete ones with constant errors."""
    study = optuna.create_study(pruner=make_pruner(replace(DEFINITION, pruner=pruner, max_epochs=25)))
    for loss in losses:
        steps = dict.fromkeys(range(1, 26), loss)
        study.add_trial(optuna.trial.create_trial(value=loss, intermediate_values=steps))
    trial, dropped = study.ask(), list[bool]()
    for epoch in range(1, 26):
        trial.report(value, epoch)
        dropped.append(trial.should_prune())
    return dropped


def test_the_median_drops_from_the_sixth_trial_on_and_from_the_fifth_epoch_of_25_on() -> None:
    assert not any(decisions("median", [0.1] * 4, 0.5))
    assert decisions("median", [0.1] * 5, 0.5) == [False] * 4 + [True] * 21
    assert not any(decisions("median", [0.1] * 5, 0.05))
    assert not any(decisions("none", [0.1] * 5, 0.5))


def test_hyperband_begins_after_a_fifth_of_the_epochs_and_keeps_one_of_three() -> None:
    pruner = make_pruner(replace(DEFINITION, pruner="hyperband", max_epochs=25))
    assert isinstance(pruner, optuna.pruners.HyperbandPruner)
    assert (pruner._min_resource, pruner._max_resource, pruner._reduction_factor) == (5, 25, 3)
