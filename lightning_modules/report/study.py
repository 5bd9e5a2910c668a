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
from lightning_modules.results.runs import METRICS, ModelRuns, Run

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
        models = _read_runs(results) if path.name == "results.json" else {}
    except ValueError as error:
        raise CommandError(f"{path} is not as train.py writes it: {error}") from error

    def net(model: str, recipe: str, runs: Sequence[Run]) -> Net:
        data = {key: config.get(key) for key in PAIRS + POINTS}
        settings = _settings(folder / model / "config.yaml") or config
        return Net(prefix + model, name, model, recipe, runs, folder / model, data, settings)

    nets = [net(model, *found) for model, found in models.items()]
    started = sorted(file.parent.name for file in folder.glob("*/config.yaml"))
    unfinished = [net(model, str(config.get("recipe")), []) for model in started if model not in models]
    return StudyResults(name, str(results.get("command", "")), versions, nets, unfinished, running)


def _read_runs(results: Mapping[str, Any]) -> dict[str, tuple[str, list[Run]]]:
    """Recipe and runs by model."""
    rows = results.get("rows")
    if not isinstance(rows, list) or not rows:
        raise ValueError("rows must be a list of runs, one at least")
    models: dict[str, tuple[str, list[Run]]] = {}
    for number, row in enumerate(rows):
        model = row.get("model") if isinstance(row, dict) else None
        if not isinstance(model, str) or Path(model).name != model or model in ("", ".."):
            raise ValueError(f"rows[{number}] must have a model, got {row!r:.80}")
        run = _read_run(row, f"rows[{number}]")
        _, runs = models.setdefault(model, (str(row.get("recipe", "")), []))
        if run.seed in [other.seed for other in runs]:
            raise ValueError(f"rows[{number}] must have a seed of its own, got {run.seed} again")
        runs.append(run)
    return models


def _read_run(row: Mapping[str, Any], where: str) -> Run:
    seed = row.get("seed")
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise ValueError(f"{where}.seed must be a whole number, got {seed!r:.80}")
    diverged = row.get("diverged")
    if not isinstance(diverged, bool | None):
        raise ValueError(f"{where}.diverged must be true or false, got {diverged!r:.80}")
    given = {name: row.get(name) for name in METRICS}
    metrics = {
        name: _share(value, f"{where}.{name}")
        for name, value in given.items()
        if value is not None or METRICS[name].always
    }
    return Run(seed, **metrics, diverged=diverged)


def _share(value: Any, where: str) -> float:
    known = isinstance(value, int | float) and not isinstance(value, bool)
    if not known or not 0 <= value <= 1:
        raise ValueError(f"{where} must be a share in [0, 1], got {value!r:.80}")
    return float(value)


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
