"""Runner of a study: it trains all replicas and tests each once, shard by shard, in one or more processes."""

import logging
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.utilities import rank_zero_only

from lightning_modules.command.cli import CommandError
from lightning_modules.command.collector import collect
from lightning_modules.command.freed_memory import keep_freed_memory
from lightning_modules.evaluation.ensembling import SINGLE, Ensembling
from lightning_modules.evaluation.evaluate import Fit, evaluate, select_members
from lightning_modules.evaluation.mistakes import CountMistakes, join_runs
from lightning_modules.models.base import PairModule
from lightning_modules.models.settings import DATA, PairSettings
from lightning_modules.replicas.checkpoints import join_checkpoints
from lightning_modules.replicas.fused.sequential import set_engine
from lightning_modules.replicas.whole_checkpoints import WholeCheckpoints
from lightning_modules.results.runs import Run
from lightning_modules.results.tensorboard import EpochMetrics
from lightning_modules.training.callbacks import ReportEpochs, SaveShard
from lightning_modules.training.execution import Execution, divide
from lightning_modules.training.one_process import OneProcess
from lightning_modules.training.shard_checkpoint import ENTRIES, ShardCheckpoint, ShardState
from lightning_modules.training.workers import Job, as_completed, threads


@dataclass(frozen=True)
class Study:
    """R runs of one model, or one shard of them, as a worker process needs them."""

    module: type[PairModule]
    settings: PairSettings  # of all runs; a list, where each run has its own number
    seeds: Sequence[int]  # of the runs
    data: Callable[..., pl.LightningDataModule]  # called with settings, seeds, and for ensembles stream seeds
    trainer: Mapping[str, Any]  # arguments of pl.Trainer
    execution: Execution
    ensembling: Ensembling = SINGLE  # trainings behind each run
    all_pairs: bool = False  # whether to test on all pairs of test digits too
    main_process: bool = True  # whether it is this process that writes
    checkpoint: Path | None = None  # file to write
    verbose: bool = False
    test: bool = True  # False: only training and validation pairs are used, and there are no runs
    study_id: str | None = None  # which study may resume its shards; None: none
    checkpoint_every: float = 10.0  # seconds between two saves of a shard, for a study that may resume
    shard_sizes: Sequence[int] | None = None  # runs of each shard; by default divided evenly
    first: int = 0  # number of its first run among those of the whole study
    shard: ShardCheckpoint | None = None  # the file of a shard
    notes_posteriors: bool = False  # whether the first run's are noted after some epochs, for the projector

    def make_module(self) -> PairModule:
        """All replicas: the members of each run, one after the other."""
        runs = [run for run in range(len(self.seeds)) for _ in range(self.ensembling.size)]
        return self.module.from_settings(self.settings.take(runs), self.member_seeds())

    def make_data(self) -> pl.LightningDataModule:
        """The pairs of all replicas: those of a run are the same for all its members."""
        settings = self.settings.taken_by(DATA)
        if self.ensembling.size == 1:
            return self.data(seed=list(self.seeds), **settings)
        pairs = [seed for seed in self.seeds for _ in range(self.ensembling.size)]
        return self.data(seed=pairs, stream_seed=self.member_seeds(), **settings)

    def member_seeds(self) -> list[int]:
        return [seed for run in self.seeds for seed in self.ensembling.seeds(run)]

    def divide(self) -> list[int]:
        """The number of runs in each shard."""
        if self.shard_sizes is not None:
            return list(self.shard_sizes)
        execution = self.execution
        shards = divide(len(self.seeds), execution.workers, execution.replicas, self.ensembling.size)
        return [runs.stop - runs.start for runs in shards]

    def shards(self) -> list["Study"]:
        stops = list(accumulate(self.divide()))
        return [self._shard(slice(start, stop)) for start, stop in pairwise([0, *stops])]

    def _shard(self, runs: slice) -> "Study":
        settings, seeds = self.settings.take(range(runs.start, runs.stop)), list(self.seeds[runs])
        noted = self.notes_posteriors and runs.start == 0
        study = replace(self, settings=settings, seeds=seeds, first=runs.start, notes_posteriors=noted)
        if self.checkpoint is None:
            return study
        path = self.checkpoint.with_suffix(f".{runs.start}.part")
        return replace(study, shard=ShardCheckpoint(path, {"study": self.study_id, "seeds": seeds}))

    def clear(self) -> None:
        """Remove the files of the shards, once the study is done."""
        for study in self.shards():
            if study.shard:
                study.shard.path.unlink(missing_ok=True)


