"""From the settings of a model to the study that trains it."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import pytorch_lightning as pl

from lightning_modules.evaluation.ensembling import Ensembling
from lightning_modules.models.recipes import MODULES, parts
from lightning_modules.replicas.apart import refuse_coupling
from lightning_modules.training.execution import Choice
from lightning_modules.training.runner import Study, make_trainer


def team_of(settings: Mapping[str, Any]) -> Ensembling:
    """How many trainings a run has, by a model's settings."""
    return Ensembling(settings.get("ensemble", 1), settings.get("restarts", 1))


def make_study(
    model: str,
    settings: Mapping[str, Any],
    seeds: Sequence[int],
    data: Callable[..., pl.LightningDataModule],
    trainer: Mapping[str, Any],
    choice: Choice,
    **more: Any,
) -> Study:
    """A study of one model.

    Args:
        model: The model.
        settings: All its settings, as `resolve` gives them.
        seeds: Of the runs.
        data: Called with seeds and the model's settings of data.
        trainer: Arguments of pl.Trainer.
        choice: How to compute.
        **more: Other arguments of `Study`.

    Returns:
        The study.

    Raises:
        CommandError: A choice is refused.
        ValueError: A setting is.
    """
    replica, common, data_settings = parts(settings)
    team, made = team_of(settings), make_trainer(trainer)
    execution = choice.on(made, len(seeds) * team.size, team.size)
    refuse_coupling(made, [1.0] * execution.replicas)  # of the largest program
    return Study(
        module=partial(MODULES[model], **common),
        settings=[{"seed": seed, **replica} for seed in seeds],
        data=partial(data, **data_settings),
        trainer=trainer,
        execution=execution,
        team=team,
        main_process=made.is_global_zero,
        **more,
    )
