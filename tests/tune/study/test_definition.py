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
from tune.study.storage import StudyStorage

DEFINITION = Definition("auxiliary", "paper", "grid", "none", 2, 0, 3, 60, 40, None, trials_per_fit=3)


@pytest.fixture(params=["file", "server"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> StudyStorage:
    return StudyStorage(tmp_path, None if request.param == "file" else request.getfixturevalue("postgresql"))


def create_or_match(storage: StudyStorage, name: str, definition: Definition) -> Definition:
    """What a command does, each with a connection of its own."""
    study = optuna.create_study(study_name=name, storage=storage.open(), load_if_exists=True)
    return definition.create_or_match(study, optuna.__version__)


@pytest.fixture
def overtaken(
    storage: StudyStorage, monkeypatch: pytest.MonkeyPatch
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
            late = pool.submit(create_or_match, storage, name, second)
            assert looked.wait(60)
            assert create_or_match(storage, name, first) == first
            entered.set()
            return late.result()

    return run


def test_the_first_ones_choice_for_its_machine_is_everybodys(
    overtaken: Callable[[str, Definition, Definition], Definition], storage: StudyStorage
) -> None:
    first = replace(DEFINITION, trials_per_fit=5)
    assert overtaken("cores", first, DEFINITION) == first
    study = optuna.load_study(study_name="cores", storage=storage.open())
    assert Definition.of(study) == first
    assert study.user_attrs["optuna"] == optuna.__version__


def test_a_second_one_with_other_settings_is_refused(
    overtaken: Callable[[str, Definition, Definition], Definition], storage: StudyStorage
) -> None:
    with pytest.raises(CommandError, match="study settings was begun with repeats 2, not 4; choose another"):
        overtaken("settings", DEFINITION, replace(DEFINITION, repeats=4))
    assert Definition.of(optuna.load_study(study_name="settings", storage=storage.open())) == DEFINITION


def test_a_study_whose_creator_was_killed_before_it_wrote_its_settings_is_defined_by_the_next(
    storage: StudyStorage,
) -> None:
    optuna.create_study(study_name="orphan", storage=storage.open())
    assert create_or_match(storage, "orphan", DEFINITION) == DEFINITION
