"""The loops against torch's operations: any shapes, strides and types, NaN and infinity."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_modules.replicas.dropout import Dropout
from lightning_modules.replicas.fused.memory import cut, flat
from lightning_modules.replicas.fused.normalisation import Layers, normalise_and_drop
from lightning_modules.replicas.fused.pooled_convolution import convolve_and_pool
from lightning_modules.replicas.fused.product import multiply
from lightning_modules.replicas.fused.sequential import Sequential, set_engine
from lightning_modules.replicas.fused.unpooled_convolution import convolve

DTYPES = (torch.float32, torch.float64)
TOLERANCE = {torch.float32: 2e-4, torch.float64: 1e-11}
few = st.integers(1, 3)
any_seed = st.integers(0, 2**32 - 1)
widths = st.one_of(st.integers(1, 9), st.integers(10, 130))
dtypes = st.sampled_from(DTYPES)


def strided(x: Tensor, how: int) -> Tensor:
    """The same numbers, differently in memory."""
    if how == 0:
        return x
    if how == 1:
        return x.transpose(0, -1).contiguous().transpose(0, -1)
    room = torch.zeros(*x.shape[:-1], 2 * x.shape[-1] + 1, dtype=x.dtype)
    room[..., 1::2] = x
    return room[..., 1::2]


def assert_close(ours: Tensor, theirs: Tensor, dtype: torch.dtype) -> None:
    largest = theirs[theirs.isfinite()].abs().max().item() if theirs.isfinite().any() else 1.0
    atol = TOLERANCE[dtype] * max(1.0, largest)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=atol, equal_nan=True)


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.tuples(few, few, st.integers(4, 9), st.integers(4, 9)),
    inputs=widths,
    outputs=widths,
    dtype=dtypes,
    how=st.integers(0, 2),
    padding=st.integers(0, 2),
    planar_side=st.sampled_from([(False, 3), (True, 3), (True, 5), (True, 7)]),
    strange=st.sampled_from([None, torch.nan, torch.inf, -torch.inf]),
    seed=any_seed,
)
def test_a_pooled_convolution_is_torchs(
    sizes: tuple[int, int, int, int],
    inputs: int,
    outputs: int,
    dtype: torch.dtype,
    how: int,
    padding: int,
    planar_side: tuple[bool, int],
    strange: float | None,
    seed: int,
) -> None:
    (replicas, n, height, width), (planar, side) = sizes, planar_side
    assume(min(height, width) + 2 * padding > side)
    generator = torch.Generator().manual_seed(seed)
    shape: tuple[int, ...] = (n, replicas, inputs, height, width)
    images = torch.randint(-2, 3, shape, generator=generator).to(dtype)  # small integers tie
    if strange is not None:
        images.view(-1)[int(torch.randint(images.numel(), (1,), generator=generator))] = strange
    shape = (replicas * outputs, inputs, side, side)
    weight = torch.randn(shape, generator=generator, dtype=dtype).requires_grad_()
    bias = torch.randn(replicas * outputs, generator=generator, dtype=dtype).requires_grad_()
    x = strided(images if planar else images.permute(1, 0, 3, 4, 2), how).requires_grad_(not planar)
    ours = cut(convolve_and_pool(x, strided(weight, how), bias, padding, planar), outputs)
    plain = images.flatten(1, 2).requires_grad_()
    folded = F.conv2d(plain, weight, bias, padding=padding, groups=replicas)
    theirs = F.max_pool2d(folded, 2).unflatten(1, (replicas, outputs)).permute(1, 0, 3, 4, 2)
    assert_close(ours, theirs, dtype)
    if strange is not None:
        return  # torch's slopes are NaN also where an infinite pixel is multiplied by 0
    slope = F.hardshrink(torch.randn(ours.shape, generator=generator, dtype=dtype))  # as a ReLU stops some
    wanted = (weight, bias) if planar else (weight, bias, x)
    got = torch.autograd.grad(ours, wanted, slope)
    expected = torch.autograd.grad(theirs, (weight, bias, plain), slope)
    for one, other in zip(got[:2], expected, strict=False):
        assert_close(one, other, dtype)
    if not planar:
        own = expected[2].unflatten(1, (replicas, inputs)).permute(1, 0, 3, 4, 2)
        assert_close(got[2], own, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_slope_that_is_no_number_reaches_its_nine_pixels(dtype: torch.dtype) -> None:
    x, weight = torch.randn(1, 1, 6, 6, 40, dtype=dtype, requires_grad=True), torch.randn(50, 40, 3, 3)
    ours = convolve_and_pool(x, weight.to(dtype), None, 0, False)
    slope = torch.zeros_like(ours)
    slope[0, 0, 1, 0, 49] = torch.nan
    (got,) = torch.autograd.grad(ours, x, slope)
    pixels = got.isnan().all(-1).nonzero()[:, 2:]
    assert got.isnan().sum() == 9 * 40
    assert (pixels.amax(0) - pixels.amin(0)).tolist() == [2, 2]
    assert (got.nan_to_num() == 0).all()


@pytest.mark.parametrize("shape", [(5,), (1, 1, 5), (1, 5, 1), (2, 5), (2, 1, 3)])
@pytest.mark.parametrize("how", range(3))
def test_numbers_that_lie_apart_are_flat_one_after_the_other(shape: tuple[int, ...], how: int) -> None:
    x = torch.arange(math.prod(shape), dtype=torch.float64).view(shape)
    memory = flat(strided(x, how))
    assert memory.flags.c_contiguous
    assert memory.tolist() == list(range(x.numel()))


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.tuples(few, st.integers(1, 17), st.integers(1, 7), st.integers(1, 7)),
    kernel=st.sampled_from([(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2), (5, 2)]),
    inputs=widths,
    outputs=widths,
    dtype=dtypes,
    how=st.integers(0, 2),
    strange=st.sampled_from([None, torch.nan, torch.inf, -torch.inf]),
    seed=any_seed,
)
def test_a_convolution_is_torchs(
    sizes: tuple[int, int, int, int],
    kernel: tuple[int, int],
    inputs: int,
    outputs: int,
    dtype: torch.dtype,
    how: int,
    strange: float | None,
    seed: int,
) -> None:
    (replicas, n, height, width), (side, padding) = sizes, kernel
    assume(min(height, width) + 2 * padding >= side)
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(n, replicas, inputs, height, width, generator=generator, dtype=dtype)
    if strange is not None:
        images.view(-1)[int(torch.randint(images.numel(), (1,), generator=generator))] = strange
    shape = (replicas * outputs, inputs, side, side)
    weight = torch.randn(shape, generator=generator, dtype=dtype).requires_grad_()
    bias = torch.randn(replicas * outputs, generator=generator, dtype=dtype).requires_grad_()
    x = strided(images.permute(1, 0, 3, 4, 2), how).requires_grad_()
    ours = cut(convolve(x, strided(weight, how), bias, padding), outputs)
    plain = images.flatten(1, 2).requires_grad_()
    folded = F.conv2d(plain, weight, bias, padding=padding, groups=replicas)
    theirs = folded.unflatten(1, (replicas, outputs)).permute(1, 0, 3, 4, 2)
    assert_close(ours, theirs, dtype)
    if strange is not None:
        return  # torch's slopes are NaN also where an infinite pixel is multiplied by 0
    slope = torch.randn(ours.shape, generator=generator, dtype=dtype)
    d_x, *got = torch.autograd.grad(ours, (x, weight, bias), slope)
    own, *expected = torch.autograd.grad(theirs, (plain, weight, bias), slope)
    assert_close(d_x, own.unflatten(1, (replicas, inputs)).permute(1, 0, 3, 4, 2), dtype)
    for one, other in zip(got, expected, strict=True):
        assert_close(one, other, dtype)


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.tuples(few, few, st.integers(2, 9)),
    image=st.sampled_from([(), (2, 2), (3, 4), (4, 2), (5, 5)]),  # pooled, if it is one
    channels=widths,
    dtype=dtypes,
    how=st.integers(0, 2),
    training=st.booleans(),
    relus=st.tuples(st.booleans(), st.booleans()),
    p_and_strange=st.sampled_from(
        [(0.0, None), (0.3, None), (0.0, torch.nan), (0.0, torch.inf), (0.0, -torch.inf)]
    ),
    seed=any_seed,
)
def test_normalisation_is_torchs(
    sizes: tuple[int, int, int],
    image: tuple[int, ...],
    channels: int,
    dtype: torch.dtype,
    how: int,
    training: bool,
    relus: tuple[bool, bool],
    p_and_strange: tuple[float, float | None],  # a NaN that is dropped is 0 here, and NaN in torch
    seed: int,
) -> None:
    (replicas, calls, rows), (p, strange) = sizes, p_and_strange
    generator = torch.Generator().manual_seed(seed)
    norm: nn.BatchNorm1d | nn.BatchNorm2d = (nn.BatchNorm2d if image else nn.BatchNorm1d)(replicas * channels)
    first, last = (nn.ReLU() if relu else nn.Identity() for relu in relus)
    pool, dropout = nn.MaxPool2d(2) if image else nn.Identity(), Dropout(p, replicas)
    layers = Sequential(first, norm, last, pool, dropout).to(dtype)
    for value in layers.state_dict().values():
        if not value.dim():
            continue
        value.uniform_(0.5, 2, generator=generator)
    norm.weight.data[::2] *= -1  # so that the largest becomes the least
    layers.train(training)
    dropout.seed(list(range(replicas)))
    x = torch.randn(calls * rows, replicas * channels, *image, generator=generator, dtype=dtype)
    if strange is not None:
        x.view(-1)[0] = strange
    start = {name: value.clone() for name, value in layers.state_dict().items()}
    found = []
    for fused in (True, False):
        layers.load_state_dict(start)
        dropout.calls = 0
        own = x.clone().requires_grad_()
        if fused:
            apart = own.unflatten(1, (replicas, -1)).movedim((1, 2), (0, -1))
            out = normalise_and_drop(strided(apart, how), Layers(norm, dropout, *relus, bool(image)), calls)
            out = cut(out, channels).movedim((0, -1), (1, 2)).flatten(1, 2)
        else:
            set_engine(layers, "torch")
            out = layers(own, calls)
        slope = torch.arange(out.numel(), dtype=dtype).cos().view(out.shape)
        grads = torch.autograd.grad(out, (own, norm.weight, norm.bias), slope)
        found.append([out, *grads, *(value.clone() for value in layers.state_dict().values())])
    for number, (one, other) in enumerate(zip(*found, strict=True)):
        if strange is None or number == 0:
            assert_close(one.to(dtype), other.to(dtype), dtype)


@pytest.mark.parametrize("layers", [[nn.BatchNorm2d(64), nn.MaxPool2d(2)], [nn.Sigmoid(), nn.MaxPool2d(2)]])
def test_images_that_are_too_small_to_be_pooled_are_refused(layers: list[nn.Module]) -> None:
    net = Sequential(nn.Conv2d(64, 64, 3, groups=2), *layers)
    with pytest.raises(ValueError, match="images of 1x4 cannot be pooled by 2x2"):
        net(torch.randn(4, 64, 3, 6))


def test_numbers_that_begin_between_two_words_are_read() -> None:
    memory = bytearray(4 * 2 * 16 * 8 + 1)
    x = torch.frombuffer(memory, dtype=torch.float32, offset=0, count=2 * 16 * 8).view(2, 4, 4, 8)[None]
    x.normal_()
    odd = torch.frombuffer(bytearray(b"0" + bytes(memory)), dtype=torch.uint8)[1 : 1 + 4 * 2 * 16 * 8]
    weight = torch.randn(32, 8, 3, 3)
    misaligned = torch.frombuffer(odd.numpy().data, dtype=torch.float32).view_as(x)
    assert torch.equal(
        convolve_and_pool(misaligned, weight, None, 0, False), convolve_and_pool(x, weight, None, 0, False)
    )


@pytest.mark.parametrize(
    "statistics",
    [
        torch.zeros(16)[::2],
        torch.zeros(8).double(),
        torch.frombuffer(memoryview(bytearray(33))[1:], dtype=torch.float32),
    ],
    ids=["with gaps", "of another type", "between two words"],
)
def test_running_statistics_that_could_not_be_changed_in_place_are_refused(statistics: Tensor) -> None:
    norm = nn.BatchNorm1d(8)
    norm.running_mean = statistics
    with pytest.raises(ValueError, match=r"must be torch\.float32, contiguous and aligned"):
        normalise_and_drop(torch.randn(2, 3, 4), Layers(norm), 1)


@pytest.mark.parametrize(
    ("x", "weight"),
    [
        (torch.zeros(2, 3, 4, 4, 8), torch.zeros(64, 9, 3, 3)),
        (torch.zeros(2, 3, 4, 4, 8), torch.zeros(65, 8, 3, 3)),
        (torch.zeros(2, 3, 3, 4, 8), torch.zeros(64, 8, 3, 3)),
        (torch.zeros(2, 3, 4, 4, 8).double(), torch.zeros(64, 8, 3, 3)),
    ],
)
def test_what_does_not_fit_is_refused_before_a_loop_runs(x: Tensor, weight: Tensor) -> None:
    with pytest.raises(ValueError, match="do not fit weights"):
        convolve_and_pool(x, weight, None, 0, False)


@pytest.mark.parametrize("bias", [True, False])
def test_a_product_has_the_slopes_of_finite_differences_twice(bias: bool) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(2, 3, 4, dtype=torch.float64), torch.randn(10, 4, dtype=torch.float64)
    inputs: list[Any] = [x.requires_grad_(), weight.requires_grad_()]
    inputs.append(torch.randn(10, dtype=torch.float64).requires_grad_() if bias else None)
    assert torch.autograd.gradcheck(multiply, inputs)
    assert torch.autograd.gradgradcheck(multiply, inputs)


@pytest.mark.parametrize(
    "function",
    [partial(convolve, padding=1), partial(convolve_and_pool, padding=1, planar=False)],
    ids=["alone", "pooled"],
)
def test_a_convolution_has_the_slopes_of_finite_differences_twice(function: Callable[..., Tensor]) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(2, 3, 3, 2, 4).double(), torch.randn(10, 4, 3, 3).double()
    inputs = [x.requires_grad_(), weight.requires_grad_(), torch.randn(10).double().requires_grad_()]
    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


def test_the_weights_that_read_images_have_the_slopes_of_finite_differences_twice() -> None:
    torch.manual_seed(0)
    x, weight, bias = (
        torch.randn(3, 2, 1, 7, 6).double(),
        torch.randn(8, 1, 5, 5).double(),
        torch.randn(8).double(),
    )
    inputs = weight.requires_grad_(), bias.requires_grad_()
    read = partial(convolve_and_pool, x, padding=2, planar=True)
    assert torch.autograd.gradcheck(read, inputs)
    assert torch.autograd.gradgradcheck(read, inputs)


def test_a_bias_behind_frozen_weights_has_a_slope_that_can_be_differentiated_again() -> None:
    x, weight = torch.randn(2, 3, 3, 2, 4).double(), torch.randn(10, 4, 3, 3).double()
    bias = torch.randn(10).double().requires_grad_()
    (slope,) = torch.autograd.grad(convolve(x, weight, bias, 1).sum(), bias, create_graph=True)
    torch.testing.assert_close(slope, torch.full_like(slope, 3 * 3 * 2))
