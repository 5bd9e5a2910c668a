"""Optuna's samplers and pruners by the names of their flags."""

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, Trial

from lightning_modules.replicas.seeding import derive_seed
from tune.study.definition import Definition

START = 5  # complete trials before the median prunes
WARMUP = 0.2  # share of the epochs before any trial is pruned
REDUCTION = 3  # Hyperband keeps one of so many trials


def parameters(definition: Definition, point: int) -> Mapping[str, Any]:
    """The parameters of a point that follow from the study's definition alone; none for TPE."""
    if definition.sampler == "grid":
        return definition.searched().grid()[point]
    if definition.sampler == "tpe":
        return {}
    alone = optuna.create_study(sampler=_sampler(definition, point))  # in memory
    return alone.ask(dict(definition.searched().distributions)).params


def suggest_parameters(
    name: str, storage: RDBStorage, definition: Definition, trial: FrozenTrial, point: int
) -> Trial:
    """Give a claimed trial its parameters, where it has none."""
    # A fresh study object: one that is kept would remember the trials of earlier suggestions.
    sampler = _sampler(definition, point)
    study = optuna.load_study(
        study_name=name, storage=storage, sampler=sampler, pruner=make_pruner(definition)
    )
    running = Trial(study, trial._trial_id)
    if not trial.params:
        for parameter, distribution in definition.searched().distributions.items():
            _suggest(running, parameter, distribution)
    return running


def _sampler(definition: Definition, point: int) -> BaseSampler:
    """A sampler with a random stream for each point, so that it does not matter which process draws."""
    seed = derive_seed(point, f"sampler {definition.seed}")
    return TPESampler(seed=seed) if definition.sampler == "tpe" else RandomSampler(seed=seed)


def make_pruner(definition: Definition) -> BasePruner:
    """The pruner of a study; its steps are epochs."""
    warmup = max(1, round(WARMUP * definition.max_epochs))
    if definition.pruner == "median":
        return MedianPruner(n_startup_trials=START, n_warmup_steps=warmup)
    if definition.pruner == "hyperband":
        return HyperbandPruner(
            min_resource=warmup, max_resource=definition.max_epochs, reduction_factor=REDUCTION
        )
    return NopPruner()


def _suggest(trial: Trial, name: str, distribution: BaseDistribution) -> Any:
    match distribution:
        case CategoricalDistribution(choices=choices):
            return trial.suggest_categorical(name, choices)
        case IntDistribution(low=low, high=high, log=log):
            return trial.suggest_int(name, low, high, log=log)
        case FloatDistribution(low=low, high=high, log=log):
            return trial.suggest_float(name, low, high, log=log)
    raise TypeError(f"no parameter is made from {distribution!r}")
