"""Commands that begin one study at once agree about what it is."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from lightning_modules.command.cli import CommandError
from tune.study.definition import Definition
from tune.study.storage import Place

DEFINITION = Definition("auxiliary", "paper", "grid", "none", 2, 0, 3, 60, 40, None, together=3)


@pytest.fixture(params=["file", "server"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place(tmp_path, None if request.param == "file" else request.getfixturevalue("postgresql"))


def enter(place: Place, name: str, definition: Definition) -> Definition:
    """What a command does, each with a connection of its own."""
    study = optuna.create_study(study_name=name, storage=place.open(), load_if_exists=True)
    return definition.enter(study, optuna.__version__)


@pytest.fixture
def overtaken(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, Definition, Definition], Definition]:
    """Enters a second definition, which finds the study empty, while a first one is entered meanwhile."""

    def run(name: str, first: Definition, second: Definition) -> Definition:
        looked, entered = threading.Event(), threading.Event()

        def look(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
            seen = study.get_trials()
            if threading.current_thread() is not threading.main_thread():
                looked.set()
                assert entered.wait(60)
            return seen

        monkeypatch.setattr(optuna.Study, "trials", property(look))
        with ThreadPoolExecutor(1) as pool:
            late = pool.submit(enter, place, name, second)
            assert looked.wait(60)
            assert enter(place, name, first) == first
            entered.set()
            return late.result()

    return run


def test_the_first_ones_choice_for_its_machine_is_everybodys(
    overtaken: Callable[[str, Definition, Definition], Definition], place: Place
) -> None:
    first = replace(DEFINITION, together=5)
    assert overtaken("cores", first, DEFINITION) == first
    study = optuna.load_study(study_name="cores", storage=place.open())
    assert Definition.of(study) == first
    assert study.user_attrs["optuna"] == optuna.__version__


def test_a_second_one_with_other_settings_is_refused(
    overtaken: Callable[[str, Definition, Definition], Definition], place: Place
) -> None:
    with pytest.raises(CommandError, match="study settings was begun with repeats 2, not 4; choose another"):
        overtaken("settings", DEFINITION, replace(DEFINITION, repeats=4))
    assert Definition.of(optuna.load_study(study_name="settings", storage=place.open())) == DEFINITION


def test_a_study_whose_creator_was_killed_before_it_wrote_its_settings_is_defined_by_the_next(
    place: Place,
) -> None:
    optuna.create_study(study_name="orphan", storage=place.open())
    assert enter(place, "orphan", DEFINITION) == DEFINITION
