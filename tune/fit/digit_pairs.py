"""The trials of one fit of a comparison of digits: replicas of one network, by Lightning."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
from optuna.distributions import CategoricalDistribution

from datamodules import DigitPairs
from lightning_modules.models.base import Comparison
from lightning_modules.models.recipes import MODULES, RECIPES, parts, resolve
from lightning_modules.replicas.pruning import keep_in_fit, sound_replicas
from lightning_modules.training.execution import Choice
from lightning_modules.training.runner import Study, fit, make_trainer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tune.fit.trial_batch import TrialBatch
    from tune.study.definition import Definition


class Report(pl.Callback):
    """Reports each epoch to a batch of trials, and drops the replicas that do not survive it."""

    def __init__(self, batch: TrialBatch) -> None:
        """Make the callback of a fit.

        Args:
            batch: The trials that train in it.
        """
        self.batch = batch

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report, after validation."""
        assert isinstance(pl_module, Comparison)
        self.batch.record_epoch()
        epoch, finite = trainer.current_epoch, sound_replicas(pl_module)
        # A diverged replica goes at once: callbacks between epochs expect finite numbers.
        if all(finite) and not self.batch.definition.is_reported(epoch):
            return
        errors = pl_module.figures("val")["val/error"].tolist()
        surviving = self.batch.report(epoch, errors, finite)
        if not surviving:
            trainer.should_stop = True
        elif len(surviving) < len(errors):
            keep_in_fit(trainer, surviving)


def train(batch: TrialBatch, accelerator: str) -> None:
    """Train the trials of a batch, on training and validation pairs alone.

    Args:
        batch: Trials that differ only in hyperparameters that each replica may have for itself.
        accelerator: Lightning's.

    Raises:
        ValueError: A setting is refused.
    """
    study = _study(batch, accelerator)
    fit(study, lambda figures: None, [Report(batch)])
    batch.finish()


def _study(batch: TrialBatch, accelerator: str) -> Study:
    definition, replicas = batch.definition, list[dict[str, float]]()
    for member in batch.members:
        settings = _settings(definition, member.params)
        replica, common, data_settings = parts(settings)
        replicas += [{"seed": seed, **replica} for seed in definition.seeds]
    data = partial(
        _shared_pairs,
        train_pairs=definition.train_size,
        val_pairs=definition.val_size,
        data_dir=definition.data_dir,
        **data_settings,
    )
    trainer = {"max_epochs": definition.max_epochs, "accelerator": accelerator, "devices": 1}
    return Study(
        module=partial(MODULES[definition.model], **common),
        settings=replicas,
        data=data,
        trainer=trainer,
        execution=Choice(workers=1, replicas=len(replicas)).on(make_trainer(trainer), len(replicas)),
        test=False,
    )


def _shared_pairs(seed: Sequence[int], **arguments: Any) -> DigitPairs:
    """Pairs, order and warps are the same for all trials, so that only hyperparameters tell them apart."""
    return DigitPairs(seed=seed, stream_seed=seed, **arguments)


def _settings(definition: Definition, params: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe's settings but for the trial's."""
    recipe = RECIPES[definition.space]
    changes = {name: value for name, value in params.items() if name != "batch_size"}
    (settings,) = resolve(recipe, [definition.model], changes).values()
    return {"batch_size": params.get("batch_size", recipe.batch_size), **settings}


def check(definition: Definition) -> None:
    """Refuse sizes and data that a fit would refuse, before a study is begun.

    Args:
        definition: The study's.

    Raises:
        ValueError: A size is out of range, or a data file breaks a rule.
        OSError: A data file is missing.
    """
    if definition.model == "disc":
        return
    data = DigitPairs(
        definition.train_size, definition.val_size, seed=definition.seeds, data_dir=definition.data_dir
    )
    data.setup("fit")
    for data.batch_size in _batch_sizes(definition):
        data.train_dataloader()


def _batch_sizes(definition: Definition) -> Sequence[Any]:
    batch_size = definition.searched().distributions.get("batch_size")
    if isinstance(batch_size, CategoricalDistribution):
        return batch_size.choices
    return [RECIPES[definition.space].batch_size]
