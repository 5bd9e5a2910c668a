"""Definition of a study: the settings that its values follow from, stored in it and compared on resuming."""

import math
import sys
import warnings
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import optuna

from lightning_modules.command.cli import CommandError
from lightning_modules.training.execution import REPLICAS_PER_CORE
from tune.study.settings import StudySettings
from tune.study.spaces import Space, space_of
from tune.study.storage import write_once

OBJECTIVE = "validation error in %"  # its name in Optuna's dashboard
KEY = "definition"  # the attribute of Optuna's study that holds it
TRIALS = 50  # by default, of a sampler that could go on for ever
REPORTS = 25  # most epochs of a trial that are reported: writing them is slower than an epoch on the disc


@dataclass(frozen=True)
class Definition(StudySettings):
    """Settings of a study, and how its trials are fitted."""

    trials_per_fit: int = 1  # at most; chosen by the machine that begins the study

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sampler == "grid":
            self.searched().grid()  # refuses a space that is none

    def searched(self) -> Space:
        """The space that is searched."""
        return space_of(self.model, self.space)

    @property
    def exact(self) -> bool:
        """Whether a point's value follows from the definition alone, if its fit has the same other replicas.

        With a pruner or TPE a value depends on which trials were finished first.
        """
        return self.pruner == "none" and self.sampler != "tpe"

    def is_reported(self, epoch: int) -> bool:
        """Whether an epoch, counted from 0, is reported; the last one always is."""
        return (self.max_epochs - 1 - epoch) % math.ceil(self.max_epochs / REPORTS) == 0

    def points(self, n_trials: int | None) -> int:
        """How many points the study has."""
        if self.sampler != "grid":
            return n_trials or TRIALS
        whole = len(self.searched().grid())
        return min(n_trials or whole, whole)

    def batch(self, point: int) -> range:
        """The points of the fit that a point belongs to; they differ in per-replica hyperparameters only.

        Some of them may lie beyond the study's last point.
        """
        block = self.searched().block() if self.sampler == "grid" else sys.maxsize
        first = point // block * block  # of the points that may share a fit
        start = first + (point - first) // self.trials_per_fit * self.trials_per_fit
        return range(start, min(start + self.trials_per_fit, first + block))

    def create_or_match(self, study: optuna.Study, version: str) -> Self:
        """Write the definition into a new study, or compare it with that of an old one.

        Several commands may do so at once for a new study: the first definition stays, and the others are
        compared with it.

        Returns:
            The study's own definition, which may differ from this one in `trials_per_fit`.

        Raises:
            CommandError: The study has another definition.
        """
        if KEY not in study.user_attrs and not study.trials:
            write_once(study, "optuna", version)
            write_once(study, KEY, asdict(self))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                study.set_metric_names([OBJECTIVE])
        begun = self.of(study)
        for field in fields(self):
            ours, theirs = getattr(self, field.name), getattr(begun, field.name)
            if field.name != "trials_per_fit" and ours != theirs:
                raise CommandError(
                    f"study {study.study_name} was begun with {field.name} {theirs}, not {ours};"
                    " choose another study_name"
                )
        return begun

    @classmethod
    def of(cls, study: optuna.Study) -> Self:
        """Read a study's definition.

        Raises:
            CommandError: It has none, or that of another version.
        """
        written: dict[str, Any] | None = study.user_attrs.get(KEY)
        if written is None or written.keys() != {field.name for field in fields(cls)}:
            made = "not made by" if written is None else "made by another version (0.1.0?) of"
            raise CommandError(
                f"study {study.study_name} was {made} python -m tune; choose another study_name"
            )
        return cls(**written)


def choose_trials_per_fit(definition: Definition, n_trials: int | None, workers: int, whole: bool) -> int:
    """How many trials to train in one fit.

    On a CPU as many as are fastest on a core, but so few that every worker has some; elsewhere all, unless
    the sampler is to learn from earlier trials.
    """
    space, points = definition.searched(), definition.points(n_trials)
    alike = definition.sampler == "grid" or space.per_replica == space.distributions.keys()
    if not alike:
        return 1
    most = max(1, CORE_REPLICAS[definition.model] // definition.repeats)
    if whole and definition.sampler != "tpe":
        most = points
    return min(most, math.ceil(points / workers))


# Replicas of one program that are fastest on a core; the disc's nets are small, and 48 hold all of its rates.
CORE_REPLICAS = dict.fromkeys(("cnn", "weight_sharing", "auxiliary"), REPLICAS_PER_CORE) | {"disc": 48}
