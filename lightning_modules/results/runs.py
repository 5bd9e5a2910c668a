"""The results of a study: rows, summary, and results.json."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from torch import Tensor

from lightning_modules.command.atomic_io import atomic_write
from lightning_modules.command.cli import CommandError
from lightning_modules.command.file_format import FORMAT, KEY
from lightning_modules.results.metrics import (
    METRIC,
    Answers,
    Metric,
    calibration_error,
    digit_error,
    error,
    metric,
    probability_and_target,
)
from lightning_modules.results.provenance import versions


@dataclass(frozen=True)
class Run:
    """The metrics of one training, of its final weights in evaluation mode. A new metric is a field here."""

    seed: int
    train_error: float = metric("training", always=True)
    test_error: float = metric("test", always=True, values=error)
    val_error: float | None = metric("validation")  # None without validation data
    test_digit_error: float | None = metric("digits misread", values=digit_error)  # None without digit heads
    # Mean of single trainings; None where a run is one training.
    member_test_error: float | None = metric("single trainings")
    # None where not asked for.
    all_test_error: float | None = metric(
        "all pairs of test digits",
        row="all pairs",
        remark="of the test digits, without the runs' sampling noise",
    )
    # Of nets that must see both digits at once, instead: over one pairing of all test digits (5,000 pairs of
    # MNIST's).
    fixed_pairs_error: float | None = metric(
        "fixed pairs of all test digits",
        row="fixed pairs",
        remark="each test digit once, a sample that all runs share",
    )
    test_calibration_error: float | None = metric(
        "calibration error",
        values=probability_and_target,
        over_pairs=calibration_error,
        stages=("test",),
        remark="how far the probability of an answer lies from how often it is right (ECE, 15 bins)",
    )
    diverged: bool | None = None  # True where losses or weights are not finite: its errors say nothing


METRICS: Mapping[str, Metric] = {
    entry.name: entry.metadata[METRIC] for entry in fields(Run) if METRIC in entry.metadata
}
# Metrics with `values`, by their names in tags: "error" in "test/error".
MEASURED = {name.removeprefix("test_"): about for name, about in METRICS.items() if about.values}
OVER_PAIRS = {name: about.over_pairs for name, about in MEASURED.items()}


def measure(stage: str, answers: Answers) -> dict[str, Tensor]:
    """The values of pairs that the metrics of a stage are made of.

    Args:
        stage: "train", "val" or "test".
        answers: To N pairs.

    Returns:
        Metric to its values (N, R, ...).
    """
    every = {
        name: about.values(answers)
        for name, about in MEASURED.items()
        if about.values and stage in about.stages
    }
    return {name: values for name, values in every.items() if values is not None}


def by_name(tagged: Mapping[str, Sequence[float]]) -> dict[str, Sequence[float]]:
    """Metrics by their names in `Run`, which has no others.

    Args:
        tagged: Metrics by their tags, such as "test/error".
    """
    names = {tag: tag.replace("/", "_") for tag in tagged}
    return {name: tagged[tag] for tag, name in names.items() if name in METRICS}


@dataclass(frozen=True)
class ModelRuns:
    """All runs of one model."""

    model: str
    recipe: str
    runs: Sequence[Run]

    @property
    def sound(self) -> list[Run]:
        """The runs that did not diverge: all statistics are of them alone."""
        return [run for run in self.runs if not run.diverged]

    @property
    def count(self) -> str:
        """The number of runs that statistics are of, and of all, where some diverged."""
        sound, every = len(self.sound), len(self.runs)
        return str(every) if sound == every else f"{sound} of {every}"

    def errors(self, metric: str = "test_error") -> list[float]:
        """A metric of every run that did not diverge, as a share; empty if one has none.

        Args:
            metric: Its name in `Run`.
        """
        values = [getattr(run, metric) for run in self.sound]
        return [] if None in values else values

    def tagged(self) -> dict[str, list[float]]:
        """The metrics on test pairs, by their tags in TensorBoard."""
        found = {name: self.errors(name) for name in METRICS if name.startswith("test_")}
        known = {name: values for name, values in found.items() if values or METRICS[name].always}
        return {name.replace("_", "/", 1): values for name, values in known.items()}

    def rows(self) -> list[dict[str, Any]]:
        """A row for each run; a metric that the run does not have has no key."""
        return [
            {"model": self.model, "recipe": self.recipe, "replica": number}
            | {name: value for name, value in asdict(run).items() if value is not None}
            for number, run in enumerate(self.runs)
        ]

    def summary(self) -> dict[str, Any]:
        """Mean and standard deviation (n - 1) over the n runs that did not diverge.

        None where there is no run, or of one run no deviation.
        """
        summary: dict[str, Any] = {"model": self.model, "recipe": self.recipe}
        for name, about in METRICS.items():
            errors = self.errors(name)
            average, deviation = spread(errors) if errors else (None, None)
            if errors or about.always:
                summary |= {f"{name}_mean": average, f"{name}_std": deviation}
        return summary | {"n": len(self.sound), "diverged": len(self.runs) - len(self.sound)}

    def hparams(self, settings: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
        """Hyperparameters by their names in the dashboard, the same for all that train on pairs of digits.

        Args:
            settings: Of the model; a weight that it does not have is None.
            config: All settings of the command.
        """
        hparams = {"model": self.model, "recipe": self.recipe, "runs": len(self.runs)}
        hparams |= {name: settings.get(name) for name in ("lr", "alpha", "gamma")}
        return hparams | {name: config[name] for name in ("max_epochs", "batch_size", "train_pairs")}

    def metrics(self) -> dict[str, float]:
        """Final metrics that the dashboard shows beside hyperparameters; NaN where there is none."""
        means = {
            name: mean(errors) if (errors := self.errors(name)) else float("nan")
            for name in ("test_error", "val_error")
        }
        return means | {"diverged": float(len(self.runs) - len(self.sound))}


def write_results(path: Path, models: Sequence[ModelRuns], command: str, config: Mapping[str, Any]) -> None:
    """Write results.json, whole or not at all.

    Args:
        path: The file.
        models: What is finished so far.
        command: The command line.
        config: All its settings.
    """
    results = {
        KEY: FORMAT,
        "command": command,
        "config": dict(config),
        "versions": versions(),
        **overview(models),
        "rows": [row for model in models for row in model.rows()],
    }
    atomic_write(path, json.dumps(results, indent=1) + "\n")


def overview(models: Sequence[ModelRuns]) -> dict[str, Any]:
    """What results.json says of its rows."""
    return {
        "seeds": [run.seed for run in models[0].runs],
        "summary": [model.summary() for model in models],
    }


def refuse_diverged(models: Sequence[ModelRuns]) -> None:
    """Fail with a line that names the runs that diverged: their errors say nothing.

    Args:
        models: What is finished, and written.

    Raises:
        CommandError: Some did.
    """
    seeds = {model.model: [run.seed for run in model.runs if run.diverged] for model in models}
    if lost := [f"{name} of seed {', '.join(map(str, some))}" for name, some in seeds.items() if some]:
        raise CommandError(
            f"{'; '.join(lost)} diverged, with losses or weights that are not finite: take a smaller lr;"
            " all results are kept, theirs say diverged"
        )


def spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and standard deviation (n - 1); None where one value has no deviation."""
    return mean(values), stdev(values) if len(values) > 1 else None
