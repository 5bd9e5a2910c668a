"""The plain training loop on pairs of digits: validation after each epoch, the test once at the end."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from lightning_modules.replicas.state import are_finite
from lightning_modules.results.runs import OVER_PAIRS, Run, by_name, measure
from lightning_modules.results.tensorboard import EpochMetrics
from scratch_framework.experiments.digits.learner import make_learner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import pytorch_lightning as pl
    from numpy.typing import NDArray
    from torch import Tensor

    from scratch_framework.experiments.digits.learner import DigitLearner, Sums


@dataclass(frozen=True)
class Training:
    """R runs of one net as one program, as a worker process needs them."""

    net: str
    settings: Mapping[str, float]
    seeds: Sequence[int]
    data: Callable[..., pl.LightningDataModule]  # called with seeds
    max_epochs: int
    dtype: torch.dtype

    def fit(self, report: Callable[[EpochMetrics], None]) -> Fit:
        """Train and test; `report` is called with the metrics of each epoch, and at last with the test's."""
        learner = make_learner(self.net, self.seeds, self.settings, self.dtype)
        data = self.data(seed=self.seeds)
        data.setup("fit")
        runs = fit(learner, data, self.max_epochs, report)
        return Fit(runs, {name: value.numpy() for name, value in learner.state_dict().items()})


@dataclass(frozen=True)
class Fit:
    """Outcome of a training."""

    runs: list[Run]
    state: dict[str, NDArray[Any]]  # (R, ...) by name; arrays, because they travel between processes


def fit(
    learner: DigitLearner,
    data: pl.LightningDataModule,
    max_epochs: int,
    report: Callable[[EpochMetrics], None],
) -> list[Run]:
    """Train on data that is set up, and test once at the end; return the errors of every replica."""
    train, val = data.train_dataloader(), data.val_dataloader()
    metrics: dict[str, list[float]] = {}
    for epoch in range(max_epochs):
        train.set_epoch(epoch)
        learner.model.train()
        metrics = mean_metrics("train", map(learner.step, train), train)
        if len(val):
            metrics |= evaluate("val", learner, val)
        report(EpochMetrics(epoch, (epoch + 1) * len(train), metrics))
    final = evaluate("train", learner, train)  # of the final weights, nothing dropped
    tested = test(learner, data.test_dataloader())
    weights = [*learner.state_dict().values(), *map(torch.tensor, metrics.values())]
    finite = are_finite(weights, len(learner.seeds))
    last = {
        tag: [value if is_finite else math.nan for value, is_finite in zip(values, finite, strict=True)]
        for tag, values in tested.items()
    }
    report(EpochMetrics(max_epochs, max_epochs * len(train), last))
    return [
        Run(
            seed=seed,
            train_error=final["train/error"][k],
            val_error=metrics["val/error"][k] if "val/error" in metrics else None,
            **{name: values[k] for name, values in by_name(tested).items()},
            diverged=None if finite[k] else True,
        )
        for k, seed in enumerate(learner.seeds)
    ]


@torch.inference_mode()
def evaluate(stage: str, learner: DigitLearner, loader: Any) -> dict[str, list[float]]:
    """Metrics of all pairs of a stage, "train", "val" or "test", in evaluation mode: R numbers by tag."""
    learner.model.eval()
    return mean_metrics(stage, map(learner.loss_and_errors, loader), loader)


def test(learner: DigitLearner, loader: Any) -> dict[str, list[float]]:
    """The metrics of `Run` on all test pairs, in evaluation mode: R numbers by tag."""
    learner.model.eval()
    batches = [measure("test", learner.answers(batch)) for batch in loader]
    values = {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}  # (N, R, ...)
    return {
        f"test/{name}": [(OVER_PAIRS[name] or _mean)(own).item() for own in value.unbind(1)]
        for name, value in values.items()
    }


def _mean(values: Tensor) -> Tensor:
    return values.double().mean()


def mean_metrics(stage: str, batches: Iterable[Sums], loader: Any) -> dict[str, list[float]]:
    """Add up the sums of batches, and divide by the number of pairs that the loader served."""
    totals: dict[str, Tensor] = {}
    for sums in batches:
        for name, value in sums.items():
            totals[name] = totals[name] + value if name in totals else value.double()
    pairs = len(loader.pairs)
    return {f"{stage}/{name}": (total / pairs).tolist() for name, total in totals.items()}
