"""The trials of one fit of a comparison of digits: replicas of one network, by Lightning."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
from optuna.distributions import CategoricalDistribution

from datamodules import DigitPairs
from lightning_modules.models.base import PairModule
from lightning_modules.models.recipes import MODULES, RECIPES, parts, resolve
from lightning_modules.replicas.pruning import prune_fit, sound_replicas
from lightning_modules.training.execution import Choice
from lightning_modules.training.runner import Study, fit, make_trainer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tune.fit.chunk import Chunk
    from tune.study.definition import Definition


class Report(pl.Callback):
    """Hands a chunk its replicas' figures, and drops those that do not go on."""

    def __init__(self, chunk: Chunk) -> None:
        """Keep the chunk.

        Args:
            chunk: Whose members train.
        """
        self.chunk = chunk

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Validation has run by now."""
        assert isinstance(pl_module, PairModule)
        self.chunk.pace()
        epoch, sound = trainer.current_epoch, sound_replicas(pl_module)
        # What diverged goes at once: what is done between epochs is not made for numbers that are none.
        if all(sound) and not self.chunk.definition.is_reported(epoch):
            return
        errors = pl_module.epoch_metrics("val")["val/error"].tolist()
        kept = self.chunk.report(epoch, errors, sound)
        if not kept:
            trainer.should_stop = True
        elif len(kept) < len(errors):
            prune_fit(trainer, kept)


def train(chunk: Chunk, accelerator: str) -> None:
    """Train a chunk's members, on training and validation pairs alone.

    Args:
        chunk: Members that differ only in what replicas may have their own of.
        accelerator: Lightning's.

    Raises:
        ValueError: A setting is refused.
    """
    study = _study(chunk, accelerator)
    fit(study, lambda figures: None, [Report(chunk)])
    chunk.finish()


def _study(chunk: Chunk, accelerator: str) -> Study:
    definition, replicas = chunk.definition, list[dict[str, float]]()
    for member in chunk.members:
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
    """Pairs, order and warps are the same for all members, so that only their parameters tell them apart."""
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
