"""A study in TensorBoard: its plots, and each trial as a run with curves and hyperparameters."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from matplotlib.image import imread
from optuna.trial import FrozenTrial, TrialState
from torch.utils.tensorboard import SummaryWriter

from lightning_modules.command.interrupts import interrupts_wait
from lightning_modules.models.recipes import RECIPES
from lightning_modules.results.tensorboard import EpochMetrics, StudyLog
from scratch_framework.experiments.disc.recipe import RECIPES as DISC_RECIPES
from tune.fit.trial_batch import CURVE, error_of
from tune.study.definition import Definition
from tune.study.trials import is_finished


def log_plots(folder: Path, plots: Sequence[Path]) -> None:
    """Write plots as pictures, instead of earlier ones."""
    shutil.rmtree(folder, ignore_errors=True)
    with interrupts_wait(), SummaryWriter(str(folder)) as writer:
        for plot in plots:
            writer.add_image(f"study/{plot.stem}", imread(plot)[..., :3], dataformats="HWC")


def log_trials(folder: Path, trials: Sequence[FrozenTrial], definition: Definition) -> None:
    """Write a run for every finished trial that has none yet."""
    folder.mkdir(exist_ok=True)
    for trial in trials:
        run = folder / str(trial.number)
        if is_finished(trial) and not run.exists():
            # Whole or not at all, also when the program is killed meanwhile.
            with TemporaryDirectory(dir=folder, prefix=".", ignore_cleanup_errors=True) as temporary:
                _log_trial(Path(temporary) / "run", trial, definition)
                (Path(temporary) / "run").rename(run)


def _log_trial(folder: Path, trial: FrozenTrial, definition: Definition) -> None:
    log = StudyLog(folder, definition.repeats)
    curve = trial.user_attrs.get(CURVE, [])
    if definition.model == "disc":
        batch_size = DISC_RECIPES[definition.space].batch_size
    else:
        batch_size = RECIPES[definition.space].settings[definition.model].batch_size
    steps = -(-definition.train_size // trial.params.get("batch_size", batch_size))  # an epoch's
    for epoch, errors in zip(sorted(trial.intermediate_values), curve, strict=False):
        log.add(0, EpochMetrics(epoch - 1, epoch * steps, {"val/error": errors}))
    hparams: dict[str, Any] = {
        "model": definition.model,
        "recipe": definition.space,
        "runs": definition.repeats,
    }
    hparams |= {"max_epochs": definition.max_epochs, "train_size": definition.train_size} | trial.params
    hparams["state"] = trial.state.name
    error = error_of(trial) if trial.state == TrialState.COMPLETE else None
    # The keys of all runs of the project; test data are not looked at here.
    metrics = {"test_error": float("nan"), "val_error": float("nan") if error is None else error}
    log.finish(hparams, metrics, {})
