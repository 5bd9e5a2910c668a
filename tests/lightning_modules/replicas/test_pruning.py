"""Replicas that are dropped from a running fit leave the others as they were."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from datamodules import DigitPairs
from lightning_modules.models.base import PairModule
from lightning_modules.models.recipes import RECIPES
from lightning_modules.models.registry import MODULES
from lightning_modules.replicas.pruning import prune_fit
from lightning_modules.replicas.state import export_replica, take_replicas
from lightning_modules.training.runner import make_trainer

SEEDS = [7, 3, 5, 11]
LR = [0.01, 0.005, 0.02, 0.01]


@dataclass
class Drop(pl.Callback):
    """Keeps some replicas after some epochs."""

    kept: Mapping[int, Sequence[int]]

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Drop the others."""
        if trainer.current_epoch in self.kept:
            prune_fit(trainer, self.kept[trainer.current_epoch])


def fit(model: str, recipe: str, changes: Mapping[str, Any], drop: Mapping[int, Sequence[int]]) -> PairModule:
    settings = replace(RECIPES[recipe].settings[model], **changes, batch_size=20)
    module = MODULES[model].from_settings(settings, SEEDS)
    data = DigitPairs(train_pairs=60, val_pairs=40, seed=SEEDS, **settings.taken_by("DigitPairs"))
    trainer = make_trainer(
        {"max_epochs": 6, "accelerator": "cpu", "precision": "64-true"}, callbacks=[Drop(drop)]
    )
    trainer.fit(module, data)
    return module


def figures(module: PairModule) -> dict[str, Tensor]:
    return module.epoch_metrics("train") | module.epoch_metrics("val")


@pytest.mark.parametrize(
    ("model", "recipe", "changes"),
    [
        ("cnn", "paper", {}),
        ("weight_sharing", "paper", {"lr": LR}),
        ("auxiliary", "paper", {"lr": LR, "alpha": [1.0, 0.2, 0.5, 0.8], "gamma": [0.8, 1.0, 0.2, 0.5]}),
        ("cnn", "modern", {"width": 4}),
        ("weight_sharing", "modern", {"width": 4, "lr": LR}),
        ("auxiliary", "modern", {"width": 4, "lr": LR}),
    ],
)
def test_replicas_that_stay_go_on_as_in_an_undisturbed_fit(
    model: str, recipe: str, changes: dict[str, Any]
) -> None:
    """After two drops, in float64: bit for bit with the paper's optimiser at one rate, else to 1e-12.

    Figures are counted in float32.
    """
    whole = fit(model, recipe, changes, {})
    kept = fit(model, recipe, changes, {1: [1, 3], 3: [1]})
    assert kept.seeds == [11]
    assert kept.hparams["seed"] == [11]
    state = kept.network.state_dict()
    for name, value in export_replica(whole.network.state_dict(), 3, len(SEEDS)).items():
        exact = recipe == "paper" and "lr" not in changes
        tolerance = 0 if exact else 1e-12 * max(1.0, value.abs().max().item())
        assert (value - state[name]).abs().max().item() <= tolerance, name
    for tag, value in figures(whole).items():
        assert figures(kept)[tag].tolist() == pytest.approx([value[3].item()], rel=1e-6), tag


@given(st.integers(1, 5), st.integers(1, 4), st.data())
def test_the_replicas_taken_are_their_blocks(replicas: int, block: int, data: st.DataObject) -> None:
    kept = data.draw(st.lists(st.integers(0, replicas - 1), min_size=1))
    value = torch.arange(replicas * block * 2).view(-1, 2)
    expected = torch.cat([value[r * block : (r + 1) * block] for r in kept])
    assert torch.equal(take_replicas(value, kept, replicas), expected)
    assert take_replicas(torch.tensor(3.0), kept, replicas).item() == 3
