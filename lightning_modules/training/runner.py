"""How a study is done: fit R replicas, test each once, in one program or in one process a core."""

import gc
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
from pytorch_lightning.utilities import rank_zero_only

from lightning_modules.command.interrupts import interrupts_wait
from lightning_modules.evaluation.ensembling import SINGLE, Ensembling
from lightning_modules.evaluation.evaluate import Fit, evaluate, select_members
from lightning_modules.evaluation.mistakes import CountMistakes, join_runs
from lightning_modules.models.base import PairModule
from lightning_modules.models.settings import DATA, PairSettings
from lightning_modules.replicas.checkpoints import join_checkpoints
from lightning_modules.replicas.fused.sequential import set_engine
from lightning_modules.replicas.whole_checkpoints import WholeCheckpoints
from lightning_modules.results.tensorboard import EpochFigures
from lightning_modules.training.callbacks import ReportEpochs
from lightning_modules.training.execution import Execution
from lightning_modules.training.one_process import OneProcess
from lightning_modules.training.shard_checkpoint import ENTRIES, KeepState, ProgramFile, Reached
from lightning_modules.training.shards import divide
from lightning_modules.training.workers import run_jobs, threads


@dataclass(frozen=True)
class Study:
    """R runs of one model, as a worker process needs them."""

    module: type[PairModule]
    settings: PairSettings  # of all runs; a list, where each run has its own number
    seeds: Sequence[int]  # of the runs
    data: Callable[..., pl.LightningDataModule]  # called with settings, seeds, and for teams stream seeds
    trainer: Mapping[str, Any]  # arguments of pl.Trainer
    execution: Execution
    team: Ensembling = SINGLE  # each run is trained so often
    all_pairs: bool = False  # whether to test on all pairs of test digits too
    main_process: bool = True  # whether it is this process that writes
    checkpoint: Path | None = None  # file to write
    verbose: bool = False
    test: bool = True  # without it only training and validation pairs are looked at, and there are no runs
    owner: str | None = None  # who goes on with it if it is interrupted; None: nobody
    checkpoint_every: float = (
        10.0  # seconds between two times that what a program has reached is kept for them
    )
    sizes: Sequence[int] | None = None  # runs of each program; by default divided evenly
    file: ProgramFile | None = None  # of a program

    def make_module(self) -> PairModule:
        """All replicas: the members of each run, one after the other."""
        runs = [run for run in range(len(self.seeds)) for _ in range(self.team.size)]
        return self.module.from_settings(self.settings.take(runs), self.member_seeds())

    def make_data(self) -> pl.LightningDataModule:
        """The pairs of all replicas: those of a run are the same for all its members."""
        settings = self.settings.taken_by(DATA)
        if self.team.size == 1:
            return self.data(seed=list(self.seeds), **settings)
        pairs = [seed for seed in self.seeds for _ in range(self.team.size)]
        return self.data(seed=pairs, stream_seed=self.member_seeds(), **settings)

    def member_seeds(self) -> list[int]:
        """The seeds of all replicas."""
        return [seed for run in self.seeds for seed in self.team.seeds(run)]

    def division(self) -> list[int]:
        """The number of runs in each program: evenly divided, as many programs for each worker process."""
        if self.sizes is not None:
            return list(self.sizes)
        execution = self.execution
        programs = divide(len(self.seeds), execution.workers, execution.replicas, self.team.size)
        return [runs.stop - runs.start for runs in programs]

    def chunks(self) -> list["Study"]:
        """Divide the runs into programs."""
        stops = list(accumulate(self.division()))
        return [self._chunk(slice(start, stop)) for start, stop in pairwise([0, *stops])]

    def _chunk(self, runs: slice) -> "Study":
        settings, seeds = self.settings.take(range(runs.start, runs.stop)), list(self.seeds[runs])
        if self.checkpoint is None:
            return replace(self, settings=settings, seeds=seeds)
        owner = {"study": self.owner, "seeds": seeds}
        file = ProgramFile(self.checkpoint.with_suffix(f".{runs.start}.part"), owner)
        return replace(self, settings=settings, seeds=seeds, file=file)

    def clear(self) -> None:
        """Remove the files of the programs, of a study that is done."""
        for chunk in self.chunks():
            if chunk.file:
                chunk.file.path.unlink(missing_ok=True)


