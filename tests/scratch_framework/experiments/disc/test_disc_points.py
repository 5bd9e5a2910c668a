"""The data of chapter 2: what is drawn, and from whose stream."""

import math

import pytest
import torch

from scratch_framework.experiments.disc.points import DataConfig


@pytest.mark.parametrize(("disc", "share"), [("radius", 1 / 2), ("diameter", 1 / 8)])
def test_the_disc_covers_half_of_the_square_or_an_eighth_if_its_diameter_is_meant(
    disc: str, share: float
) -> None:
    points = DataConfig(disc=disc).draw("train", 40_000, [0, 1])  # type: ignore[arg-type]
    assert points.inside.double().mean().item() == pytest.approx(share, abs=0.01)
    distance = (points.x - 0.5).square().sum(-1).sqrt()
    assert torch.equal(points.inside, math.pi * distance**2 < share)


def test_uniform_points_fill_the_square() -> None:
    x = DataConfig().draw("train", 40_000, [3]).x
    assert x.shape == (1, 40_000, 2)
    assert 0 <= x.min() < 0.001 < 0.999 < x.max() <= 1
    assert x.mean().item() == pytest.approx(0.5, abs=0.01)
    assert x.std().item() == pytest.approx(12**-0.5, abs=0.01)


def test_normal_points_gather_around_the_middle_and_stay_in_the_square() -> None:
    x = DataConfig(points="normal").draw("train", 40_000, [3]).x
    assert 0 <= x.min() < x.max() <= 1
    assert x.mean().item() == pytest.approx(0.5, abs=0.01)
    kept = math.erf(math.sqrt(2))  # of a normal distribution, within two sigmas
    assert x.std().item() == pytest.approx(0.25 * 0.8796, abs=0.005)  # a normal cut at two sigmas is narrower
    within = ((x - 0.5).abs() < 0.25).double().mean().item()
    assert within == pytest.approx(math.erf(1 / math.sqrt(2)) / kept, abs=0.01)


def test_every_seed_and_purpose_has_a_stream_of_its_own() -> None:
    together = DataConfig().draw("train", 50, [7, 8])
    alone = DataConfig().draw("train", 50, [8])
    assert torch.equal(together.x[1:], alone.x)
    assert torch.equal(together.inside[1:], alone.inside)
    assert not torch.isin(together.x[0], together.x[1]).any()
    assert not torch.isin(alone.x, DataConfig().draw("test", 50, [8]).x).any()
