"""Rows of a comparison: named changes of a recipe, each trained over the same seeds and pairs."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from datamodules import DigitPairs
from lightning_modules.command.atomic_io import atomic_write, check_file, make_folder
from lightning_modules.command.cli import CommandError
from lightning_modules.models.recipes import RECIPES, resolve
from lightning_modules.models.settings import PairSettings
from lightning_modules.results.progress import progress_bar
from lightning_modules.results.provenance import COMPUTING, code_digests, versions
from lightning_modules.results.runs import Run
from lightning_modules.training.execution import ExecutionConfig
from lightning_modules.training.ranks import Ranks
from lightning_modules.training.runner import Study, fit, run_study
from lightning_modules.training.sharing import share_studies
from lightning_modules.training.studies import make_study

FIGURES = [name for name in Run.__annotations__ if name not in ("seed", "diverged")]
ROW = ("row", "model", "recipe", "train_pairs")  # what is one row of a table
FIELDS = [*ROW, "val_pairs", "max_epochs", "changes", "key", *Run.__annotations__]
CODE = ("datamodules", "lightning_modules", "benchmarks/results/rows.py")


@dataclass(frozen=True)
class Plan:
    """How rows are trained and tested."""

    seeds: Sequence[int]
    max_epochs: int | None = None  # the recipe's by default
    choice: ExecutionConfig = field(default_factory=ExecutionConfig)
    val_pairs: int = 500


@dataclass(frozen=True)
class Row:
    """A model, a recipe, and what is changed of it."""

    name: str
    model: str
    recipe: str = "modern"
    changes: Mapping[str, Any] = field(default_factory=dict)
    train_pairs: int = 1000

    def train(self, plan: Plan, parts: Path | None = None) -> list[Run]:
        """Train it as `study` says, or take from the files of its shards what ranks have trained."""
        study = self.study(plan, parts)
        if not parts:
            return run_study(study, lambda first, figures: None).runs
        return [run for shard in study.shards() for run in fit(shard, lambda figures: None).runs]

    def study(self, plan: Plan, parts: Path | None = None) -> Study:
        """Its training, and its test on all pairs of test digits.

        With a folder for the files of its shards, ranks may share them.
        """
        data = partial(DigitPairs, train_pairs=self.train_pairs, val_pairs=plan.val_pairs)
        study = make_study(
            self.settings(plan.max_epochs),
            plan.seeds,
            data,
            {"accelerator": "cpu"},
            plan.choice,
            shared=parts is not None,
            all_pairs=True,
        )
        if not parts:
            return study
        key = self.key(plan)
        return replace(study, study_id=key, checkpoint=parts / f"{key}.ckpt")

    def settings(self, max_epochs: int | None = None) -> PairSettings:
        """The model's settings, with so many epochs or the recipe's."""
        changes = {"max_epochs": max_epochs, **self.changes}
        return resolve(RECIPES[self.recipe], [self.model], changes)[self.model]

    def key(self, plan: Plan) -> str:
        """A digest of all that decides its figures; the number of processes decides only their rounding."""
        decides = {
            "settings": asdict(self.settings(plan.max_epochs)),
            "pairs": (self.train_pairs, plan.val_pairs),
            "seeds": list(plan.seeds),
            "choice": asdict(replace(plan.choice, workers=None)),
            "versions": versions(COMPUTING),
            "code": code_digests(CODE),
        }
        return sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]


Trained = Sequence[tuple[Row, Sequence[Run]]]


class Record:
    """The runs of rows in a CSV file, a line a run, written after every row.

    A command that takes an hour and is interrupted may go on from it.

    Args:
        path: The file.
        resume: Whether rows that are in the file already are kept.
        parts: Folder of the files of shards, where ranks share them.

    Raises:
        CommandError: The file is not of this form, or cannot be written.
    """

    def __init__(self, path: Path, resume: bool, parts: Path | None = None) -> None:
        self.path, self.parts = path, parts
        self.lines: list[dict[str, str]] = []
        check_file(path)
        if resume and path.exists():
            self.lines = _read(path)

    def train(self, row: Row, plan: Plan, twin: Sequence[Run] | None = None) -> Sequence[Run]:
        """Train a row as `Row.train` does, or take its runs from the file, or from its twin.

        A twin is the same row under another name.
        """
        about = self._about(row, plan)
        if known := self._known(about, plan.seeds):
            return known
        runs = twin or row.train(plan, self.parts)
        # In place of what the row was by other settings, seeds or code.
        self.lines = [line for line in self.lines if any(line[name] != about[name] for name in ROW)]
        for run in runs:
            figures = {name: "" if value is None else str(value) for name, value in asdict(run).items()}
            self.lines.append(about | figures)
        self._write()
        return runs

    def left(self, row: Row, plan: Plan) -> Study | None:
        """The study of a row, for ranks to share; None if its runs are in the file."""
        if self._known(self._about(row, plan), plan.seeds):
            return None
        return row.study(plan, self.parts)

    def clear(self) -> None:
        """Remove the files of shards, once all rows are written."""
        for part in self.parts.glob("*.part") if self.parts else ():
            part.unlink()

    def _about(self, row: Row, plan: Plan) -> dict[str, str]:
        """What a line says of its row."""
        return {
            "row": row.name,
            "model": row.model,
            "recipe": row.recipe,
            "train_pairs": str(row.train_pairs),
            "val_pairs": str(plan.val_pairs),
            "max_epochs": str(row.settings(plan.max_epochs).max_epochs),
            "changes": " ".join(f"{name}={value}" for name, value in row.changes.items()),
            "key": row.key(plan),
        }

    def _known(self, about: Mapping[str, str], seeds: Sequence[int]) -> list[Run]:
        """The runs of a row that are in the file; none if not all of them are."""
        known = [_run(line) for line in self.lines if about.items() <= line.items()]
        return known if [run.seed for run in known] == list(seeds) else []

    def _write(self) -> None:
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, FIELDS)
        table.writeheader()
        table.writerows(self.lines)
        make_folder(self.path.parent, anew=False, flag="out")
        atomic_write(self.path, text.getvalue())


def _read(path: Path) -> list[dict[str, str]]:
    """The lines of a file, each of which is a run."""
    try:
        table = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
        lines = list(table)
        if table.fieldnames != FIELDS:
            raise CommandError(f"{path} has other columns than this command writes; move it away")
        for line in lines:
            _run(line)
    except (ValueError, TypeError, csv.Error) as error:
        raise CommandError(f"{path} is damaged: {error}; move it away") from error
    return lines


def _run(line: Mapping[str, str]) -> Run:
    figures: dict[str, Any] = {name: float(line[name]) if line[name] else None for name in FIGURES}
    return Run(**figures, seed=int(line["seed"]), diverged=line["diverged"] == "True" or None)


def share_rows(planned: Sequence[tuple[Record, Row, Plan]], parts: Path, ranks: Ranks) -> None:
    """Train, as one of several ranks, the rows that are in no file yet."""
    left = [study for record, row, plan in planned if (study := record.left(row, plan))]
    share_studies(left, parts, ranks)


def train_rows(
    title: str, planned: Sequence[tuple[Row, Plan]], record: Record, known: Trained = ()
) -> Trained:
    """Train rows one after the other, with a progress bar; those of `known` under another name are not."""
    trained = list[tuple[Row, Sequence[Run]]]()
    with progress_bar() as progress:
        task = progress.add_task(title, total=sum(row.train_pairs for row, _ in planned))
        for row, plan in planned:
            progress.update(task, description=f"{title}: {row.name}, {row.train_pairs} pairs")
            twin = next((runs for other, runs in known if replace(other, name=row.name) == row), None)
            trained.append((row, record.train(row, plan, twin)))
            progress.advance(task, row.train_pairs)
    return trained