def run_study(study: Study, on_epoch: Callable[[int, EpochFigures], None]) -> Fit:
    """Fit and test all replicas.

    Args:
        study: The study.
        on_epoch: Called with the number of the first replica and the figures of each epoch of a program.

    Returns:
        Figures of all replicas, in order.

    Raises:
        CommandError: A worker process died, or a program's file is torn or of another study.
        ValueError: The data or settings are refused.
    """
    chunks = study.chunks()
    firsts = [sum(len(chunk.seeds) for chunk in chunks[:number]) for number in range(len(chunks))]
    parts = [chunk.file.path for chunk in chunks if chunk.file]
    try:
        fits = _fit_all(chunks, lambda number, figures: on_epoch(firsts[number], figures))
        unsaved = next((part.unsaved for part in fits if part.unsaved), None)
        if study.checkpoint and study.main_process and not unsaved:
            unsaved = _failure(partial(join_checkpoints, parts, study.checkpoint, without=ENTRIES))
    finally:
        if study.owner is None and study.main_process:
            study.clear()
    mistakes = join_runs([part.mistakes for part in fits if part.mistakes]) if study.test else None
    return Fit([run for part in fits for run in part.runs], mistakes, unsaved)


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
    """Fit and test all replicas in one program, from where it was interrupted.

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
    reached = study.file.read() if study.file else Reached()
    figures = list(reached.figures)
    for epoch in figures:
        report(epoch)
    if reached.fit:
        return reached.fit
    module = study.make_module()
    set_engine(module.network, study.execution.engine, study.execution.layout)
    data = study.make_data()
    mistakes = CountMistakes()

    def on_epoch(epoch: EpochFigures) -> None:
        figures.append(epoch)
        report(epoch)  # first: a worker whose main process is gone ends here, and writes nothing any more

    keeping = [KeepState(study.file, figures, study.checkpoint_every)] if study.file and study.owner else []
    trainer = make_trainer(study.trainer, [ReportEpochs(on_epoch), *keeping, mistakes, *callbacks])
    with threads(study.execution.threads):
        path = study.file.path if study.file and reached.started else None
        trainer.fit(module, data, ckpt_path=path, weights_only=True)
        selected = select_members(module, study.team)
        runs = evaluate(trainer, module, data, study.seeds, selected, study.all_pairs) if study.test else []
    trainer.strategy.connect(module)  # the latest test may have been of a team, and that is not what is kept
    if study.team.restarts > 1:  # what was tested is kept, and nothing else
        for holder in (module, data):
            cast("Any", holder).select(selected.flatten().tolist())
    result = Fit(runs, mistakes.mistakes)
    if study.file:  # a full disk does not cost the figures
        keep = partial(study.file.keep_fit, trainer, figures, result, study.team.ensemble)
        result = replace(result, unsaved=_failure(keep))
    return result


def make_trainer(arguments: Mapping[str, Any], callbacks: list[pl.Callback] | None = None) -> pl.Trainer:
    """A Trainer without what a study does itself: curves, checkpoint and progress are of all its replicas.

    Args:
        arguments: Arguments of pl.Trainer.
        callbacks: Its callbacks.

    Returns:
        The Trainer.

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


def spare_collector() -> None:
    """Tell the garbage collector, once, that what is there stays, most of it torch: it need not be walked."""
    if not gc.get_freeze_count():
        gc.freeze()
    with interrupts_wait():  # a finaliser's error goes nowhere, and a Ctrl-C that meets one went with it
        gc.collect()  # what came since: little to walk, and a finished fit holds large tensors


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
