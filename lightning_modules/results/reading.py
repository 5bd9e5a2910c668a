"""Read results.json, which may be foreign or edited: whatever is taken from it is checked."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning_modules.command.cli import CommandError
from lightning_modules.results.runs import METRICS, ModelRuns, Run, overview


def read_results(path: Path) -> list[ModelRuns]:
    """Read the finished models from results.json; none if there is no such file.

    Args:
        path: The file.

    Returns:
        All models in it.

    Raises:
        CommandError: It is not as `write_results` leaves it.
    """
    if not path.exists():
        return []
    try:
        return models_of(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, RecursionError) as error:
        raise CommandError(
            f"{path} is damaged, or not of this command: {error}; remove the folder, and start the study anew"
        ) from error


def models_of(results: Any) -> list[ModelRuns]:
    """All models of a file's content.

    Args:
        results: As `json` reads it.

    Raises:
        ValueError: It is not as `write_results` leaves it; the message says where.
    """
    rows = results.get("rows") if isinstance(results, dict) else None
    if not isinstance(rows, list) or not rows:
        raise ValueError("rows must be a list of runs, one at least")
    models: dict[str, tuple[str, list[Run]]] = {}
    for number, row in enumerate(rows):
        model = row.get("model") if isinstance(row, dict) else None
        if not isinstance(model, str) or Path(model).name != model or model in ("", ".."):
            raise ValueError(f"rows[{number}] must have a model, got {row!r:.80}")
        run, recipe = _run(row, f"rows[{number}]"), row.get("recipe")
        of_model, runs = models.setdefault(model, (recipe, []))
        if not isinstance(recipe, str) or recipe != of_model:
            raise ValueError(f"rows[{number}].recipe must be a name, one for each model, got {recipe!r:.80}")
        if run.seed in [other.seed for other in runs]:
            raise ValueError(f"rows[{number}] must have a seed of its own, got {run.seed} again")
        runs.append(run)
    read = [ModelRuns(model, recipe, runs) for model, (recipe, runs) in models.items()]
    for name, value in overview(read).items():
        if results.get(name) != value:
            raise ValueError(f"{name} must fit the rows: one of the two was changed")
    return read


def _run(row: Mapping[str, Any], where: str) -> Run:
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
