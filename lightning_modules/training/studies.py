"""From the settings of a model to the study that trains it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytorch_lightning as pl

from lightning_modules.evaluation.ensembling import Ensembling
from lightning_modules.models.registry import MODULES
from lightning_modules.models.settings import TRAINER, PairSettings
from lightning_modules.replicas.apart import refuse_coupling
from lightning_modules.training.execution import Choice
from lightning_modules.training.runner import Study, make_trainer


def make_study(
    settings: PairSettings,
    seeds: Sequence[int],
    data: Callable[..., pl.LightningDataModule],
    trainer: Mapping[str, Any],
    choice: Choice,
    **more: Any,
) -> Study:
    """A study of one model.

    Args:
        settings: Of the model.
        seeds: Of the runs.
        data: Called with seeds and the model's settings of data.
        trainer: Arguments of pl.Trainer; without `max_epochs` it trains for the model's.
        choice: How to compute.
        **more: Other arguments of `Study`.

    Raises:
        CommandError: A choice is refused.
    """
    team = Ensembling(settings.ensemble, settings.restarts)
    trainer = {**settings.taken_by(TRAINER), **trainer}
    made = make_trainer(trainer)
    execution = choice.on(made, len(seeds) * team.size, team.size)
    refuse_coupling(made, [1.0] * execution.replicas)  # of the largest program
    return Study(
        module=MODULES[settings.model],
        settings=settings,
        seeds=seeds,
        data=data,
        trainer=trainer,
        execution=execution,
        team=team,
        main_process=made.is_global_zero,
        **more,
    )
