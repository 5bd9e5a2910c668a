"""Every setting with values that are not the paper's, and what a run of two epochs makes of some of them."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from itertools import combinations
from typing import Any, get_args

import torch

from datamodules import DigitPairs
from lightning_modules.command.options import Augment, Branches, OptimizerName, Pool, Schedule, Trunk
from lightning_modules.models.recipes import MODERN, PAPER, Recipe
from lightning_modules.models.registry import MODULES
from lightning_modules.models.settings import PairSettings
from lightning_modules.networks.heads import HEADS
from lightning_modules.training.runner import make_trainer

SMALL = 4  # channels
VALUES: Mapping[str, tuple[Any, ...]] = {
    "trunk": get_args(Trunk),
    "width": (3,),
    "pool": get_args(Pool),
    "head": tuple(HEADS),
    "temperature": (0.3,),
    "branches": get_args(Branches),
    "swap_trunks": (True, False),
    "optimizer": get_args(OptimizerName),
    "weight_decay": (0.3,),
    "schedule": get_args(Schedule),
    "lr": (0.03,),
    "alpha": (0.3,),
    "gamma": (0.3,),
    "label_smoothing": (0.3,),
    "balance": (0.7,),
    "consistency": (0.7,),
    "augment": get_args(Augment),
    "elastic": (1.0,),
    "two_views_from": (0.0, 1.0),
    "reorder": (True, False),
    "split_merged": (True, False),
    "ensemble": (2,),
    "restarts": (2,),
}
# The recipes, but narrow.
RECIPES: Mapping[str, Recipe] = {
    "paper": PAPER,
    "modern": replace(
        MODERN, settings={model: replace(own, width=SMALL) for model, own in MODERN.settings.items()}
    ),
}
SINGLE = [(name, value) for name, values in VALUES.items() for value in values]
PAIRS = [dict(pair) for pair in combinations(SINGLE, 2) if len(dict(pair)) == 2]


@cache
def pairs_of_digits() -> DigitPairs:
    data = DigitPairs(train_pairs=16, val_pairs=0, test_pairs=8)
    data.setup()
    return data


def train(settings: PairSettings) -> list[torch.Tensor]:
    """Two epochs of two steps; the weights, and what the net says then of test pairs."""
    module = MODULES[settings.model].from_settings(settings, 3)
    data = DigitPairs(train_pairs=16, val_pairs=0, test_pairs=8, **settings.taken_by("DigitPairs"))
    for split in ("train_digits", "test_digits", "train_set", "val_set", "test_set"):
        setattr(data, split, getattr(pairs_of_digits(), split))
    make_trainer({"max_epochs": 2, "accelerator": "cpu"}).fit(module, data)
    images = next(iter(data.test_dataloader()))[0]
    with torch.no_grad():
        answers = module.eval()(images).pair
    return [answers, *(parameter.detach() for parameter in module.network.parameters())]
