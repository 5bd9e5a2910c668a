"""A study's plots show its trials, and no trial without a score."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console

from tune.fit.trial_batch import ERRORS, STD
from tune.report.plots import draw
from tune.report.report import conclude
from tune.study.definition import Definition
from tune.study.storage import StudyStorage
from tune.study.trials import POINT, REASON

DEFINITION = Definition("auxiliary", "paper", "grid", "none", 2, 0, 3, 60, 40, None, trials_per_fit=3)
SCORES = [0.3, 0.1, None, 0.2]  # of the first points; None has diverged


def trials(scores: list[float | None], definition: Definition = DEFINITION) -> list[FrozenTrial]:
    space, made = definition.searched(), list[FrozenTrial]()
    for point, score in enumerate(scores):
        attributes: dict[str, Any] = {POINT: point, ERRORS: [score, score], STD: 0.0}
        made.append(
            optuna.trial.create_trial(
                state=TrialState.FAIL if score is None else TrialState.COMPLETE,
                value=None if score is None else 100 * score,  # in percent
                params=space.grid()[point],
                distributions=dict(space.distributions),
                user_attrs={POINT: point, REASON: "diverged: at once"} if score is None else attributes,
            )
        )
    return made


def test_the_plots_hold_the_trials_with_a_score_and_no_others() -> None:
    figures = draw(trials(SCORES), DEFINITION)
    assert figures.keys() == {"history", "parallel", "slice", "importances", "grid"}
    shown = figures["history"].axes[0].collections[0].get_offsets()
    assert np.asarray(shown)[:, 1].tolist() == pytest.approx([30, 10, 20])
    labels = [text.get_text() for axis in figures["grid"].axes for text in axis.texts]
    assert sorted(labels) == ["10.0", "20.0", "30.0"]
    for axis in figures["slice"].axes[:3]:
        assert sorted(np.asarray(axis.collections[0].get_offsets())[:, 1]) == pytest.approx([10, 20, 30])
    bars = figures["importances"].axes[0].patches
    assert len(bars) == 3
    assert sum(bar.get_width() for bar in bars) == pytest.approx(1)  # type: ignore[attr-defined]


def test_the_grid_on_the_disc_has_its_best_activations_on_top_and_a_field_for_each_score() -> None:
    disc = replace(DEFINITION, model="disc")
    grid = draw(trials([0.3, 0.2, None, 0.25, 0.4, 0.5, 0.1], disc), disc)["grid"].axes[0]
    names = [label.get_text() for label in grid.get_yticklabels()]
    assert names == ["tanh tanh tanh relu", "tanh tanh tanh tanh"]
    fields = [(*map(round, text.get_position()), text.get_text()) for text in grid.texts]  # column, row
    assert fields == [(0, 0, "10.0"), *((k, 1, f"{error}.0") for k, error in enumerate((30, 20, 25, 40, 50)))]


@pytest.fixture
def report(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> Callable[[list[float | None]], str]:
    """Reports a study whose trials have these scores."""

    def say(scores: list[float | None]) -> str:
        study = optuna.create_study(storage=StudyStorage(tmp_path).open(), study_name="study")
        DEFINITION.create_or_match(study, optuna.__version__)
        for trial in trials(scores):
            study.add_trial(trial)
        conclude(study, tmp_path, Console(width=200), 10)
        return capsys.readouterr().out

    return say


def test_what_diverged_is_counted_named_and_in_no_figure(
    report: Callable[[list[float | None]], str],
) -> None:
    said = report(SCORES)
    assert "3 trials complete, 0 pruned, 1 diverged, 0 failed" in said
    assert "trial 2 diverged: at once" in said
    assert "nan" not in said


def test_a_study_of_which_all_trials_diverged_says_so(report: Callable[[list[float | None]], str]) -> None:
    said = report([None, None])
    assert "0 trials complete, 0 pruned, 2 diverged, 0 failed" in said
    assert "trial 1 diverged: at once" in said
    assert "no trial has a score yet" in said
