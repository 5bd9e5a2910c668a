"""The modern recipes: R trainings in one are R trainings, no label goes where it must not, settings bite."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from datamodules import DigitPairs
from lightning_modules.models.base import PairModule
from lightning_modules.models.recipes import MODERN, PAPER, resolve
from lightning_modules.models.registry import MODULES
from lightning_modules.replicas.optimizers import make_optimizer, warmup_linear
from lightning_modules.replicas.state import export_replica

SEEDS = [7, 3, 5]
LR = [0.01, 0.005, 0.02]

Batch = tuple[Tensor, Tensor, Any]


class Garbled(DigitPairs):
    """Training pairs whose digit labels went through a function."""

    garble: Callable[[Tensor], Any]

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        images, target, classes = super().on_after_batch_transfer(batch, dataloader_idx)
        return images, target, self.garble(classes)


def fit(
    model: str, seeds: list[int], lr: Any, garble: Callable[[Tensor], Any] = lambda classes: classes
) -> PairModule:
    """Train the modern recipe, narrower, in float64: 4 epochs of 4 steps, the last two of two views."""
    settings = replace(MODERN.settings[model], width=4, two_views_from=0.5, lr=lr)
    module = MODULES[model].from_settings(settings, seeds)
    data = Garbled(100, 50, 50, seed=seeds, **settings.taken_by("DigitPairs"))
    data.garble = garble
    trainer = pl.Trainer(
        max_epochs=4,
        precision="64-true",
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=2 if garble(torch.zeros(1)) is not None else 0,
    )
    trainer.fit(module, data)
    assert trainer.global_step == 16
    return module


@pytest.mark.parametrize("model", MODULES)
def test_a_replica_is_what_its_seed_is_when_trained_alone(model: str) -> None:
    """Warps, two views, order of latent digits, weight decay, schedule, and rates of their own included."""
    together = fit(model, SEEDS, LR)
    for r, (seed, lr) in enumerate(zip(SEEDS, LR, strict=True)):
        alone = fit(model, [seed], lr).network.state_dict()
        for name, value in export_replica(together.network.state_dict(), r, len(SEEDS)).items():
            torch.testing.assert_close(value, alone[name], rtol=1e-9, atol=1e-9, msg=name)


honest_fit = cache(partial(fit, seeds=[3], lr=0.01))


@pytest.mark.parametrize("model", ["cnn", "weight_sharing"])
@pytest.mark.parametrize(
    "garble",
    [
        lambda classes: classes.flip(0),
        lambda classes: torch.full(classes.shape, torch.nan),
        lambda classes: torch.full_like(classes, -999),
        lambda classes: None,
    ],
    ids=["other digits", "nan", "out of range", "none at all"],
)
def test_digit_labels_cannot_reach_a_model_that_must_not_see_them(
    model: str, garble: Callable[[Tensor], Any]
) -> None:
    honest, blind = honest_fit(model), fit(model, [3], 0.01, garble)
    state = blind.network.state_dict()
    for name, value in honest.network.state_dict().items():
        assert torch.equal(value, state[name]), name
    assert torch.equal(
        honest.epoch_metrics("train")["train/loss"], blind.epoch_metrics("train")["train/loss"]
    )


def test_digit_labels_do_reach_auxiliary() -> None:
    honest, blind = honest_fit("auxiliary"), fit("auxiliary", [3], 0.01, lambda classes: classes.flip(0))
    assert not torch.equal(
        honest.epoch_metrics("train")["train/loss"], blind.epoch_metrics("train")["train/loss"]
    )


def test_a_single_replica_is_exported_with_all_settings() -> None:
    module = fit("weight_sharing", SEEDS, 0.01).eval()
    single = module.replica(1).double().eval()
    data = DigitPairs(val_pairs=0, seed=SEEDS)
    data.setup()
    images = next(iter(data.test_dataloader()))[0].double()
    torch.testing.assert_close(single(images[:, 2:4]).pair, module(images).pair[:, 1:2])


def test_the_rate_rises_from_a_tenth_over_a_fifth_of_the_steps_and_falls_to_nothing() -> None:
    shares = [warmup_linear(1000, step) for step in range(1000)]
    assert shares[0] == pytest.approx(0.1)
    assert shares[100] == pytest.approx(0.55)
    assert max(shares) == shares[200] == 1
    assert shares[600] == pytest.approx(0.5)
    assert 0 < shares[-1] < 0.002


class Rates(pl.Callback):
    """Keeps the learning rate of every step."""

    def __init__(self) -> None:
        self.rates: list[float] = []

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])


def test_lightning_moves_the_rate_by_the_step() -> None:
    rates = Rates()
    module = MODULES["cnn"](lr=0.02, trunk="modern", width=4, optimizer="adamw", schedule="warmup_linear")
    options: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = pl.Trainer(max_epochs=2, accelerator="cpu", callbacks=[rates], **options)
    trainer.fit(module, DigitPairs(100, 0, 50, batch_size=10))
    assert rates.rates == pytest.approx([0.02 * warmup_linear(20, step) for step in range(20)])


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_weight_decay_is_of_matrices_only(name: Any) -> None:
    network = MODULES["cnn"](trunk="modern", width=4, branches="separate", head="mlp").network
    optimizer = make_optimizer(name, network, [0.1], 0.5)
    before = {key: value.clone() for key, value in network.named_parameters()}
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for key, value in network.named_parameters():
        shrunk = before[key] * (0.95 if value.dim() > 1 else 1)
        torch.testing.assert_close(value.detach(), shrunk.detach())


def test_every_modern_setting_has_an_effect() -> None:
    for model, settings in MODERN.settings.items():
        changed = {name for name, value in vars(settings).items() if value != vars(type(settings)())[name]}
        assert changed.isdisjoint(settings.idle()), model


def idle_flags() -> Iterator[tuple[Any, list[str], dict[str, Any], str]]:
    yield PAPER, ["cnn"], {"width": 8}, "width has no effect on cnn"
    yield PAPER, ["weight_sharing"], {"balance": 1.0}, "balance has no effect"
    yield PAPER, ["weight_sharing"], {"elastic": 0.1}, "elastic has no effect"
    yield MODERN, ["weight_sharing"], {"branches": "separate"}, "branches has no effect"
    yield MODERN, ["weight_sharing"], {"label_smoothing": 0.1}, "label_smoothing has no effect"
    yield MODERN, ["cnn"], {"branches": "early", "head": "exact"}, "head has no effect on cnn"
    yield MODERN, ["auxiliary"], {"augment": "none", "elastic": 0.3}, "elastic has no effect"
    yield MODERN, ["auxiliary"], {"head": "argmax", "temperature": 0.3}, "temperature has no effect"
    yield MODERN, ["weight_sharing"], {"temperature": 0.5}, "temperature has no effect"
    yield MODERN, ["auxiliary"], {"restarts": 3}, "restarts has no effect on auxiliary"


@pytest.mark.parametrize(("recipe", "models", "overrides", "message"), list(idle_flags()))
def test_a_setting_without_effect_is_refused(
    recipe: Any, models: list[str], overrides: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        resolve(recipe, models, overrides)


def test_settings_of_the_recipe_that_an_override_makes_idle_are_left_out() -> None:
    settings = resolve(MODERN, ["weight_sharing"], {"augment": "none", "elastic": None})["weight_sharing"]
    assert {"elastic", "two_views_from", "consistency"} <= settings.idle().keys()
    assert (settings.two_views_from, settings.as_flags()["consistency"]) == (1.0, None)
    settings = resolve(MODERN, ["auxiliary"], {"trunk": "clean"})["auxiliary"]
    assert {"width", "pool"} <= settings.idle().keys()
    assert settings.pool == "flatten"


def test_a_setting_with_effect_on_one_model_is_taken() -> None:
    resolved = resolve(MODERN, list(MODULES), {"branches": "early", "label_smoothing": 0.0, "restarts": 3})
    assert resolved["cnn"].branches == "early"
    assert vars(resolved["auxiliary"])["label_smoothing"] == 0.0
    assert resolved["weight_sharing"].restarts == 3
    assert resolved["weight_sharing"].branches == "shared"


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        ("weight_sharing", {"balance": -1.0, "head": "exact"}, "balance must be at least 0 and finite"),
        ("weight_sharing", {"consistency": 1.0}, "are of latent digits, which only head exact has"),
        ("auxiliary", {"label_smoothing": 1.0}, r"label_smoothing must lie in \[0, 1\), got 1.0"),
    ],
)
def test_modern_settings_out_of_range_are_named(model: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MODULES[model](**arguments)