def run_study(study: Study, on_epoch: Callable[[int, EpochMetrics], None]) -> Fit:
    """Fit and test all replicas.

    Args:
        study: The study.
        on_epoch: Called with the number of the first run of a shard, and the metrics of each of its epochs.

    Returns:
        Results of all runs, in order.

    Raises:
        CommandError: A worker process died, or the file of a shard is torn or of another study.
        ValueError: The data or settings are refused.
    """
    ((_, result),) = run_studies({"": study}, lambda _, first, metrics: on_epoch(first, metrics))
    return result


def run_studies(
    studies: Mapping[str, Study], on_epoch: Callable[[str, int, EpochMetrics], None]
) -> Generator[tuple[str, Fit]]:
    """Fit and test all replicas of several studies; worker processes go from one to the next.

    Args:
        studies: By name, of equal execution.
        on_epoch: As of `run_study`, called with a study's name first.

    Yields:
        The name of a study and its results, in order, while the workers go on with the next study.

    Raises:
        CommandError: As `run_study`.
        ValueError: As `run_study`.
    """
    shards = {name: study.shards() for name, study in studies.items()}
    workers = max(study.execution.workers for study in studies.values())
    # The last shards of a study may have a run more. Workers begin with them, and so end together.
    step = -1 if workers > 1 else 1
    order = [(name, shard) for name, own in shards.items() for shard in own[::step]]
    fits = dict[tuple[str, int], Fit]()

    def report(number: int, metrics: EpochMetrics) -> None:
        name, shard = order[number]
        on_epoch(name, shard.first, metrics)

    jobs = [partial(fit, shard) for _, shard in order]
    try:
        with closing(_fit_all(jobs, workers, report)) as finished:
            for name, study in studies.items():
                keys = [(name, shard.first) for shard in shards[name]]
                while not fits.keys() >= set(keys):
                    number, result = next(finished)
                    fits[order[number][0], order[number][1].first] = result
                yield name, _joined(study, shards[name], [fits.pop(key) for key in keys])
    finally:
        for study in studies.values():
            if study.study_id is None and study.main_process:
                study.clear()


def _joined(study: Study, shards: Sequence[Study], fits: Sequence[Fit]) -> Fit:
    """The results of a study from those of its shards, whose checkpoints are joined."""
    unsaved = next((fitted.unsaved for fitted in fits if fitted.unsaved), None)
    paths = [shard.shard.path for shard in shards if shard.shard]
    if study.checkpoint and study.main_process and not unsaved:
        unsaved = _failure(partial(join_checkpoints, paths, study.checkpoint, without=ENTRIES))
    mistakes = join_runs([fitted.mistakes for fitted in fits if fitted.mistakes]) if study.test else None
    return Fit([run for fitted in fits for run in fitted.runs], mistakes, unsaved)


def _fit_all(
    jobs: Sequence[Job], workers: int, report: Callable[[int, EpochMetrics], None]
) -> Generator[tuple[int, Fit]]:
    """Fit in worker processes; with a single one here, as accelerators and distributed strategies need it."""
    if workers > 1:
        yield from as_completed(jobs, workers, report)
        return
    try:
        for number, job in enumerate(jobs):
            yield number, job(partial(report, number))
    except SystemExit as stop:  # Lightning's answer to Ctrl-C
        raise KeyboardInterrupt from stop


