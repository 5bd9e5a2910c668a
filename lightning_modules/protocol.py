"""How a study is done: fit R replicas, test each once, in one program or in one process a core."""

import gc
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from lightning_modules.callbacks import CollectMistakes, Mistake, ReportEpochs
from lightning_modules.checkpoints import join_checkpoints
from lightning_modules.comparison import Comparison
from lightning_modules.execution import Execution
from lightning_modules.fused import set_engine
from lightning_modules.measuring import measure
from lightning_modules.mistakes import CountMistakes, Mistakes, of_more_runs
from lightning_modules.programs import divide
from lightning_modules.results import Run
from lightning_modules.study_log import EpochFigures
from lightning_modules.teams import ALONE, Team, members
from lightning_modules.workers import run_jobs, threads


@dataclass(frozen=True)
class Study:
    """R runs of one model, as a worker process needs them."""

    module: Callable[..., Comparison]
    settings: Sequence[Mapping[str, float]]  # a run's arguments of `module`, its seed among them
    data: Callable[..., pl.LightningDataModule]  # called with seeds (and, for teams, stream seeds)
    trainer: Mapping[str, Any]  # arguments of pl.Trainer
    execution: Execution
    team: Team = ALONE  # each run is trained so often
    all_pairs: bool = False  # whether to test on all pairs of test digits too
    checkpoint: Path | None = None  # file to write
    verbose: bool = False
    test: bool = True  # without it only training and validation pairs are looked at, and there are no runs

    def columns(self) -> dict[str, list[float]]:
        """The settings of all replicas, by name."""
        replicas = members(self.settings, self.team)
        return {name: [setting[name] for setting in replicas] for name in replicas[0]}

    def make_data(self) -> pl.LightningDataModule:
        """The pairs of all replicas: those of a run are the same for all its members."""
        pairs = [int(setting["seed"]) for setting in self.settings for _ in range(self.team.size)]
        if self.team.size == 1:
            return self.data(seed=pairs)
        return self.data(seed=pairs, stream_seed=self.columns()["seed"])

    def chunks(self) -> list["Study"]:
        """Divide the runs evenly into programs, as many for each worker process."""
        execution = self.execution
        programs = divide(len(self.settings), execution.workers, execution.replicas, self.team.size)
        if len(programs) == 1:
            return [self]
        return [
            replace(
                self,
                settings=self.settings[runs],
                checkpoint=self.checkpoint and self.checkpoint.with_suffix(f".{runs.start}.part"),
            )
            for runs in programs
        ]


@dataclass(frozen=True)
class Fit:
    """What comes out of a study."""

    runs: list[Run]
    mistakes: list[Mistake]  # of the first replica
    unsaved: str | None = None  # why there is no checkpoint, if it could not be written
    counted: Mistakes | None = None  # of all replicas; None without a test


def run_study(study: Study, on_epoch: Callable[[int, EpochFigures], None]) -> Fit:
    """Fit and test all replicas.

    Args:
        study: The study.
        on_epoch: Called with the number of the first replica and the figures of each epoch of a program.

    Returns:
        Figures of all replicas, in order.

    Raises:
        WorkerError: A worker process died.
        ValueError: The data or settings are refused.
    """
    chunks = study.chunks()
    firsts = [sum(len(chunk.settings) for chunk in chunks[:number]) for number in range(len(chunks))]
    parts = [chunk.checkpoint for chunk in chunks if chunk.checkpoint and chunk is not study]
    try:
        fits = _fit_all(chunks, lambda number, figures: on_epoch(firsts[number], figures))
        unsaved = next((part.unsaved for part in fits if part.unsaved), None)
        if study.checkpoint and parts and not unsaved:
            unsaved = _failure(partial(join_checkpoints, parts, study.checkpoint))
    finally:
        for part in parts:
            part.unlink(missing_ok=True)
    counted = of_more_runs([part.counted for part in fits if part.counted]) if study.test else None
    return Fit([run for part in fits for run in part.runs], fits[0].mistakes, unsaved, counted)


def _fit_all(chunks: Sequence[Study], report: Callable[[int, EpochFigures], None]) -> list[Fit]:
    """Fit in worker processes; with a single one here, as accelerators and distributed strategies need it."""
    jobs = [partial(fit, chunk) for chunk in chunks]
    workers = chunks[0].execution.workers
    if workers > 1:
        return run_jobs(jobs, workers, report)
    try:
        return [job(partial(report, number)) for number, job in enumerate(jobs)]
    except SystemExit as stop:  # Lightning's answer to Ctrl-C
        raise KeyboardInterrupt from stop


def fit(study: Study, report: Callable[[EpochFigures], None], callbacks: Sequence[pl.Callback] = ()) -> Fit:
    """Fit and test all replicas in one program.

    Args:
        study: The study.
        report: Called with the figures of each epoch.
        callbacks: Others to call.

    Returns:
        Figures of all replicas, in order.

    Raises:
        ValueError: The data or settings are refused.
    """
    if not study.verbose:
        quiet()
    spare_collector()  # before anything of this study is made: that is to be forgotten after it
    seeds = [int(setting["seed"]) for setting in study.settings]
    module = study.module(**study.columns())
    set_engine(module.network, study.execution.engine, study.execution.layout)
    data = study.make_data()
    mistakes, counter, unsaved = CollectMistakes(), CountMistakes(), None
    trainer = make_trainer(study.trainer, [ReportEpochs(report), mistakes, counter, *callbacks])
    with threads(study.execution.threads):
        trainer.fit(module, data)
        if study.checkpoint:  # a full disk does not cost the figures
            unsaved = _failure(partial(trainer.save_checkpoint, study.checkpoint, weights_only=True))
        runs = measure(trainer, module, data, seeds, study.team, study.all_pairs) if study.test else []
    return Fit(runs, mistakes.mistakes, unsaved, counter.mistakes)


def make_trainer(arguments: Mapping[str, Any], callbacks: list[pl.Callback] | None = None) -> pl.Trainer:
    """A Trainer without what a study does itself: curves, checkpoint and progress are of all its replicas.

    Args:
        arguments: Arguments of pl.Trainer.
        callbacks: Its callbacks.

    Returns:
        The Trainer.

    Raises:
        MisconfigurationException: Lightning refuses an argument.
        ValueError: Likewise.
    """
    return pl.Trainer(
        **arguments,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


def spare_collector() -> None:
    """Tell the garbage collector, once, that what is there stays, most of it torch: it need not be walked."""
    if not gc.get_freeze_count():
        gc.freeze()
    gc.collect()  # what came since: little to walk, and a finished fit holds large tensors


def quiet() -> None:
    """Silence what libraries say to the console while all is well."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"pytorch_lightning|lightning_fabric|torch")


def _failure(write: Callable[[], None]) -> str | None:
    try:
        write()
    except (OSError, RuntimeError) as error:  # torch.save raises the latter where a disk is full
        return str(error)
    return None
