"""A setting is one field: its flag, its range, its default and its way into the module follow from it."""

from dataclasses import replace
from typing import Any

import pytest

from lightning_modules.command.settings import changes_of, flags_of
from lightning_modules.models.recipes import RECIPES
from lightning_modules.models.registry import MODULES
from lightning_modules.models.settings import (
    SETTING_NAMES,
    SETTINGS,
    AuxiliaryLossSettings,
    PairSettings,
    WeightSharingSettings,
)

OF_RECIPES = [settings for recipe in RECIPES.values() for settings in recipe.settings.values()]


@pytest.mark.parametrize("settings", OF_RECIPES, ids=lambda settings: type(settings).__name__)
def test_a_module_keeps_its_settings_as_plain_hyperparameters(settings: PairSettings) -> None:
    module = MODULES[settings.model].from_settings(replace(settings, width=4).settled(), [3, 4])
    assert module.hparams == {"seed": [3, 4], **module.settings.of_module()}
    again = type(module)(**module.hparams)
    assert again.settings == module.settings
    assert settings.settled() == settings


def test_a_flag_has_the_type_and_meaning_of_its_field_and_keeps_the_recipes_value_by_default() -> None:
    flags = {flag.name: flag for flag in changes_of(SETTINGS.values())}
    assert list(flags) == SETTING_NAMES
    assert {*SETTING_NAMES} == {name for kind in SETTINGS.values() for name in kind.rules()}
    assert (flags["alpha"].type, flags["alpha"].default) == (float | None, None)
    assert all(flag.help and flag.default is None for flag in flags.values())
    own = {flag.name: flag for flag in flags_of(AuxiliaryLossSettings)}
    assert (own["alpha"].type, own["alpha"].default) == (float, 1.0)
    assert "alpha" not in WeightSharingSettings.rules()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label_smoothing": 1}, r"label_smoothing must lie in \[0, 1\), got 1.0"),
        ({"lr": [0.1, 0.0]}, "lr must be above 0 and finite, got 0.0"),
        ({"gamma": "1"}, "gamma must be a number, got '1'"),
        ({"width": 2000}, "width must be at most 1024, got 2000"),
        ({"max_epochs": 0}, "max_epochs must be at least 1, got 0"),
        ({"restarts": 2}, "restarts"),
    ],
)
def test_no_settings_are_out_of_range_however_they_are_made(changes: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        replace(AuxiliaryLossSettings(), **changes)


def test_replicas_are_taken_with_their_own_values() -> None:
    settings = AuxiliaryLossSettings(lr=[0.1, 0.2, 0.3], alpha=0.5)
    assert settings.take([2, 0]) == AuxiliaryLossSettings(lr=[0.3, 0.1], alpha=0.5)
