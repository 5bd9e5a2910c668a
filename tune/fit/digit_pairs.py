"""The trials of one fit of a comparison of digits: replicas of one network, by Lightning."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
from optuna.distributions import CategoricalDistribution

from datamodules import DigitPairs
from lightning_modules.models.base import Comparison
from lightning_modules.models.recipes import RECIPES, resolve
from lightning_modules.models.registry import MODULES
from lightning_modules.replicas.pruning import keep_in_fit, sound_replicas
from lightning_modules.training.execution import Choice
from lightning_modules.training.runner import Study, fit, make_trainer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_modules.models.settings import PairSettings
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
        assert isinstance(pl_module, Comparison)
        self.chunk.pace()
        epoch, sound = trainer.current_epoch, sound_replicas(pl_module)
        # What diverged goes at once: what is done between epochs is not made for numbers that are none.
        if all(sound) and not self.chunk.definition.is_reported(epoch):
            return
        errors = pl_module.figures("val")["val/error"].tolist()
        kept = self.chunk.report(epoch, errors, sound)
        if not kept:
            trainer.should_stop = True
        elif len(kept) < len(errors):
            keep_in_fit(trainer, kept)


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
    definition = chunk.definition
    seeds = [seed for _ in chunk.members for seed in definition.seeds]
    data = partial(
        _shared_pairs,
        train_pairs=definition.train_size,
        val_pairs=definition.val_size,
        data_dir=definition.data_dir,
    )
    trainer = {"max_epochs": definition.max_epochs, "accelerator": accelerator, "devices": 1}
    return Study(
        module=MODULES[definition.model],
        settings=_settings(chunk),
        seeds=seeds,
        data=data,
        trainer=trainer,
        execution=Choice(workers=1, replicas=len(seeds)).on(make_trainer(trainer), len(seeds)),
        test=False,
    )


def _shared_pairs(seed: Sequence[int], **arguments: Any) -> DigitPairs:
    """Pairs, order and warps are the same for all members, so that only their parameters tell them apart."""
    return DigitPairs(seed=seed, stream_seed=seed, **arguments)


def _settings(chunk: Chunk) -> PairSettings:
    """The recipe's settings but for the trials', each of which has its own of what a replica may have."""
    recipe, model = RECIPES[chunk.definition.space], chunk.definition.model
    each = [resolve(recipe, [model], member.params)[model] for member in chunk.members]
    names = [name for name, rule in each[0].rules().items() if rule.per_replica]
    repeats = range(len(chunk.definition.seeds))
    own: dict[str, Any] = {name: [getattr(one, name) for one in each for _ in repeats] for name in names}
    return replace(each[0], **own)


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
    return [RECIPES[definition.space].settings[definition.model].batch_size]
