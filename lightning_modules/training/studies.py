"""From the settings of a model to the study that trains it."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytorch_lightning as pl

from lightning_modules.evaluation.ensembling import Ensembling
from lightning_modules.models.registry import MODULES
from lightning_modules.models.settings import TRAINER, PairSettings
from lightning_modules.replicas.apart import refuse_coupling
from lightning_modules.training.execution import ExecutionConfig
from lightning_modules.training.runner import Study, make_trainer


def make_study(
    settings: PairSettings,
    seeds: Sequence[int],
    data: Callable[..., pl.LightningDataModule],
    trainer: Mapping[str, Any],
    execution: ExecutionConfig,
    shared: bool = False,
    **more: Any,
) -> Study:
    """Make the study of one model.

    Args:
        settings: The model's.
        seeds: One for each run, all different.
        data: Called with seeds and the settings of data.
        trainer: Arguments of pl.Trainer; without `max_epochs` it trains for the model's number of epochs.
        execution: How to compute.
        shared: Whether ranks share its shards, whose size then does not depend on the ranks.
        **more: Other arguments of `Study`.

    Raises:
        ValueError: There are no seeds, or one is out of range or there twice; or data is refused.
    """
    ensembling = Ensembling(settings.ensemble, settings.restarts)
    trainer = {**settings.taken_by(TRAINER), **trainer}
    made = make_trainer(trainer)
    resolved = execution.resolve(made, len(seeds) * ensembling.size, ensembling.size, shared)
    refuse_coupling(made, [1.0] * resolved.replicas)  # of the largest shard
    study = Study(
        module=MODULES[settings.model],
        settings=settings,
        seeds=seeds,
        data=data,
        trainer=trainer,
        execution=resolved,
        ensembling=ensembling,
        main_process=made.is_global_zero,
        **more,
    )
    study.make_data()  # refuses its arguments here, not in a worker process
    ((seed, count),) = Counter(seeds).most_common(1)
    if count > 1:  # of an ensemble, whose nets share the pairs of their run, the data do not see it
        raise ValueError(f"seeds must name each run once, got {seed} {count} times")
    return study
