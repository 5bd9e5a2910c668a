"""Layers with a replica dimension against torch's own, replica by replica."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lightning_modules.replicas.dropout import Dropout
from lightning_modules.replicas.fused.loops.random_bits import dropout_mask
from lightning_modules.replicas.layers import Linear
from lightning_modules.replicas.seeding import reseed

sizes = st.integers(1, 6)


@settings(max_examples=40)
@given(replicas=sizes, batch=sizes, inputs=sizes, outputs=sizes)
def test_linear_is_torchs_linear_for_every_replica(
    replicas: int, batch: int, inputs: int, outputs: int
) -> None:
    ours = Linear(inputs, outputs, replicas).double()
    for parameter in ours.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(batch, replicas * inputs, dtype=torch.float64)
    y = ours(x).unflatten(1, (replicas, outputs))
    assert ours.bias is not None
    for r in range(replicas):
        block = slice(r * outputs, (r + 1) * outputs)
        theirs = nn.functional.linear(
            x.view(batch, replicas, inputs)[:, r], ours.weight[block], ours.bias[block]
        )
        torch.testing.assert_close(y[:, r], theirs, rtol=0, atol=1e-12)


def seeded(p: float, seeds: list[int]) -> Dropout:
    layer = Dropout(p, len(seeds))
    layer.seed(seeds)
    return layer


def activations(replicas: int, channels_last: bool) -> Tensor:
    x = torch.randn(7, replicas * 5, 4, 3)
    return x.contiguous(memory_format=torch.channels_last) if channels_last else x


@pytest.mark.parametrize("shape", [(1000, 300), (100, 30, 10, 10)])
@pytest.mark.parametrize("p", [0.2, 0.3, 0.5])
def test_dropout_drops_at_its_rate_and_keeps_the_mean(p: float, shape: tuple[int, ...]) -> None:
    y = seeded(p, [0, 1, 2])(torch.ones(shape))
    dropped = (y == 0).float()
    assert dropped.mean().item() == pytest.approx(p, abs=5 * (p * (1 - p) / y.numel()) ** 0.5)
    assert y.mean().item() == pytest.approx(1, abs=0.01)
    kept = y[y != 0].unique()
    assert kept.tolist() == [pytest.approx(1 / (1 - p))]


@pytest.mark.parametrize("p", [0.2, 0.3, 1 / 3])
def test_the_rate_is_exact_to_32_bits_and_kept_values_make_up_for_it(p: float) -> None:
    draw = Dropout(p, 1).next_draw()
    assert float(draw.threshold) / 2**32 == pytest.approx(p, abs=2**-33)
    assert draw.gain * (1 - float(draw.threshold) / 2**32) == 1


def test_the_bits_of_dropouts_numbers_are_fair_and_unrelated() -> None:
    keys = np.random.default_rng(0).integers(2**32, size=(64, 2), dtype=np.uint32)
    masks = np.empty((8, 2000, 64, 16), np.float32)
    for call, mask in enumerate(masks):
        dropout_mask(keys, call, np.uint32(2**31), np.float32(1), mask)
    assert abs(masks.mean() - 0.5) < 5 * 0.5 / masks.size**0.5
    for axis in range(4):  # neighbours: calls, rows, replicas, features
        size = masks.shape[axis]
        one, other = masks.take(range(1, size), axis), masks.take(range(size - 1), axis)
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 5 / one.size**0.5
    by_replica = masks.mean((0, 1, 3))
    assert by_replica.std() == pytest.approx(0.5 / (masks.size / 64) ** 0.5, rel=0.4)


def test_dropouts_masks_are_independent_between_replicas_features_and_calls() -> None:
    layer = seeded(0.5, [0, 1])
    first, second = (layer(torch.ones(400, 200)) != 0).float(), (layer(torch.ones(400, 200)) != 0).float()
    for a, b in (
        (first[:, :100], first[:, 100:]),
        (first, second),
        (first[:, :-1], first[:, 1:]),
        (first[:-1], first[1:]),
    ):
        correlation = torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1]
        assert abs(correlation) < 5 / a.numel() ** 0.5


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_replica_drops_what_its_seed_drops_alone(channels_last: bool) -> None:
    x = activations(3, channels_last)
    together = seeded(0.3, [4, 5, 6])(x)
    alone = seeded(0.3, [5])(x[:, 5:10])
    assert torch.equal(together[:, 5:10], alone)
    assert together.is_contiguous(memory_format=torch.channels_last) == channels_last


@pytest.mark.parametrize("channels_last", [False, True])
def test_the_mask_of_other_devices_has_the_rate_the_scale_and_the_seed(channels_last: bool) -> None:
    """Drawn here on the CPU, by the generator that a GPU would have."""
    x = activations(300, channels_last)
    layer = seeded(0.3, list(range(300)))
    mask = layer._device_mask(x)
    assert mask.unique().tolist() == [0, pytest.approx(1 / 0.7)]
    assert (mask == 0).float().mean().item() == pytest.approx(0.3, abs=0.005)
    assert not torch.equal(layer._device_mask(x), mask)
    assert torch.equal(seeded(0.3, list(range(300)))._device_mask(x), mask)
    assert not torch.equal(seeded(0.3, [5, *range(1, 300)])._device_mask(x), mask)


@pytest.mark.parametrize("branches", [1, 2])
@pytest.mark.parametrize("channels_last", [False, True])
def test_replicas_that_stay_drop_on_other_devices_what_they_would_have(
    channels_last: bool, branches: int
) -> None:
    """Within the epoch in which others are dropped, and in the next ones."""
    seeds, kept = [11, 12, 13, 14], [[1, 2, 3], [2, 0]]  # of four, then of three
    whole, cut = (Dropout(0.3, 4 * branches) for _ in range(2))
    x = torch.randn(7, 4 * branches * 5, 4, 3)
    x = x.contiguous(memory_format=torch.channels_last) if channels_last else x
    left = list(range(4))
    for epoch in range(3):
        for layer, own in ((whole, seeds), (cut, [seeds[r] for r in left])):
            reseed(nn.ModuleList([layer]), own, epoch)
        for step in range(2):
            expected = whole._device_mask(x).unflatten(1, (4, -1))[:, left].flatten(1, 2)
            own_x = x.unflatten(1, (4, -1))[:, left].flatten(1, 2)
            if channels_last:
                own_x = own_x.contiguous(memory_format=torch.channels_last)
            assert torch.equal(cut._device_mask(own_x), expected), (epoch, step)
            if step == 0 and kept:
                some = kept.pop(0)
                cut.select(some, len(left))
                left = [left[r] for r in some]


def test_dropouts_gradient_passes_where_values_passed() -> None:
    x = activations(2, True).requires_grad_()
    y = seeded(0.3, [1, 2])(x)
    y.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad * x, y)


def test_dropout_does_nothing_in_evaluation() -> None:
    x = activations(2, True)
    assert seeded(0.5, [1, 2]).eval()(x) is x
