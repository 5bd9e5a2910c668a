"""The plain training loop on points: epochs of batches, and the errors after each epoch."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Generator, Tensor

import scratch_framework as sf
from lightning_modules.replicas.seeding import derive_seed
from lightning_modules.replicas.state import are_finite
from lightning_modules.results.runs import Run
from lightning_modules.results.tensorboard import EpochMetrics
from scratch_framework.experiments.disc.learners import Learner
from scratch_framework.experiments.disc.objective import OBJECTIVES
from scratch_framework.experiments.disc.points import MIDDLE, Points
from scratch_framework.experiments.disc.recipe import Recipe

DEVIATION = 12**-0.5  # the standard deviation of a coordinate that is uniform in [0, 1]


class Examples(NamedTuple):
    """Points in the form that a recipe's net takes."""

    x: Tensor  # (R, N, 2)
    target: Tensor  # (R, N, 1), or (R, N) for classes
    inside: Tensor  # (R, N) bool

    def take(self, order: Tensor) -> "Examples":
        """The same in another order, (R, N)."""
        rows = torch.arange(len(order)).unsqueeze(-1)
        return Examples(*(part[rows, order] for part in self))


def examples(recipe: Recipe, points: Points, dtype: torch.dtype) -> Examples:
    """Bring points into the form that a recipe's net takes."""
    target = OBJECTIVES[recipe.loss].target(points.inside, dtype)
    return Examples(inputs(recipe, points.x, dtype), target, points.inside)


def inputs(recipe: Recipe, x: Tensor, dtype: torch.dtype) -> Tensor:
    """Coordinates in [0, 1], standardised if the recipe says so."""
    return ((x - MIDDLE) / DEVIATION if recipe.standardise else x).to(dtype)


def steps_per_epoch(recipe: Recipe, count: int) -> int:
    """Batches that `count` points make; the last may be smaller."""
    return -(-count // recipe.batch_size)


def train_epoch(learner: Learner, recipe: Recipe, train: Examples, epoch: int) -> Tensor:
    """Train on every point once.

    Returns:
        The mean loss of a point, (R,), each before the step that used it.
    """
    count = train.x.shape[1]
    if recipe.order == "shuffled":
        train = train.take(epoch_order(count, learner.seeds, epoch))
    total = train.x.new_zeros(len(learner.seeds))
    for x, target in zip(*(part.split(recipe.batch_size, 1) for part in train[:2]), strict=True):
        loss = learner.step(x, target)
        total += loss if recipe.reduction == "sum" else loss * x.shape[1]
    return total / count


def epoch_order(count: int, seeds: Sequence[int], epoch: int) -> Tensor:
    """The order of an epoch: a function of seed and epoch alone, (R, count)."""
    streams = [Generator().manual_seed(derive_seed(seed, f"order {epoch}")) for seed in seeds]
    return torch.stack([torch.randperm(count, generator=source) for source in streams])


def evaluate(learner: Learner, recipe: Recipe, shown: Examples) -> tuple[Tensor, Tensor]:
    """Mean loss and share of wrong answers on points, both (R,)."""
    objective = OBJECTIVES[recipe.loss]
    outputs = learner.outputs(shown.x)
    loss = getattr(sf, objective.criterion)(replicas=len(outputs))(outputs, shown.target)
    wrong = (objective.logit(outputs) > 0) != shown.inside
    return loss, wrong.double().mean(-1)  # exact: a float32 would blur the share


def fit(
    learner: Learner, recipe: Recipe, data: Mapping[str, Examples], report: Callable[[EpochMetrics], None]
) -> list[Run]:
    """Train, and test once at the end.

    Args:
        learner: The nets.
        recipe: How to train.
        data: Points to "train" and to "test", and maybe some of validation, "val".
        report: Called with the metrics of each epoch, and at last with the test's.

    Returns:
        The errors of every replica.
    """
    steps = steps_per_epoch(recipe, data["train"].x.shape[1])
    for epoch in range(recipe.max_epochs):
        values = {"train/loss": train_epoch(learner, recipe, data["train"], epoch)}
        values["train/error"] = evaluate(learner, recipe, data["train"])[1]
        if "val" in data:
            values["val/loss"], values["val/error"] = evaluate(learner, recipe, data["val"])
        report(EpochMetrics(epoch, (epoch + 1) * steps, _lists(values)))
    values["test/error"] = evaluate(learner, recipe, data["test"])[1]
    final = _lists(values)
    finite = are_finite([*values.values(), *learner.state_dict().values()], len(learner.seeds))
    errors = zip(final["test/error"], finite, strict=True)
    tested = {"test/error": [error if is_finite else math.nan for error, is_finite in errors]}
    report(EpochMetrics(recipe.max_epochs, recipe.max_epochs * steps, tested))
    return [
        Run(
            seed=seed,
            train_error=final["train/error"][k],
            val_error=final["val/error"][k] if "val" in data else None,
            test_error=final["test/error"][k],
            diverged=None if finite[k] else True,
        )
        for k, seed in enumerate(learner.seeds)
    ]


def _lists(values: Mapping[str, Tensor]) -> dict[str, list[float]]:
    return {tag: value.tolist() for tag, value in values.items()}
