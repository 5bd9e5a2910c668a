"""The config.yaml of a run repeats it, and says what it was; the paper's column stands where it belongs."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from setting_pairs import VALUES

import train
from lightning_modules.command.settings_file import to_yaml
from lightning_modules.models.registry import MODULES
from lightning_modules.training.experiment import Experiment

TINY = ["--accelerator", "cpu", "--train_pairs", "40", "--val_pairs", "0", "--test_pairs", "20"]
TINY += ["--max_epochs", "1", "--runs", "1", "--workers", "1"]


class BegunError(Exception):
    """Carries the experiment that a command would have begun."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment


def begin(flags: dict[str, Any]) -> Experiment | None:
    """The experiment of some flags; None if they are refused."""

    def stop(experiment: Experiment) -> None:
        raise BegunError(experiment)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Experiment, "run", stop)
        try:
            train.train(**flags)
        except BegunError as begun:
            return begun.experiment
        except ValueError:
            return None
    raise AssertionError("train neither began nor refused")


def read(path: Path) -> Experiment:
    """The experiment of a settings file, through the command line."""
    found: list[Experiment] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Experiment, "run", lambda experiment: found.append(experiment))
        train.main(["--config", str(path)])
    return found[0]


# Texts that YAML, or one of its readers, could take for something else.
TEXTS = [
    "1e3",
    "1E3",
    "+1e-3",
    "1_0e3",
    "007",
    "0x10",
    "no",
    "null",
    "~",
    "12:30:45",
    "2024-01-01",
    "a: b",
    "[a",
    "",
]
FOLDERS = [text for text in TEXTS if text not in ("", "~")]  # ~ is the home folder in a file
NUMBERS = st.floats(1e-12, 1e12)
FLAGS = st.fixed_dictionaries(
    {"recipe": st.sampled_from(["paper", "modern"]), "model": st.sampled_from([*MODULES, "all"])},
    optional={
        **{name: st.sampled_from(values) for name, values in VALUES.items()},
        "lr": NUMBERS,
        "alpha": NUMBERS,
        "max_epochs": st.integers(1, 100),
        "batch_size": st.integers(2, 100),
        "seed": st.integers(0, 2**31),
        "runs": st.integers(1, 20),
        "data_dir": st.sampled_from(FOLDERS),
        "log_dir": st.sampled_from(FOLDERS),
        "precision": st.sampled_from(["32", "16-mixed", "64-true"]),
        "devices": st.sampled_from([1, "auto", "0,1"]),
        "workers": st.integers(1, 4),
        "replicas": st.integers(1, 4),
        "all_pairs": st.booleans(),
        "checkpoint_every": NUMBERS,
    },
)


@settings(max_examples=25)
@given(flags=FLAGS)
def test_the_file_of_each_model_repeats_what_its_flags_began(
    flags: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    if (begun := begin(flags)) is None:
        return
    path = tmp_path_factory.getbasetemp() / "config.yaml"
    for model, own in begun.models.items():
        config = {**begun.config, "model": model, **own.as_flags()}
        path.write_text(to_yaml(config), encoding="utf-8")
        again = read(path)
        assert again.models == {model: own}
        assert again.config == config
        for part in ("recipe", "seeds", "trainer", "execution", "log_dir", "all_pairs", "checkpoint_every"):
            assert getattr(again, part) == getattr(begun, part), part
        assert again.data.keywords == begun.data.keywords  # type: ignore[attr-defined]


def test_a_folder_may_be_called_null(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(to_yaml({"data_dir": "null"}), encoding="utf-8")
    assert read(tmp_path / "config.yaml").data.keywords["data_dir"] == "null"  # type: ignore[attr-defined]


def rows(log_dir: Path, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((log_dir / name / "results.json").read_text())["rows"]
    return found


def test_the_files_of_a_study_of_all_models_repeat_it_to_the_bit(tmp_path: Path) -> None:
    """With a flag that only the third model has, and one that it has not."""
    flags = ["--gamma", "0.2", "--restarts", "2", "--lr", "1e-05"]
    train.main([*TINY, *flags, "--log_dir", str(tmp_path), "--name", "all"])
    for model in ("cnn", "auxiliary"):
        train.main(["--config", str(tmp_path / "all" / model / "config.yaml"), "--name", model])
        assert rows(tmp_path, model) == [row for row in rows(tmp_path, "all") if row["model"] == model]


@pytest.mark.parametrize(
    ("flags", "shown"),
    [
        ({}, True),
        ({"lr": 0.04}, True),
        ({"model": "auxiliary", "alpha": 0.2, "gamma": 0.2}, True),
        ({"runs": 3, "seed": 7, "val_pairs": 0}, True),
        ({"max_epochs": 25, "batch_size": 50, "optimizer": "sgd"}, True),  # as they are
        ({"recipe": "modern"}, False),
        ({"recipe": "modern", "lr": 0.04}, False),
        ({"max_epochs": 26}, False),
        ({"batch_size": 25}, False),
        ({"model": "weight_sharing", "head": "exact"}, False),
        ({"optimizer": "adamw"}, False),
        ({"ensemble": 3}, False),
        ({"augment": "bicubic"}, False),
        ({"train_pairs": 2000}, False),
        ({"test_pairs": 500}, False),
        ({"data_dir": "fashion"}, False),
    ],
)
def test_the_papers_figures_stand_beside_its_own_nets_on_its_own_task(
    flags: dict[str, Any], shown: bool
) -> None:
    begun = begin(flags)
    assert begun
    assert bool(begun.paper) == shown
