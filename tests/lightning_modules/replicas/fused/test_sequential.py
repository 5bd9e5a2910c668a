"""Layers computed together are the same layers computed one by one: outputs, gradients, statistics, masks."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from datamodules import DigitPairs
from lightning_modules.models.recipes import MODERN
from lightning_modules.models.registry import MODULES
from lightning_modules.networks.pairs import Outputs, PairReplicas, make_replicas
from lightning_modules.replicas.dropout import Dropout
from lightning_modules.replicas.fused.block import Block
from lightning_modules.replicas.fused.normalisation import Layers, normalise_and_drop
from lightning_modules.replicas.fused.pool import max_pool
from lightning_modules.replicas.fused.pooled_convolution import Convolution
from lightning_modules.replicas.fused.product import Product
from lightning_modules.replicas.fused.sequential import Engine, Sequential, set_engine
from lightning_modules.replicas.fused.steps import find_steps
from lightning_modules.replicas.fused.unpooled_convolution import Unpooled
from lightning_modules.replicas.seeding import reseed
from lightning_modules.replicas.state import take_replicas

SEEDS = [3, 1, 4]
small = st.integers(1, 3)


def digits(dtype: torch.dtype = torch.float64) -> Tensor:
    """Real pairs of digits, whose black background ties everywhere."""
    data = DigitPairs(seed=SEEDS, train_pairs=50)
    data.setup()
    return next(iter(data.train_dataloader()))[0].to(dtype)


@settings(max_examples=40)
@given(n=small, height=st.integers(2, 7), width=st.integers(2, 7), channels=st.integers(1, 40), seed=small)
def test_pooling_is_torchs_where_values_tie_too(
    n: int, height: int, width: int, channels: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(3, (n, channels, height, width), generator=generator).double().requires_grad_()
    expected = F.max_pool2d(x, 2)
    ours = max_pool(x.movedim(1, -1)).movedim(-1, 1)
    assert torch.equal(ours, expected)
    slope = torch.randn(expected.shape, dtype=torch.float64, generator=generator)
    (own,), (theirs,) = (torch.autograd.grad(pooled, x, slope) for pooled in (ours, expected))
    assert torch.equal(own, theirs)


@pytest.mark.parametrize("place", range(4))
def test_a_not_a_number_is_never_pooled_away(place: int) -> None:
    x = torch.arange(4.0)
    x[place] = torch.nan
    assert max_pool(x.view(1, 2, 2, 1)).isnan().all()


def run(network: nn.Module, images: Tensor, epoch: int = 0) -> tuple[Outputs, dict[str, Tensor]]:
    """Outputs of one step and the gradients of a loss that weighs all of them differently."""
    reseed(network, SEEDS, epoch)
    outputs = network(images)
    loss = sum(
        (part * torch.arange(part.numel()).view(part.shape).cos()).sum()
        for part in outputs
        if part is not None
    )
    network.zero_grad()
    loss.backward()
    return outputs, {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


def paper_cnn(seeds: Sequence[int]) -> PairReplicas:
    return make_replicas(seeds, "early")


def paper_siamese(seeds: Sequence[int]) -> PairReplicas:
    return make_replicas(seeds, "shared")


def modern_shared(seeds: Sequence[int]) -> PairReplicas:
    return make_replicas(seeds, "shared", True, trunk="modern", width=8, head="exact")


def deep_shared(seeds: Sequence[int]) -> PairReplicas:
    return make_replicas(seeds, "shared", True, trunk="deep", width=8, head="exact")


def modern_separate(seeds: Sequence[int]) -> PairReplicas:
    return make_replicas(seeds, "separate", trunk="modern", width=8, head="mlp")


@pytest.mark.parametrize(
    "network_type", [paper_cnn, paper_siamese, modern_shared, deep_shared, modern_separate]
)
def test_in_training_the_fused_engine_gives_what_torchs_gives(
    network_type: Callable[[Sequence[int]], PairReplicas],
) -> None:
    """Dropout included: both draw the same masks."""
    fused, plain = (network_type(SEEDS).double() for _ in range(2))
    set_engine(plain, "torch")
    images = digits()
    for epoch in range(2):
        (ours, our_grads), (theirs, grads) = (run(network, images, epoch) for network in (fused, plain))
        for one, other in zip(ours, theirs, strict=True):
            if one is not None:
                torch.testing.assert_close(one, other, rtol=0, atol=1e-11)
        for name, grad in grads.items():
            scale = max(1.0, grad.abs().max().item())
            torch.testing.assert_close(our_grads[name], grad, rtol=0, atol=1e-11 * scale, msg=name)
    statistics = plain.state_dict()
    for name, value in fused.state_dict().items():
        torch.testing.assert_close(value, statistics[name], rtol=1e-12, atol=1e-12, msg=name)
    for network in (fused, plain):
        network.eval()
    for one, other in zip(fused(images), plain(images), strict=True):
        if one is not None:
            torch.testing.assert_close(one, other, rtol=0, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("network_type", [paper_cnn, paper_siamese, modern_shared])
def test_a_replica_computes_what_it_computes_alone_bit_for_bit(
    network_type: Callable[[list[int]], nn.Module], dtype: torch.dtype
) -> None:
    def trained_by(seeds: list[int], images: Tensor) -> dict[str, Tensor]:
        network = network_type(seeds).to(dtype)
        optimizer = torch.optim.SGD(network.parameters(), 0.01)
        for epoch in range(3):
            reseed(network, seeds, epoch)
            optimizer.zero_grad()
            network(images).pair.square().mean(0).sum().backward()
            optimizer.step()
        return network.state_dict()

    images = digits(dtype)
    together = trained_by(SEEDS, images)
    for place, seed in enumerate(SEEDS):
        for name, value in trained_by([seed], images[:, 2 * place : 2 * place + 2]).items():
            assert torch.equal(take_replicas(together[name], [place], len(SEEDS)), value), name


def test_the_paper_networks_blocks_are_all_recognised() -> None:
    network: Any = paper_siamese([0, 1]).net
    for part, blocks in ((network.trunk, 4), (network.head, 2)):
        assert isinstance(part, Sequential)
        steps = find_steps(list(part))
        assert sum(isinstance(step, Block) for step in steps) == blocks
        assert sum(isinstance(step, Convolution) for step in steps) == sum(
            isinstance(layer, nn.Conv2d) for layer in part
        )


@pytest.mark.parametrize("model", MODERN.settings)
def test_the_loops_compute_all_convolutions_of_the_modern_recipes(model: str) -> None:
    module = MODULES[model].from_settings(MODERN.settings[model], [0, 1])
    network: Any = module.network.net
    loops = [step for step in find_steps(list(network.trunk)) if isinstance(step, Convolution | Unpooled)]
    assert [step.conv for step in loops] == [layer for layer in network.trunk if isinstance(layer, nn.Conv2d)]
    assert loops[0].takes(torch.zeros(4, loops[0].conv.in_channels, 14, 14), 0)


@pytest.mark.parametrize("p", [0.0, 0.3])
@pytest.mark.parametrize("calls", [1, 2])
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("image", [(), (3, 2)])
def test_the_gradient_of_a_block_is_that_of_finite_differences(
    p: float, calls: int, frozen: bool, image: tuple[int, ...]
) -> None:
    """Also where the statistics are those kept in training, as in evaluation or of a frozen layer."""
    torch.manual_seed(0)
    norm, dropout = nn.BatchNorm1d(6).double().train(not frozen), Dropout(p, 2)
    x = torch.randn(2, calls * (1 if image else 5), *image, 3, dtype=torch.float64)
    weight, bias = torch.randn(2, 6, dtype=torch.float64)

    def block(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        dropout.calls = 0  # the same masks each time
        cast("Any", norm)._parameters.update(weight=weight, bias=bias)
        return normalise_and_drop(x, Layers(norm, dropout, relu_before=True, pools=bool(image)), calls)

    inputs = [value.clone().requires_grad_() for value in (x, weight, bias)]
    assert torch.autograd.gradcheck(block, inputs)
    assert torch.autograd.gradgradcheck(block, inputs)


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Conv2d(1, 2, (3, 5)), nn.MaxPool2d(2)],
        [nn.Conv2d(1, 2, 3), nn.MaxPool2d(3)],
        [nn.Conv2d(1, 2, 3), nn.MaxPool2d(2, ceil_mode=True)],
        [nn.Conv2d(1, 2, 3, padding=1, padding_mode="reflect"), nn.MaxPool2d(2)],
        [nn.ReLU(), nn.BatchNorm1d(2, momentum=None), Dropout(0.1, 1)],
        [nn.ReLU(), nn.BatchNorm1d(2, affine=False), Dropout(0.1, 1)],
        [nn.ReLU(), nn.BatchNorm1d(2, track_running_stats=False), Dropout(0.1, 1)],
        [nn.ReLU(), nn.Conv2d(1, 2, 3, stride=2)],
    ],
)
def test_layers_that_mean_something_else_are_computed_one_by_one(layers: list[nn.Module]) -> None:
    assert not any(isinstance(step, Block | Convolution | Unpooled) for step in find_steps(layers))


def test_two_calls_are_two_batches_for_batch_normalisation() -> None:
    torch.manual_seed(0)
    layers = Sequential(nn.ReLU(), nn.BatchNorm1d(4), Dropout(0.5, 2))
    alone = Sequential(nn.ReLU(), nn.BatchNorm1d(4), Dropout(0.5, 2))
    for part in (layers, alone):
        cast("Dropout", part[2]).seed([1, 2])
    x = torch.randn(10, 4) + torch.arange(10.0).view(-1, 1)
    together = layers(x, calls=2)
    assert torch.equal(together, torch.cat([alone(x[:5]), alone(x[5:])]))
    for name, value in alone.state_dict().items():
        assert torch.equal(layers.state_dict()[name], value), name


def test_half_precision_is_computed_in_float32() -> None:
    """Under autocast a linear layer hands on bfloat16, and gets a slope of that type back."""
    torch.manual_seed(0)
    half, full = (Sequential(nn.ReLU(), nn.BatchNorm1d(40), Dropout(0.0, 2)) for _ in range(2))
    x = (torch.randn(64, 40) + torch.arange(40)).bfloat16()
    ours, exact = x.clone().requires_grad_(), x.float().requires_grad_()
    slope = torch.randn(64, 40)
    with torch.autocast("cpu", torch.bfloat16):
        for layers, images in ((half, ours), (full, exact)):
            layers(images).backward(slope)
        assert torch.equal(half.eval()(x), full.eval()(x.float()))
    assert ours.grad is not None
    assert exact.grad is not None
    assert torch.equal(ours.grad, exact.grad.bfloat16())


def test_pooling_reads_and_writes_bfloat16() -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 4, 5, 20).bfloat16()
    ours, exact = x.clone().requires_grad_(), x.float().requires_grad_()
    slope = torch.randn(3, 2, 2, 20).bfloat16()
    pooled = max_pool(ours)
    assert torch.equal(pooled, max_pool(exact).bfloat16())
    pooled.backward(slope)
    F.max_pool2d(exact.movedim(-1, 1), 2).movedim(1, -1).backward(slope.float())
    assert ours.grad is not None
    assert exact.grad is not None
    assert torch.equal(ours.grad, exact.grad.bfloat16())


def test_autocast_reaches_linear_layers_but_the_last() -> None:
    """Pooled convolutions stay in float32, which is faster; so do logits, which would tie."""
    network, seen = paper_cnn(SEEDS), list[torch.dtype]()
    cnn: Any = network.net.cnn
    with torch.autocast("cpu", torch.bfloat16):
        for step in find_steps(list(cnn)):
            if isinstance(step, Product):
                x = torch.randn(len(SEEDS), 5, step.layer.in_features)
                seen.append(step(x, 1).dtype)
    assert seen == [torch.bfloat16, torch.float32]


@pytest.mark.filterwarnings("ignore:.torch.jit.trace. is deprecated")
def test_a_trace_holds_torchs_operations_and_computes_the_same() -> None:
    trunk: Any = paper_siamese(SEEDS).double().eval().net.trunk
    images = digits()[:, ::2]
    traced = torch.jit.trace(trunk, images)
    assert "max_pool2d" in str(traced.inlined_graph)
    torch.testing.assert_close(traced(images), trunk(images), rtol=0, atol=1e-11)


def test_a_not_a_number_reaches_the_output() -> None:
    network = paper_cnn([0])
    images = torch.rand(4, 2, 14, 14)
    images[0, 0, 5, 5] = np.nan
    assert network(images).pair.isnan().any()


def test_images_can_have_a_slope() -> None:
    """As those of a saliency map have."""
    network, found = paper_siamese(SEEDS).double().eval(), []
    engines: list[Engine] = ["fused", "torch"]
    for engine in engines:
        set_engine(network, engine)
        images = digits().requires_grad_()
        found.append(torch.autograd.grad(network(images).pair.square().sum(), images)[0])
    torch.testing.assert_close(*found, rtol=0, atol=1e-11)


def test_a_hook_sees_its_layer_and_the_outputs_stay() -> None:
    network = paper_cnn(SEEDS).double().eval()
    cnn: Any = network.net.cnn
    images, seen = digits(), list[torch.Size]()
    expected = network(images).pair
    cnn[3].register_forward_hook(lambda layer, args, output: seen.append(output.shape))
    torch.testing.assert_close(network(images).pair, expected, rtol=0, atol=1e-11)
    assert seen == [(50, 32 * len(SEEDS), 6, 6)]


def test_layers_can_be_replaced_and_cut_out() -> None:
    layers = Sequential(nn.ReLU(), nn.BatchNorm1d(4), Dropout(0.5, 2))
    layers[2] = Dropout(0.0, 2)
    assert (layers(torch.rand(20, 4) + 1) != 0).all()
    assert layers[:1](torch.tensor([[-1.0, 2.0]])).tolist() == [[0.0, 2.0]]


@pytest.mark.parametrize(
    ("norm", "rows", "message"),
    [
        (nn.BatchNorm1d(4), 5, "BatchNorm has 4 features, its input 400"),
        (nn.BatchNorm1d(400), 1, "more than 1 value per channel"),
        (nn.BatchNorm1d(400).bfloat16(), 5, "weights in float32 or float64"),
    ],
)
def test_what_the_loops_cannot_compute_is_refused(norm: nn.Module, rows: int, message: str) -> None:
    layers = Sequential(nn.ReLU(), norm, Dropout(0.5, 2))
    set_engine(layers, "fused")
    with pytest.raises(ValueError, match=message):
        layers(torch.zeros(rows, 400))


def test_an_exported_program_holds_torchs_operations() -> None:
    cnn: Any = paper_cnn([0]).eval().net.cnn
    images = digits(torch.float32)[:, :2]
    program = torch.export.export(cnn, (images,))
    torch.testing.assert_close(program.module()(images), cnn(images), rtol=1e-4, atol=1e-4)


def test_samples_that_cannot_be_divided_into_calls_are_refused() -> None:
    with pytest.raises(ValueError, match="5 samples cannot be divided into 2 calls"):
        Sequential(nn.ReLU())(torch.zeros(5, 2), calls=2)


@pytest.mark.parametrize("pools", [True, False])
@pytest.mark.parametrize("strange", [torch.inf, -torch.inf, torch.nan])
@pytest.mark.parametrize("training", [True, False])
def test_what_fills_few_channels_up_to_a_row_never_reaches_them(
    pools: bool, strange: float, training: bool
) -> None:
    torch.manual_seed(0)
    pool = [nn.MaxPool2d(2)] if pools else []
    before = [nn.Conv2d(2 * 9, 2 * 20, 3, groups=2), *pool, nn.BatchNorm2d(40), nn.ReLU()]
    net = Sequential(*before, nn.Conv2d(40, 2 * 20, 3, padding=1, groups=2), *pool, nn.BatchNorm2d(40))
    net.train(training)
    x = torch.randn(3, 18, 12, 12)
    x[0, 3, 1, 1] = strange
    outputs = []
    for engine in ("fused", "torch"):
        set_engine(net, engine)
        outputs.append(net(x))
    torch.testing.assert_close(*outputs, equal_nan=True, rtol=1e-4, atol=1e-4)
    assert outputs[0].isfinite().any()
