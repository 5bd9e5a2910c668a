"""Under mixed precision what is added up or compared is float32: sums do not stall, numbers do not tie."""

from typing import Any

import pytest
import torch
from torch import Tensor

from datamodules import DigitPairs
from lightning_modules import PlainCNN
from lightning_modules.evaluation.all_pairs import error_of_all_pairs
from lightning_modules.models.base import PairModule
from lightning_modules.models.latent.alignment import LatentAlignment
from lightning_modules.models.losses import balance_loss, consistency_loss, cross_entropy
from lightning_modules.models.recipes import RECIPES, resolve
from lightning_modules.models.registry import MODULES
from lightning_modules.networks.heads import HEADS, compare
from lightning_modules.replicas.fused.sequential import set_engine
from lightning_modules.training.runner import make_trainer

HALF = (torch.bfloat16, torch.float16)


def autocast(enabled: bool) -> torch.autocast:
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("mixed", [False, True])
def test_what_30000_pairs_say_of_latent_digits_is_added_up_in_full(dtype: torch.dtype, mixed: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(30_000, 1, 2, 10, generator=generator, dtype=torch.float64)
    target = torch.randint(2, (30_000, 1), generator=generator)
    logits = logits.to(dtype)
    alignment = LatentAlignment([0], one_order=True)
    with autocast(mixed):
        for step in range(0, 30_000, 25):
            alignment.observe(logits[step : step + 25], target[step : step + 25])
    assert alignment.cooccurrence is not None
    assert alignment.counts is not None
    first, second = logits.double().softmax(-1)[:, 0].unbind(1)
    at_most = target.double()
    whole = torch.stack([(first * share).T @ second for share in (1 - at_most, at_most)])
    torch.testing.assert_close(alignment.cooccurrence[0].double(), whole, rtol=1e-5, atol=0)
    assert alignment.counts.sum().item() == 60_000


@pytest.mark.parametrize("dtype", HALF)
def test_losses_and_comparisons_of_half_precision_logits_are_those_of_the_same_numbers_in_float32(
    dtype: torch.dtype,
) -> None:
    logits = torch.randn(4000, 2, 2, 10, generator=torch.Generator().manual_seed(0)).to(dtype)
    classes = logits.flip(1).argmax(-1)  # any digits
    exact = logits.float()
    with torch.autocast("cpu", dtype=dtype):
        torch.testing.assert_close(balance_loss(logits), balance_loss(exact))
        torch.testing.assert_close(consistency_loss(logits), consistency_loss(exact))
        torch.testing.assert_close(cross_entropy(logits, classes), cross_entropy(exact, classes))
        for name in ("exact", "argmax"):
            torch.testing.assert_close(
                HEADS[name]()(logits.flatten(1, 2)), HEADS[name]()(exact.flatten(1, 2))
            )
    posteriors = exact.softmax(-1)[:500, 0, 0].to(dtype)
    labels = classes[:500, 0, 0]
    assert torch.equal(error_of_all_pairs(posteriors, labels), error_of_all_pairs(posteriors.float(), labels))
    assert compare(posteriors.view(-1, 1, 2, 10)).dtype == torch.float32


NETWORKS: list[tuple[str, str, dict[str, Any]]] = [
    *((model, recipe, {}) for model in MODULES for recipe in RECIPES),
    *(("weight_sharing", "modern", {"head": head}) for head in ("mlp", "subtract", "paper")),
    ("cnn", "modern", {"branches": "early"}),
    ("cnn", "modern", {"swap_trunks": False}),
    ("auxiliary", "paper", {"trunk": "clean"}),
]


def network_of(model: str, recipe: str, changes: dict[str, Any]) -> PairModule:
    small = {"width": 4} if recipe == "modern" else {}
    settings = resolve(RECIPES[recipe], [model], {**small, **changes})[model]
    return MODULES[model].from_settings(settings, [0, 1])


@pytest.fixture(scope="module")
def images() -> Tensor:
    data = DigitPairs(seed=[0, 1], test_pairs=1000, batch_size=1000)
    data.setup()
    return next(iter(data.test_dataloader()))[0]


@pytest.mark.parametrize("engine", ["fused", "torch"])
@pytest.mark.parametrize(("model", "recipe", "changes"), NETWORKS)
def test_answers_are_float32_under_autocast_and_have_no_more_ties_than_there(
    model: str, recipe: str, changes: dict[str, Any], engine: Any, images: Tensor
) -> None:
    """In bfloat16 two logits of a thousand pairs are often equal, and all such ties say "greater"."""
    module = network_of(model, recipe, changes).eval()
    set_engine(module.network, engine)
    with torch.no_grad():
        plain = module(images)
        with autocast(True):
            mixed = module(images)
    for ours, theirs in zip(mixed, plain, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            assert ours.dtype == torch.float32
            coarse = (ours == ours.to(torch.bfloat16)) & (ours != 0)
            assert coarse.float().mean() < 0.05  # not bfloat16's numbers in float32's clothes
    ties = (mixed.pair[..., 0] == mixed.pair[..., 1]).sum().item()
    assert ties <= (plain.pair[..., 0] == plain.pair[..., 1]).sum().item()


def test_float64_stays_float64(images: Tensor) -> None:
    module = network_of("auxiliary", "modern", {}).double().eval()
    outputs = module(images[:5].double())
    assert outputs.pair.dtype == torch.float64
    assert balance_loss(outputs.digits).dtype == torch.float64


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
def test_a_study_in_any_precision_keeps_what_it_adds_up_in_float32_at_least(precision: Any) -> None:
    changes = {"width": 4, "swap_trunks": False, "batch_size": 20}
    settings = resolve(RECIPES["modern"], ["cnn"], changes)["cnn"]
    module = PlainCNN.from_settings(settings, [0, 1])
    data = DigitPairs(60, 20, 20, seed=[0, 1], **settings.taken_by("DigitPairs"))
    trainer = make_trainer({"max_epochs": 2, "accelerator": "cpu", "precision": precision})
    trainer.fit(module, data)
    assert module.alignment is not None
    met = module.alignment.cooccurrence
    assert met is not None
    assert met.dtype == (torch.float64 if precision == "64-true" else torch.float32)
    per_pair = met.sum((1, 2, 3))  # two views in the last epoch
    assert per_pair.tolist() == pytest.approx([120, 120], rel=1e-4)
