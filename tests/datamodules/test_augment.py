"""Warps keep a digit a digit, are a replica's own, and happen in training only."""

import math
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from datamodules import DigitPairs, load_digits
from datamodules.augment import Augmentation

small = st.integers(1, 4)
STILL = Augmentation(elastic=0, rotation=0, scale=0, shear=0, shift=0)


def pairs(count: int = 10, replicas: int = 1) -> Tensor:
    """Real digits as a batch, (count, 2 * replicas, 14, 14)."""
    return load_digits()[0].images[: count * 2 * replicas].view(count, -1, 14, 14)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_a_warp_by_nothing_changes_nothing(interpolation: Any) -> None:
    still = Augmentation(interpolation, elastic=0, rotation=0, scale=0, shear=0, shift=0)
    torch.testing.assert_close(still(pairs(), [0], 0), pairs(), rtol=0, atol=1e-2)


def test_a_shift_by_one_pixel_moves_the_image_by_it() -> None:
    shifted = STILL._grid(torch.zeros(1, 1, 6), torch.zeros(1, 1, 2, 16))
    moved = Augmentation(elastic=0)._grid(torch.tensor([[[0.0, 0, 0, 0, 1, 0]]]), torch.zeros(1, 1, 2, 16))
    difference = (moved - shifted).view(-1, 2)
    torch.testing.assert_close(difference[:, 0], torch.full((196,), 2 / 13))
    torch.testing.assert_close(difference[:, 1], torch.zeros(196))


def test_a_rotation_keeps_distances_and_turns_by_its_angle() -> None:
    still = STILL._grid(torch.zeros(1, 1, 6), torch.zeros(1, 1, 2, 16)).view(-1, 2)
    turned = (
        Augmentation(elastic=0)
        ._grid(torch.tensor([[[1.0, 0, 0, 0, 0, 0]]]), torch.zeros(1, 1, 2, 16))
        .view(-1, 2)
    )
    torch.testing.assert_close(turned.norm(dim=1), still.norm(dim=1))
    cosines = (turned * still).sum(1) / still.norm(dim=1) ** 2
    torch.testing.assert_close(cosines, torch.full((196,), math.cos(math.radians(12))))


def test_the_elastic_field_is_smooth_and_has_its_size() -> None:
    elastic = Augmentation(elastic=0.4, rotation=0, scale=0, shear=0, shift=0)
    normal = torch.randn(1, 4000, 2, 16, generator=torch.Generator().manual_seed(0))
    still = STILL._grid(torch.zeros(1, 1, 6), torch.zeros(1, 1, 2, 16))[0]
    pixels = (elastic._grid(torch.zeros(1, 4000, 6), normal)[0] - still) * 13 / 2  # (4000, 14, 14, 2)
    assert pixels[:, 0, 0].std().item() == pytest.approx(0.4, rel=0.05)  # a corner is a knot
    steps = (pixels[:, 1:] - pixels[:, :-1]).abs().mean().item()
    assert steps < 0.5 * pixels.abs().mean().item()


@settings(max_examples=15)
@given(replicas=small, count=small, views=st.integers(1, 2), step=small, rank=st.integers(0, 1))
def test_a_replicas_warps_are_those_of_its_seed_alone_to_the_bit(
    replicas: int, count: int, views: int, step: int, rank: int
) -> None:
    seeds = [7 * r + 1 for r in range(replicas)]
    images, augment = pairs(count, replicas), Augmentation()
    together = augment(images, seeds, step, rank, views)
    assert together.shape == (views * count, 2 * replicas, 14, 14)
    for r, seed in enumerate(seeds):
        own = slice(2 * r, 2 * r + 2)
        assert torch.equal(together[:, own], augment(images[:, own], [seed], step, rank, views))


def test_warps_differ_between_digits_views_steps_processes_and_seeds() -> None:
    same = load_digits()[0].images[:1].expand(2, 2, 14, 14)
    augment = Augmentation()
    warped = [
        augment(same, [seed], step, rank, views=2).view(-1, 14, 14)
        for seed in range(2)
        for step in range(2)
        for rank in range(2)
    ]
    assert len(torch.cat(warped).flatten(1).unique(dim=0)) == 2 * 2 * 2 * 2 * 2 * 2


def test_a_warped_digit_stays_within_the_pixels_range_and_near_the_digit() -> None:
    images = pairs(500)
    warped = Augmentation()(images, [0], 0)
    assert warped.min() >= 0
    assert warped.max() <= 255
    one, other = images.flatten(2).flatten(0, 1), warped.flatten(2).flatten(0, 1)
    own = torch.nn.functional.cosine_similarity(one, other)
    foreign = torch.nn.functional.cosine_similarity(one, other.roll(1, 0))
    assert own.mean() > 0.65
    assert own.mean() > foreign.mean() + 0.25


class Watch(pl.LightningModule):
    """Keeps the images of every stage."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: dict[str, list[Tensor]] = {"train": [], "val": [], "test": []}

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        self.seen["train"].append(batch[0])
        assert len(batch[1]) == 25
        return self.weight * 1

    def validation_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> None:
        self.seen["val"].append(batch[0])

    def test_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> None:
        self.seen["test"].append(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def test_digits_are_warped_in_training_only_and_twice_from_the_given_share_of_epochs() -> None:
    data = DigitPairs(50, 25, 25, batch_size=25, augment="bicubic", two_views_from=0.5)
    module, quiet = Watch(), {"enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(
        max_epochs=4,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        **quiet,  # type: ignore[arg-type]
    )
    trainer.fit(module, data)
    trainer.test(module, data, verbose=False)
    assert [len(images) for images in module.seen["train"]] == [25] * 4 + [50] * 4
    for stage, digits in (("val", data.train_digits), ("test", data.test_digits)):
        for images in module.seen[stage]:
            assert torch.isin(images.sum((-1, -2)), digits.images.sum((-1, -2))).all()
    assert not torch.isin(module.seen["train"][0].sum((-1, -2)), data.train_digits.images.sum((-1, -2))).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"augment": "cubist"}, "augment must be none, bilinear or bicubic, got cubist"),
        ({"augment": "bicubic", "elastic": -1.0}, "elastic must be at least 0, got -1.0"),
        ({"two_views_from": 0.5}, "two_views_from below 1 needs warps"),
    ],
)
def test_augmentation_out_of_range_is_named(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DigitPairs(**arguments)
