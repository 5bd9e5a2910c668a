"""Filters, features and projections are those of the net."""

import numpy as np
import pytest
import torch

from datamodules import load_digits
from lightning_modules.evaluation.probing import (
    Projection,
    filters_figure,
    first_filters,
    hidden_features,
    project,
    projection_figure,
)
from lightning_modules.models.recipes import MODERN
from lightning_modules.models.registry import MODULES
from lightning_modules.replicas.fused.sequential import Sequential


@pytest.mark.parametrize("model", MODULES)
def test_the_last_linear_layer_of_the_papers_nets_makes_of_the_features_what_the_net_says(model: str) -> None:
    module = MODULES[model](seed=3).eval()
    first, second = load_digits()[1].images[:40].split(20)
    features = torch.from_numpy(hidden_features(module, first, second))
    assert features.shape == (20, 200)
    cnn = next(part for part in module.network.modules() if isinstance(part, Sequential))
    said = module(torch.stack([first, second], 1))
    expected = said.pair[:, 0] if model == "cnn" else said.digits[:, 0, 0]
    torch.testing.assert_close(cnn[-4:](features), expected)


def test_a_modern_net_can_be_looked_at_too() -> None:
    digits = load_digits()[1].images[:5]
    module = MODULES["auxiliary"].from_settings(MODERN.settings["auxiliary"], 3)
    assert hidden_features(module, digits, digits).shape == (5, 128)
    assert first_filters(module).shape == (32, 1, 5, 5)


def test_a_probe_reads_what_is_there_and_guesses_where_nothing_is() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(10, size=1000)
    corners = 9 * np.eye(10, 20)[labels]
    noise = random.normal(size=(1000, 20))
    told = project(corners + noise, labels, 600)
    assert told.misread == 0
    assert told.points.shape == (400, 2)
    assert np.array_equal(told.labels, labels[600:])
    assert project(noise, labels, 600).misread == pytest.approx(0.9, abs=0.06)


def test_the_plane_is_the_one_in_which_the_means_lie_farthest_apart() -> None:
    labels = np.tile(np.arange(10), 30)
    features = np.random.default_rng(0).normal(size=(300, 5))
    features[:, 1] += 100 * labels
    features[:, 3] += 10 * (labels % 2)
    points = project(features, labels, 200).points
    assert abs(np.corrcoef(points[:, 0], features[200:, 1])[0, 1]) > 0.999
    assert abs(np.corrcoef(points[:, 1], features[200:, 3])[0, 1]) > 0.9


def test_every_kernel_is_shown_in_its_place_and_scale() -> None:
    kernels = np.random.default_rng(0).normal(size=(16, 2, 3, 3))
    (axis,) = filters_figure({"net": kernels}).axes
    shown = axis.images[0].get_array()
    assert shown is not None
    for number, (left, right) in enumerate(kernels / np.abs(kernels).max((1, 2, 3), keepdims=True)):
        row, column = divmod(number, 8)
        cell = shown[4 * row :, 7 * column :]
        assert np.array_equal(cell[:3, :3], left)
        assert np.array_equal(cell[:3, 3:6], right)


def test_the_first_filters_are_the_first_layers_one_channel_a_digit() -> None:
    for model, channels in (("cnn", 2), ("weight_sharing", 1)):
        module = MODULES[model](seed=3)
        first = next(iter(module.network.state_dict().values()))
        assert np.array_equal(first_filters(module), first.numpy())
        assert first_filters(module).shape == (32, channels, 3, 3)


def test_every_digit_is_drawn_and_named() -> None:
    points = np.arange(40.0).reshape(20, 2)
    shown = Projection(points, np.repeat(np.arange(10), 2), 0.25)
    (axis,) = projection_figure({"net": shown}).axes
    assert [text.get_text() for text in axis.texts] == [str(digit) for digit in range(10)]
    drawn = np.concatenate([np.asarray(dots.get_offsets()) for dots in axis.collections])
    assert np.array_equal(drawn, points)
    assert axis.get_title() == "net: the probe misreads 25.0%"
