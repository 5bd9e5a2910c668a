"""All pairs of settings: each trains and has an effect, or is refused in a line that names a setting."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from setting_pairs import PAIRS, RECIPES, SINGLE, VALUES, train

from datamodules import DigitPairs
from lightning_modules.models.recipes import resolve
from lightning_modules.models.registry import MODULES
from lightning_modules.models.settings import PairSettings


def resolved(recipe: str, model: str, given: Mapping[str, Any]) -> PairSettings | None:
    """The settings of the model; None if they are refused, in a line that names one of those given."""
    try:
        return replace(resolve(RECIPES[recipe], [model], given)[model], batch_size=8)
    except ValueError as error:
        assert_names(str(error), given)
        return None


def assert_names(line: str, given: Mapping[str, Any]) -> None:
    assert "\n" not in line
    assert any(name in line for name in given), f"{line!r} names none of {given}"


# What one training does not show: teams are several, and merged digits are parted where there are some.
UNSEEN = {"ensemble", "restarts", "split_merged"}


class Trained:
    """Runs that were trained, so that none is trained twice."""

    def __init__(self, recipe: str, model: str) -> None:
        self.recipe, self.model = recipe, model
        self.known = cache(train)

    def run(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[torch.Tensor]] | None:
        """The resolved settings and what came out; None if they are refused."""
        chosen = resolved(self.recipe, self.model, given)
        if chosen is None:
            return None
        try:
            result = self.known(chosen)
        except ValueError as error:
            assert_names(str(error), given)
            return None
        return {name: value for name, value in asdict(chosen).items() if name not in UNSEEN}, result


def same(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> bool:
    return len(ours) == len(theirs) and all(map(torch.equal, ours, theirs))


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("model", MODULES)
def test_every_pair_of_settings_trains_and_has_an_effect_or_is_refused(recipe: str, model: str) -> None:
    trained = Trained(recipe, model)
    for pair in PAIRS:
        both = trained.run(pair)
        for name, value in pair.items():
            if both and (one := trained.run({name: value})) and both[0] != one[0]:
                assert not same(both[1], one[1]), f"{pair} trains as {name} alone does"
    for name, value in SINGLE:
        one, none = trained.run({name: value}), trained.run({})
        assert none
        if one and one[0] != none[0]:
            assert not same(one[1], none[1]), f"{name}={value} trains as without it"


@settings(max_examples=60)
@given(st.sampled_from(sorted(RECIPES)), st.sampled_from(sorted(MODULES)), st.data())
def test_any_settings_make_a_module_that_steps_or_are_refused(
    recipe: str, model: str, data: st.DataObject
) -> None:
    names = data.draw(st.lists(st.sampled_from(sorted(VALUES)), max_size=4, unique=True))
    some = {name: data.draw(st.sampled_from(VALUES[name])) for name in names}
    if (chosen := resolved(recipe, model, some)) is None:
        return
    DigitPairs(**chosen.taken_by("DigitPairs"))
    try:
        module = MODULES[model].from_settings(chosen, [3, 4])
    except ValueError as error:
        assert_names(str(error), some)
        return
    outputs = module(torch.rand(4, 4, 14, 14))
    module.loss(
        outputs, torch.ones(4, 2, dtype=torch.int64), torch.ones(4, 2, 2, dtype=torch.int64)
    ).sum().backward()
    module.make_optimizer().step()
