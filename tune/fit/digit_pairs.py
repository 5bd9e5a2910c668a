"""The trials of one fit of a comparison of digits: replicas of one network, by Lightning."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytorch_lightning as pl
from optuna.distributions import CategoricalDistribution

from datamodules import DigitPairs
from lightning_modules.models.base import PairModule
from lightning_modules.models.recipes import RECIPES, resolve
from lightning_modules.models.registry import MODULES
from lightning_modules.models.settings import PairSettings
from lightning_modules.replicas.pruning import prune_fit, sound_replicas
from lightning_modules.training.execution import ExecutionConfig
from lightning_modules.training.runner import Study, fit, make_trainer
from tune.fit.trial_batch import TrialBatch
from tune.study.definition import Definition


class Report(pl.Callback):
    """Reports each epoch to a batch of trials, and drops the replicas that do not survive it."""

    def __init__(self, batch: TrialBatch) -> None:
        self.batch = batch

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report, after validation."""
        assert isinstance(pl_module, PairModule)
        self.batch.record_epoch()
        epoch, finite = trainer.current_epoch, sound_replicas(pl_module)
        # A diverged replica goes at once: callbacks between epochs expect finite numbers.
        if all(finite) and not self.batch.definition.is_reported(epoch):
            return
        errors = pl_module.epoch_metrics("val")["val/error"].tolist()
        surviving = self.batch.report(epoch, errors, finite)
        if not surviving:
            trainer.should_stop = True
        elif len(surviving) < len(errors):
            prune_fit(trainer, surviving)


def train(batch: TrialBatch, accelerator: str) -> None:
    """Train the trials of a batch, on training and validation pairs alone."""
    study = _study(batch, accelerator)
    fit(study, lambda metrics: None, [Report(batch)])
    batch.finish()


def _study(batch: TrialBatch, accelerator: str) -> Study:
    definition = batch.definition
    seeds = [seed for _ in batch.members for seed in definition.seeds]
    data = partial(
        _shared_pairs,
        train_pairs=definition.train_size,
        val_pairs=definition.val_size,
        data_dir=definition.data_dir,
    )
    trainer = {"max_epochs": definition.max_epochs, "accelerator": accelerator, "devices": 1}
    return Study(
        module=MODULES[definition.model],
        settings=_settings(batch),
        seeds=seeds,
        data=data,
        trainer=trainer,
        execution=ExecutionConfig(workers=1, replicas=len(seeds)).resolve(make_trainer(trainer), len(seeds)),
        test=False,
    )


def _shared_pairs(seed: Sequence[int], **arguments: Any) -> DigitPairs:
    """Pairs, order and warps are the same for all trials, so that only hyperparameters tell them apart."""
    return DigitPairs(seed=seed, stream_seed=seed, **arguments)


def _settings(batch: TrialBatch) -> PairSettings:
    """The recipe's settings but for the trials', each of which has its own of what a replica may have."""
    recipe, model = RECIPES[batch.definition.space], batch.definition.model
    each = [resolve(recipe, [model], member.params)[model] for member in batch.members]
    names = [name for name, rule in each[0].rules().items() if rule.per_replica]
    repeats = range(len(batch.definition.seeds))
    own: dict[str, Any] = {name: [getattr(one, name) for one in each for _ in repeats] for name in names}
    return replace(each[0], **own)


def check(definition: Definition) -> None:
    """Refuse sizes and data that a fit would refuse, before a study is begun."""
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
    return [RECIPES[definition.space].settings[definition.model].batch_size]
