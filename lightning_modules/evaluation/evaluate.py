"""Metrics of trained runs: on training, validation and test pairs, and over all pairs of test digits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any, Protocol, cast

import pytorch_lightning as pl
from torch import Tensor

from lightning_modules.evaluation.all_pairs import AllPairsTest
from lightning_modules.evaluation.ensembling import EnsembleTest, Ensembling
from lightning_modules.evaluation.mistakes import Mistakes
from lightning_modules.models.base import PairModule
from lightning_modules.replicas.pruning import sound_replicas
from lightning_modules.results.runs import Run, by_name


def select_members(module: PairModule, ensembling: Ensembling) -> Tensor:
    """Select the replicas that stand for the runs.

    Args:
        module: All members of all runs, trained.
        ensembling: How many trainings a run has.

    Returns:
        (R, ensemble), numbers of members.
    """
    return ensembling.select(module.epoch_metrics("train")["train/loss"], sound_replicas(module))


def evaluate(
    trainer: pl.Trainer,
    module: PairModule,
    data: pl.LightningDataModule,
    seeds: Sequence[int],
    selected: Tensor,
    all_pairs: bool,
) -> list[Run]:
    """Measure all runs, on test pairs last.

    Args:
        trainer: Has fitted the module.
        module: All members of all runs.
        data: Their pairs.
        seeds: Of the runs.
        selected: (R, ensemble), the members that stand for each run.
        all_pairs: Whether to test on all pairs of test digits too.

    Returns:
        A run a seed; it diverged where one of its selected members did.
    """
    sound = sound_replicas(module)
    val, alone = _as_lists(module.epoch_metrics("val")).get("val/error"), list[float]()
    tested: PairModule | EnsembleTest = module
    if len(module.seeds) > len(seeds):
        tested = EnsembleTest(module, selected)
        if val:
            val = _test(trainer, tested, data.val_dataloader())["test/error"]
        errors = _test(trainer, module, data.test_dataloader())["test/error"]
        alone = _means_of_sound(errors, sound, len(module.seeds) // len(seeds))
    train = _test(trainer, tested, cast("Testable", data).train_test_dataloader())["test/error"]
    every = _test_all_pairs(trainer, AllPairsTest(module, selected), data) if all_pairs else {}
    test = _test(trainer, tested, data.test_dataloader())
    metrics = {"train_error": train, "val_error": val, "member_test_error": alone, **every, **by_name(test)}
    known = {name: values for name, values in metrics.items() if values}
    return [
        Run(
            seed=seed,
            **{name: values[k] for name, values in known.items()},
            diverged=None if all(sound[member] for member in selected[k]) else True,
        )
        for k, seed in enumerate(seeds)
    ]


def _means_of_sound(errors: Sequence[float], sound: Sequence[bool], size: int) -> list[float]:
    """The mean over each run's members that did not diverge; over all where all did."""
    means = []
    for first in range(0, len(errors), size):
        own = range(first, first + size)
        counted = [member for member in own if sound[member]] or own
        means.append(mean(errors[member] for member in counted))
    return means


@dataclass(frozen=True)
class Fit:
    """Results of a study."""

    runs: list[Run]
    mistakes: Mistakes | None  # of all runs; None without a test
    unsaved: str | None = None  # why there is no checkpoint, if it could not be written


class Testable(Protocol):
    """Loaders that the data module has beside Lightning's."""

    def train_test_dataloader(self) -> Any:
        """Training pairs in fixed order, alike for all members of a run."""

    def all_test_dataloader(self) -> Any:
        """A pairing of all test digits, the same for all replicas."""


def _test_all_pairs(
    trainer: pl.Trainer, tested: AllPairsTest, data: pl.LightningDataModule
) -> dict[str, list[float]]:
    trainer.test(tested, cast("Testable", data).all_test_dataloader(), verbose=False)
    return {tested.metric: [round(error, 7) for error in tested.errors().tolist()]}


def _test(trainer: pl.Trainer, module: PairModule | EnsembleTest, loader: Any) -> dict[str, list[float]]:
    trainer.test(module, loader, verbose=False)
    return _as_lists(module.epoch_metrics("test"))


def _as_lists(metrics: Mapping[str, Tensor]) -> dict[str, list[float]]:
    # float32 holds seven digits: 0.432, not 0.4320000112056732
    return {tag: [round(number, 7) for number in value.tolist()] for tag, value in metrics.items()}
