"""Spaces hold what the recipes know, the modern recipes lie inside, and fits hold what belongs together."""

from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_modules.models.recipes import RECIPES, resolve
from lightning_modules.models.registry import MODULES
from scratch_framework.experiments.disc.recipe import RECIPES as DISC_RECIPES
from tune.study.definition import Definition, choose_trials_per_fit
from tune.study.spaces import PAPER, PAPER_CHOICE, SPACES, space_of

MODELS = [*MODULES, "disc"]


def define(**changes: Any) -> Definition:
    return replace(
        Definition("auxiliary", "paper", "grid", "none", 2, 0, 3, 60, 40, trials_per_fit=3), **changes
    )


@pytest.mark.parametrize(
    ("model", "points"), [("cnn", 4), ("weight_sharing", 4), ("auxiliary", 64), ("disc", 96)]
)
def test_the_papers_grids_have_its_points_and_its_choice_among_them(model: str, points: int) -> None:
    grid = space_of(model, "paper").grid()
    assert len(grid) == points
    assert PAPER_CHOICE[model] in grid
    assert {name for point in grid for name in point} == set(PAPER[model])


@pytest.mark.parametrize("model", MODELS)
def test_the_modern_recipe_lies_in_the_space_around_it(model: str) -> None:
    recipe = asdict(DISC_RECIPES["modern"] if model == "disc" else RECIPES["modern"].settings[model])
    for name, distribution in SPACES["modern"][model].items():
        if name == "weight_decay" and recipe[name] == 0:
            continue  # below a range of logarithms
        assert distribution._contains(distribution.to_internal_repr(recipe[name])), name


@pytest.mark.parametrize("model", MODULES)
@pytest.mark.parametrize("space", SPACES)
def test_every_parameter_has_an_effect_on_its_model(model: str, space: str) -> None:
    names = set(SPACES[space][model]) - {"batch_size"}
    settings = resolve(RECIPES[space], [model], dict.fromkeys(names, 0.5))[model]
    assert names.isdisjoint(settings.idle())
    assert all(getattr(settings, name) == 0.5 for name in names)


@given(st.sampled_from(MODELS), st.integers(1, 100))
def test_points_of_a_fit_differ_only_in_per_replica_hyperparameters(model: str, trials_per_fit: int) -> None:
    definition = define(model=model, trials_per_fit=trials_per_fit)
    space, fits = definition.searched(), dict[range, list[dict[str, Any]]]()
    for number, point in enumerate(space.grid()):
        fits.setdefault(definition.batch(number), []).append(point)
    for points in fits.values():
        assert len(points) <= trials_per_fit
        common = [{name: p[name] for name in p if name not in space.per_replica} for p in points]
        assert all(settings == common[0] for settings in common)


def test_a_grid_of_ranges_is_refused() -> None:
    with pytest.raises(
        ValueError, match="sampler grid needs choices, but lr has a range; take tpe or random"
    ):
        define(space="modern")


@pytest.mark.parametrize(
    ("changes", "workers", "whole", "trials_per_fit"),
    [
        ({"repeats": 5}, 2, False, 3),  # 15 replicas on a core
        ({"repeats": 5, "model": "cnn"}, 2, False, 2),  # of 4 points, so that both cores have some
        ({"repeats": 5}, 1, True, 64),
        ({"repeats": 5, "sampler": "tpe"}, 1, True, 3),  # which is to learn from those before
        ({"repeats": 30}, 2, False, 1),
        ({"repeats": 5, "model": "disc"}, 2, False, 9),  # a choice of activations has 6
        ({"sampler": "random", "space": "modern"}, 1, True, 1),  # each trial is a program of its own
    ],
)
def test_a_core_trains_as_many_trials_as_it_likes_and_an_accelerator_all(
    changes: dict[str, Any], workers: int, whole: bool, trials_per_fit: int
) -> None:
    assert choose_trials_per_fit(define(**changes), None, workers, whole) == trials_per_fit


@pytest.mark.parametrize("max_epochs", [1, 3, 25, 26, 100])
def test_the_last_epoch_is_reported_and_no_more_than_25_are(max_epochs: int) -> None:
    definition = define(max_epochs=max_epochs)
    reported = [epoch for epoch in range(max_epochs) if definition.is_reported(epoch)]
    assert reported[-1] == max_epochs - 1
    assert len(reported) <= 25