def fit(study: Study, report: Callable[[EpochMetrics], None], callbacks: Sequence[pl.Callback] = ()) -> Fit:
    """Fit and test all replicas of a shard as one program, from where it was interrupted.

    Args:
        study: The shard.
        report: Called with the metrics of each epoch.
        callbacks: More callbacks of the Trainer.

    Returns:
        Results of all runs, in order.

    Raises:
        CommandError: The file of the shard is torn or of another one.
        ValueError: The data or settings are refused.
    """
    if not study.verbose:
        quiet()
    keep_freed_memory()
    collect()  # before anything of this study is made, which is to be collected after it
    if study.shard:
        with suppress(OSError):  # saving says why not
            study.shard.path.parent.mkdir(exist_ok=True)
    state = study.shard.read() if study.shard else ShardState()
    metrics = list(state.metrics)
    for epoch in metrics:
        report(epoch)
    if state.fit:
        return state.fit

    def on_epoch(epoch: EpochMetrics) -> None:
        metrics.append(epoch)
        report(epoch)  # first: a worker whose main process is gone ends here, and writes nothing any more

    saving = (
        [SaveShard(study.shard, metrics, study.checkpoint_every)] if study.shard and study.study_id else []
    )
    mistakes = CountMistakes()
    reporting = ReportEpochs(on_epoch, study.notes_posteriors)
    trainer = make_trainer(study.trainer, [reporting, *saving, mistakes, *callbacks])
    runs = _fit_and_test(trainer, study, study.shard.path if study.shard and state.started else None)
    result = Fit(runs, mistakes.mistakes)
    if study.shard:  # a full disk does not cost the results
        save = partial(study.shard.save_fit, trainer, metrics, result, study.ensembling.ensemble)
        result = replace(result, unsaved=_failure(save))
    return result


def _fit_and_test(trainer: pl.Trainer, study: Study, path: Path | None) -> list[Run]:
    """Fit from a checkpoint, if there is one, and test; the trainer then holds the nets that were tested."""
    module, data = study.make_module(), study.make_data()
    set_engine(module.network, study.execution.engine, study.execution.layout)
    with threads(study.execution.threads):
        trainer.fit(module, data, ckpt_path=path, weights_only=True)
        selected = select_members(module, study.ensembling)
        runs = evaluate(trainer, module, data, study.seeds, selected, study.all_pairs) if study.test else []
    trainer.strategy.connect(module)  # the latest test may have been of an ensemble, which is not saved
    if study.ensembling.restarts > 1:  # what was tested is saved, and nothing else
        for holder in (module, data):
            cast("Any", holder).select(selected.flatten().tolist())
    return runs


def make_trainer(arguments: Mapping[str, Any], callbacks: list[pl.Callback] | None = None) -> pl.Trainer:
    """Make a Trainer without curves, checkpoints and progress: the study has those of all its replicas.

    Raises:
        MisconfigurationException: Lightning refuses an argument.
        ValueError: Likewise, or it would compute in another precision.
    """
    make = partial(
        pl.Trainer,
        **arguments,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer = make(plugins=[WholeCheckpoints(), OneProcess()])
    asked = arguments.get("precision")
    if str(asked) in ("16", "16-mixed") and trainer.precision == "bf16-mixed":
        raise ValueError(f"precision {asked} is not for CPUs, Lightning takes bf16-mixed; ask for that")
    if trainer.num_devices * trainer.num_nodes > 1:
        return make(plugins=[WholeCheckpoints()])  # Lightning finds out who starts the processes
    # Lightning has it from the environment, which may be that of another job.
    rank_zero_only.rank = 0  # type: ignore[attr-defined]
    return trainer


def asked_trainer(arguments: Mapping[str, Any]) -> pl.Trainer:
    """Make a Trainer as `make_trainer` does, of what a user asks for.

    Raises:
        CommandError: Lightning refuses an argument, or has not what it needs for it.
    """
    try:
        return make_trainer(arguments)
    except (MisconfigurationException, ImportError, ValueError, RuntimeError, TypeError) as error:
        raise CommandError(str(error)) from error


def quiet() -> None:
    """Silence what libraries say to the console while all is well."""
    for name in ("pytorch_lightning", "lightning_fabric", "lightning_modules"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"pytorch_lightning|lightning_fabric|torch")


def _failure(write: Callable[[], None]) -> str | None:
    try:
        write()
    except (OSError, RuntimeError, ValueError) as error:  # a full disk is a RuntimeError of torch.save
        return str(error)
    return None
