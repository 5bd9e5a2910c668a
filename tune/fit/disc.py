"""The trials of one fit on the disc: replicas of one net, by the framework from scratch."""

from dataclasses import replace

import torch
from torch import Tensor

from scratch_framework.experiments.disc.learners import ScratchLearner
from scratch_framework.experiments.disc.points import DataConfig
from scratch_framework.experiments.disc.recipe import RECIPES
from scratch_framework.experiments.disc.training import (
    Examples,
    evaluate,
    examples,
    steps_per_epoch,
    train_epoch,
)
from tune.fit.trial_batch import TrialBatch


def train(batch: TrialBatch) -> None:
    """Train the trials of a batch, on training and validation points alone."""
    definition = batch.definition
    members = [replace(RECIPES[definition.space], **member.params) for member in batch.members]
    recipe = replace(members[0], max_epochs=definition.max_epochs, mistake=definition.mistake)
    rates = [(own.lr, own.weight_decay) for own in members for _ in definition.seeds]
    lr, weight_decay = torch.tensor(rates).T.contiguous()  # (R,) each
    seeds = definition.seeds * len(members)
    steps = definition.max_epochs * steps_per_epoch(recipe, definition.train_size)
    compiled = recipe.mistake == "none"  # the compiled step knows no mistake
    learner = ScratchLearner(recipe, seeds, steps, compiled=compiled, lr=lr, weight_decay=weight_decay)
    shown, held_out = (
        examples(recipe, DataConfig().draw(purpose, count, seeds), torch.float32)
        for purpose, count in (("train", definition.train_size), ("val", definition.val_size))
    )
    for epoch in range(definition.max_epochs):
        loss = train_epoch(learner, recipe, shown, epoch)
        batch.record_epoch()
        if not definition.is_reported(epoch):
            continue
        errors = evaluate(learner, recipe, held_out)[1].tolist()
        surviving = batch.report(epoch, errors, _are_finite(learner, loss))
        if not surviving:
            return
        if len(surviving) < len(errors):
            learner = learner.select(surviving)
            shown, held_out = (Examples(*(part[surviving] for part in data)) for data in (shown, held_out))
    batch.finish()


def _are_finite(learner: ScratchLearner, loss: Tensor) -> list[bool]:
    """Whether each replica has a finite loss and finite weights."""
    finite = loss.isfinite()
    for value in learner.state_dict().values():
        finite &= value.flatten(1).isfinite().all(1)
    return finite.tolist()
