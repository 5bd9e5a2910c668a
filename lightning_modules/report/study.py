"""Read a study from its folder: results.json, and a run folder for each net.

Files may be old, foreign or edited: whatever is taken from them is checked, and refused in one line.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from lightning_modules.command.cli import CommandError
from lightning_modules.command.file_format import KEY, refuse_other_format
from lightning_modules.results.reading import models_of
from lightning_modules.results.runs import ModelRuns, Run

# Settings that decide, together with the seed, the pairs (or points) of a run.
PAIRS = ("train_pairs", "val_pairs", "test_pairs", "data_dir")
POINTS = ("train_points", "val_points", "test_points", "disc", "points")


@dataclass(frozen=True)
class Net:
    """All runs of one model in one study."""

    name: str  # on the page, where it is the only one of this name
    study: str  # its name
    model: str
    recipe: str
    runs: Sequence[Run]
    folder: Path  # its run folder
    data: Mapping[str, Any]  # settings that decide its pairs, beside the seeds
    settings: Mapping[str, Any]  # of its config.yaml, or else of the study

    @property
    def results(self) -> ModelRuns:
        """The runs' metrics; their statistics are of those that did not diverge."""
        return ModelRuns(self.model, self.recipe, self.runs)

    @property
    def seeds(self) -> list[int]:
        """Of the runs."""
        return [run.seed for run in self.runs]


@dataclass(frozen=True)
class StudyResults:
    """The nets that a command trained."""

    name: str
    command: str
    versions: Mapping[str, Any]
    nets: Sequence[Net]
    unfinished: Sequence[Net]  # those with a run folder, but without results: they have no runs
    running: bool  # whether a process works on it


def read_studies(folders: Sequence[Path]) -> list[StudyResults]:
    """Read what is in the folders of studies.

    Args:
        folders: One or several.

    Raises:
        CommandError: One is no study's, its results are not as they should be, or one is given twice.
    """
    twice = [str(path) for path, count in Counter(path.resolve() for path in folders).items() if count > 1]
    if twice:
        raise CommandError(f"give each study once; {twice[0]} is given several times")
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in folders]
    return [
        _read_study(folder, name, f"{name}: " if len(folders) > 1 else "")
        for folder, name in zip(folders, names, strict=True)
    ]


def state_file(folder: Path) -> Path | None:
    """What tells how far a study is: its results, or what it was begun with; None where neither is there."""
    paths = (folder / "results.json", folder / "study.json")
    return next((path for path in paths if path.is_file()), None)


def _is_running(folder: Path) -> bool:
    """Whether a process holds the study's lock."""
    lock = folder / ".lock"
    try:
        with FileLock(lock, timeout=0) if lock.exists() else nullcontext():
            return False
    except Timeout:
        return True
    except OSError:  # of another user
        return False


def _read_study(folder: Path, name: str, prefix: str) -> StudyResults:
    path = state_file(folder) or folder / "results.json"
    running = _is_running(folder)  # first: a study that ends now is read whole
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CommandError(
            f"{folder} must be the folder of a study, with a results.json: {error.strerror}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{path} is not JSON: {error}") from error
    try:
        config, versions = _mapping(results, "config"), _mapping(results, "versions")
        refuse_other_format(path, results.get(KEY))
        models = models_of(results) if path.name == "results.json" else []
    except ValueError as error:
        raise CommandError(f"{path} is not as train.py writes it: {error}") from error

    def net(model: str, recipe: str, runs: Sequence[Run] = ()) -> Net:
        data = {key: config.get(key) for key in PAIRS + POINTS}
        settings = _settings(folder / model / "config.yaml") or config
        return Net(prefix + model, name, model, recipe, runs, folder / model, data, settings)

    nets = [net(found.model, found.recipe, found.runs) for found in models]
    started = {file.parent.name for file in folder.glob("*/config.yaml")} - {net.model for net in nets}
    unfinished = [net(model, str(config.get("recipe"))) for model in sorted(started)]
    return StudyResults(name, str(results.get("command", "")), versions, nets, unfinished, running)


def _mapping(results: Any, name: str) -> dict[str, Any]:
    if not isinstance(results, dict):
        raise ValueError(f"it must be an object, got {type(results).__name__}")
    value = results.get(name)
    if not isinstance(value, dict):
        raise ValueError(f"{name} must be an object, got {value!r:.80}")
    return value


def _settings(path: Path) -> dict[str, Any] | None:
    """Those of a run folder; None where they are missing or damaged."""
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return None
    return {str(name): value for name, value in settings.items()} if isinstance(settings, dict) else None
