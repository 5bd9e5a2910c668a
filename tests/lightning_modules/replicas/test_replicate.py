"""Replica k of any net is what seed k makes of that net alone: weights, dropout, gradients, statistics."""

import random
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor, nn
from torch.distributions import Normal
from torch.nn import functional as F
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint

from lightning_modules.replicas.convert import Engine, Replicas, replicate
from lightning_modules.replicas.registry import register
from lightning_modules.replicas.seeding import derive_seed, reseed

SEEDS = [5, 17, 40]
Make = Callable[[], nn.Module]

# Layers by the number of dimensions of (N, ...); n is the number of channels or features.
ACTIVATIONS: list[Callable[[int], nn.Module]] = [
    lambda n: nn.GELU(),
    lambda n: nn.LeakyReLU(),
    lambda n: nn.Softplus(),
    lambda n: nn.PReLU(),
    lambda n: nn.PReLU(n),
    lambda n: nn.Dropout(0.3),
    lambda n: nn.Softmax(1),
]
IMAGES: list[Callable[[int], nn.Module]] = [
    *ACTIVATIONS,
    lambda n: nn.Sequential(
        nn.Conv2d(n, 4, 3), nn.MaxPool2d(2), nn.ReLU(), nn.BatchNorm2d(4), nn.Dropout(0.2)
    ),
    lambda n: nn.Conv2d(n, 2 * n, 3, stride=2, padding=1, groups=n),
    lambda n: nn.Conv2d(n, 4, (3, 1), padding="same", dilation=2, padding_mode="circular", bias=False),
    lambda n: nn.ConvTranspose2d(n, 3 * n, 2, stride=2, output_padding=1, groups=n),
    lambda n: nn.BatchNorm2d(n, momentum=None),
    lambda n: nn.GroupNorm(n, n),
    lambda n: nn.GroupNorm(1, n, affine=False),
    lambda n: nn.InstanceNorm2d(n, affine=True, track_running_stats=True),
    lambda n: nn.Dropout2d(0.4),
    lambda n: nn.AvgPool2d(2),
    lambda n: nn.LPPool2d(2, 2),
    lambda n: nn.AdaptiveMaxPool2d(5),
    lambda n: nn.Upsample(scale_factor=2),
    lambda n: nn.ChannelShuffle(n),
    lambda n: nn.LocalResponseNorm(3),
]
SEQUENCES: list[Callable[[int], nn.Module]] = [
    *ACTIVATIONS,
    lambda n: nn.Conv1d(n, 3, 3, padding=2),
    lambda n: nn.ConvTranspose1d(n, 4, 3),
    lambda n: nn.BatchNorm1d(n),
    lambda n: nn.InstanceNorm1d(n),
    lambda n: nn.Dropout1d(0.3),
    lambda n: nn.MaxPool1d(2),
    lambda n: nn.AdaptiveAvgPool1d(4),
]
FEATURES: list[Callable[[int], nn.Module]] = [
    *ACTIVATIONS,
    lambda n: nn.Sequential(nn.Linear(n, 8), nn.ReLU(), nn.BatchNorm1d(8), nn.Dropout(0.2)),
    lambda n: nn.Linear(n, 6, bias=False),
    lambda n: nn.LayerNorm(n),
    lambda n: nn.LayerNorm(n, elementwise_affine=False),
    lambda n: nn.Sequential(nn.Linear(n, 4), nn.GLU(1)),
    lambda n: nn.Sequential(nn.Linear(n, 6), nn.Unflatten(1, (2, 3)), nn.Flatten()),
]


@st.composite
def random_nets(draw: st.DrawFn) -> tuple[Make, Tensor]:
    """A net of random layers, and a batch of its inputs (4, R, ...), one for each replica."""
    inputs = torch.rand(4, len(SEEDS), 2, 9, 9, dtype=torch.float64, generator=Generator().manual_seed(0))
    picks = list[tuple[Callable[[int], nn.Module], int]]()
    x = inputs[:, 0].float()
    for layers, flatten in ((IMAGES, nn.Flatten(2)), (SEQUENCES, nn.Flatten()), (FEATURES, nn.Identity())):
        for make in draw(st.lists(st.sampled_from(layers), max_size=3)):
            if x[0, 0].dim() and min(x.shape[2:]) < 4:  # a convolution and a pooling
                break
            picks.append((make, x.shape[1]))
            x = make(x.shape[1])(x)
        picks.append((lambda n, flatten=flatten: flatten, 0))  # type: ignore[misc]
        x = flatten(x)
    picks.append((lambda n: nn.Linear(n, 3), x.shape[1]))
    return lambda: nn.Sequential(*[make(n) for make, n in picks]), inputs


def step(net: Replicas, inputs: Any, epoch: int) -> Any:
    """Outputs of a training step, whose gradients are left behind."""
    reseed(net, net.seeds, epoch)
    outputs = net.each(inputs)
    weights = torch.arange(outputs[:, 0].numel(), dtype=outputs.dtype).cos().view(outputs[:, :1].shape)
    net.zero_grad()
    (outputs * weights).sum().backward()
    return outputs.detach()


def assert_each_is_its_seed_alone(make: Make, inputs: Tensor, engine: Engine, atol: float = 1e-12) -> None:
    together = replicate(make, SEEDS, engine).double()
    outputs = step(together, inputs, epoch=1)
    assert together.engine == engine
    for k, seed in enumerate(SEEDS):
        alone = replicate(make, [seed], engine).double()
        torch.testing.assert_close(outputs[:, [k]], step(alone, inputs[:, [k]], epoch=1), rtol=0, atol=atol)
        # One scale for the net: before a normalisation a bias has the gradient 0, of numbers that cancel.
        scale = max(1.0, *(p.grad.abs().max().item() for p in alone.parameters() if p.grad is not None))
        for (name, ours), (_, own) in zip(together.named_parameters(), alone.named_parameters(), strict=True):
            assert ours.grad is not None
            assert own.grad is not None
            torch.testing.assert_close(ours.grad.chunk(3)[k], own.grad, rtol=0, atol=scale * atol, msg=name)
        for (name, whole), (_, value) in zip(together.named_buffers(), alone.named_buffers(), strict=True):
            mine = whole.chunk(3)[k] if whole.dim() else whole
            torch.testing.assert_close(mine, value, rtol=0, atol=atol, msg=name)
    with torch.no_grad():
        before = together.eval().each(inputs)
    for k, seed in enumerate(SEEDS):  # an ordinary torch net, made and called without replicas
        torch.manual_seed(derive_seed(seed, "initialisation"))
        ordinary = make().double().eval()
        ordinary.load_state_dict(together.replica_state(k))
        with torch.no_grad():
            torch.testing.assert_close(ordinary(inputs[:, k]), before[:, k], rtol=0, atol=10 * atol)
    together.select([2, 0])
    with torch.no_grad():
        rest = together.each(inputs[:, [2, 0]])
    torch.testing.assert_close(rest, before[:, [2, 0]], rtol=0, atol=atol)
    trained = step(together.train(), inputs[:, [2, 0]], epoch=1)
    torch.testing.assert_close(trained, outputs[:, [2, 0]], rtol=0, atol=atol)  # and drops the same


@settings(max_examples=25, deadline=None)
@given(net=random_nets())
def test_replicas_of_random_nets_are_each_their_seed_alone(net: tuple[Make, Tensor]) -> None:
    # Normalisations one after the other, of few numbers, make a hundred times as much of torch's rounding.
    assert_each_is_its_seed_alone(*net, "wide", atol=1e-10)


@pytest.mark.parametrize(
    ("norm", "shape"),
    [(nn.InstanceNorm1d, (81,)), (nn.InstanceNorm2d, (9, 9)), (nn.InstanceNorm3d, (3, 3, 9))],
)
def test_the_instance_normalisation_of_a_single_image_has_its_gradient_in_any_layout(
    norm: Callable[..., nn.Module], shape: tuple[int, ...]
) -> None:
    def make() -> nn.Module:
        block = nn.BatchNorm1d(2), nn.Dropout(0.3), nn.Flatten(), nn.Linear(162, 3)
        return nn.Sequential(norm(2, affine=True), nn.Flatten(2), *block)

    for seeds in (SEEDS, SEEDS[:1]):
        replicate(make, seeds, "wide").prove(torch.rand(4, 2, *shape))


@settings(max_examples=6, deadline=None)
@given(net=random_nets())
def test_replicas_of_random_nets_by_vmap_are_each_their_seed_alone(net: tuple[Make, Tensor]) -> None:
    assert_each_is_its_seed_alone(*net, "vmap", atol=1e-10)


class Encoder(nn.Module):
    """Attention, embedding and layer normalisation, with real masks."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(7, 8, padding_idx=0)
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.2, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(8, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.out(self.layers(self.table(tokens), src_key_padding_mask=tokens == 0))


class Mixing(nn.Module):
    """Its channels meet in its own forward."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.norm = nn.Conv2d(2, 3, 3), nn.Conv2d(2, 2, 3), nn.BatchNorm2d(5)
        self.drop, self.out = nn.Dropout(0.3), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(torch.cat([self.a(x), self.b(x)], 1)).relu()
        return self.out(self.drop(y.mean((2, 3)))).softmax(1)


class Scaled(nn.Module):
    """A parameter of its own, and a number."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.scale, self.shift = (
            nn.Linear(2, 3),
            nn.Parameter(torch.ones(())),
            nn.Parameter(torch.zeros(3)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x.mean((2, 3))) * self.scale + self.shift


class Pair(nn.Module):
    """Two inputs of a bilinear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.both = nn.Linear(2, 4), nn.Bilinear(4, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.both(self.first(x), x)


IMAGES_OF_EACH = torch.rand(4, len(SEEDS), 2, 9, 9, dtype=torch.float64)


def test_transformers_are_replicated_side_by_side() -> None:
    tokens = torch.randint(1, 7, (4, len(SEEDS), 5), generator=torch.Generator().manual_seed(0))
    tokens[::2, :, 3:] = 0
    assert_each_is_its_seed_alone(Encoder, tokens, "wide")


def test_a_layer_of_two_inputs_is_replicated_side_by_side() -> None:
    assert_each_is_its_seed_alone(Pair, IMAGES_OF_EACH[..., 0, 0], "wide")


@pytest.mark.parametrize(
    ("make", "why"),
    [(Mixing, "outputs of replica 0 differ"), (Scaled, r"tensors of its own \(scale, shift\)")],
)
def test_a_net_that_mixes_channels_is_run_by_vmap_and_a_line_says_why(make: Make, why: str) -> None:
    with pytest.warns(UserWarning, match=why):
        net = replicate(make, SEEDS, example=IMAGES_OF_EACH[:, 0].float())
    assert net.engine == "vmap"
    with pytest.raises(ValueError, match=why):
        replicate(make, SEEDS, "wide", example=IMAGES_OF_EACH[:, 0].float())
    assert_each_is_its_seed_alone(make, IMAGES_OF_EACH, "vmap")


def test_one_replica_side_by_side_is_what_it_is_among_several_by_vmap() -> None:
    """A softmax over channels is right for one replica, and drops the same."""
    together, alone = replicate(Mixing, SEEDS, "vmap").double(), replicate(Mixing, SEEDS[1:2]).double()
    several = step(together, IMAGES_OF_EACH, epoch=3)[:, [1]]
    one = step(alone, IMAGES_OF_EACH[:, [1]], epoch=3)
    assert (together.engine, alone.engine) == ("vmap", "wide")
    torch.testing.assert_close(one, several, rtol=0, atol=1e-12)


def test_the_first_batch_proves_it_within_training_and_the_parameters_stay_the_same_objects() -> None:
    net = replicate(Mixing, SEEDS)
    parameters = [*net.parameters()]
    with pytest.warns(UserWarning, match="differ"):
        net(IMAGES_OF_EACH[:, 0].float())
    assert all(ours is before for ours, before in zip(net.parameters(), parameters, strict=True))


class Drawing(nn.Module):
    """Draws random numbers by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(F.dropout(x.mean((2, 3)), 0.5, self.training))


def test_random_numbers_without_a_stream_of_each_replica_are_refused() -> None:
    net = replicate(Drawing, SEEDS)
    warnings.simplefilter("ignore")
    with pytest.raises(ValueError, match=r"take nn\.Dropout"):
        net(IMAGES_OF_EACH[:, 0].float())


class Noise(nn.Module):
    """Draws a number where torch does not see it."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(x.mean((2, 3))) * random.random()


def test_random_numbers_that_torch_does_not_see_are_refused() -> None:
    with pytest.warns(UserWarning, match="differ"), pytest.raises(ValueError, match="take no random numbers"):
        replicate(Noise, SEEDS, example=IMAGES_OF_EACH[:, 0].float())


class Tokens(nn.Module):
    """An embedding with padding, whose mean is of dimension 1, so that only vmap can run it."""

    def __init__(self, tied: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4, padding_idx=0)
        self.out = nn.Linear(4, 7)
        if tied:
            self.out.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.out(self.embedding(tokens).mean(1))


@pytest.mark.parametrize("tied", [False, True])
def test_by_vmap_the_row_of_padding_has_the_gradient_that_it_has_alone(tied: bool) -> None:
    tokens = torch.randint(0, 7, (4, len(SEEDS), 5), generator=torch.Generator().manual_seed(0))
    assert_each_is_its_seed_alone(lambda: Tokens(tied), tokens, "vmap")


class Bytes(nn.Module):
    """Takes images as bytes, and makes numbers of them that are not in float64."""

    def __init__(self, mixing: bool) -> None:
        super().__init__()
        self.convolution, self.mixing = nn.Conv2d(1, 3, 3), mixing

    def forward(self, x: Tensor) -> Tensor:
        y = self.convolution(x.float() / 255)
        return y.roll(1, 1) if self.mixing else y


@pytest.mark.parametrize(("mixing", "engine"), [(False, "wide"), (True, "vmap")])
def test_a_net_that_cannot_compute_in_float64_is_proven_as_it_is(mixing: bool, engine: str) -> None:
    warnings.simplefilter("ignore")
    images = torch.randint(0, 256, (4, 1, 9, 9), dtype=torch.uint8)
    net = replicate(lambda: Bytes(mixing), SEEDS)
    outputs = net(images)
    assert net.engine == engine
    for number in range(len(SEEDS)):
        torch.testing.assert_close(outputs[:, number], net.replica(number)(images))


class Net(nn.Module):
    """A forward of one's own around one layer."""

    def __init__(self, forward: Callable[[nn.Module, Tensor], Any], **attributes: Any) -> None:
        super().__init__()
        self.call, self.layer = forward, nn.Linear(9, 6)
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, x: Tensor) -> Any:
        return self.call(self.layer, x)


class Counting(nn.Module):
    """Grows with the number of its calls in training, which is a plain attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.calls = nn.Linear(9, 6), 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += self.training
        y: Tensor = self.calls * self.layer(x)
        return y


class Whole(nn.Linear):
    """Has a whole number of its own."""

    def __init__(self, calls: Tensor) -> None:
        super().__init__(9, 6)
        self.register_buffer("calls", calls)


@pytest.mark.parametrize("engine", ["wide", "vmap"])
def test_a_replica_has_the_numbers_that_changed_and_is_frozen_where_it_was(engine: Engine) -> None:
    net = replicate(lambda: nn.Sequential(Counting(), nn.Linear(6, 2)), SEEDS, engine)
    next(iter(net.parameters())).requires_grad_(False)
    x = torch.rand(4, 9)
    for _ in range(3):
        net(x)
    outputs = net.eval()(x)
    for number in range(len(SEEDS)):
        single = net.replica(number)
        torch.testing.assert_close(outputs[:, number], single(x))
        assert [p.requires_grad for p in single.parameters()] == [False, True, True, True]


class Branching(nn.Module):
    """Mixes channels by some inputs only, and then gives two outputs by others."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(9, 9)

    def forward(self, x: Tensor, mix: bool = False, scale: float = 1.0, both: str = "no") -> Any:
        y = scale * self.layer(x)
        y = y.flip(1) if mix or x.dim() == 3 else y
        return (y, y.relu()) if both == "yes" else y


@pytest.mark.parametrize("engine", ["auto", "vmap"])
@pytest.mark.parametrize(
    "own", [{"mix": True}, {"both": "yes", "scale": 2.0}, {"mix": True, "both": "yes"}, {}]
)
def test_inputs_of_another_kind_than_the_first_are_proven_too(own: dict[str, Any], engine: Engine) -> None:
    warnings.simplefilter("ignore")
    net = replicate(Branching, SEEDS, engine)
    net(torch.rand(4, 9))
    x = torch.rand(4, 9) if own else torch.rand(4, 9, 9)
    for _ in range(2):
        outputs = tree_leaves(net(x, **own))
    for number in range(len(SEEDS)):
        alone = tree_leaves(net.replica(number)(x, **own))
        for y, expected in zip(outputs, alone, strict=True):
            torch.testing.assert_close(y[:, number], expected)
    assert net.engine == ("vmap" if own.get("mix") or not own else "wide" if engine == "auto" else engine)


class Padded(nn.Module):
    """A transformer that leaves out its last token."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(6, 2, 8, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1)

    def forward(self, x: Tensor) -> Any:
        mask = torch.zeros(x.shape[:2], dtype=torch.bool)
        mask[:, -1] = True
        return self.encoder(x, src_key_padding_mask=mask)


def test_a_transformer_that_makes_nested_tensors_is_refused_in_one_line() -> None:
    warnings.simplefilter("ignore")
    with pytest.raises(ValueError, match="give it enable_nested_tensor=False") as refusal:
        replicate(Padded, SEEDS, "vmap")(torch.rand(4, 3, 6))
    assert "\n" not in str(refusal.value)


class Wrapped(nn.Module):
    """Its names begin as those of `Replicas` do, and differ by that only."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.ModuleDict({"head": nn.Linear(9, 9)})
        self.head = nn.Linear(9, 9)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.net["head"](x).tanh())
        return y


def test_a_state_that_is_loaded_has_the_names_and_the_values_of_the_ordinary_net() -> None:
    first, second = replicate(Wrapped, SEEDS), replicate(Wrapped, [7, 8, 9])
    assert first.state_dict().keys() == Wrapped().state_dict().keys()
    second.load_state_dict(first.state_dict())
    x = torch.rand(4, 9)
    assert torch.equal(first(x), second(x))


OWN_FORWARDS: dict[str, tuple[Callable[[nn.Module, Tensor], Tensor], str]] = {
    "one sample is treated in another way": (
        lambda layer, x: layer(x) if len(x) > 1 else layer(x).roll(1, 1),
        "vmap",
    ),
    "replicas meet in a later dimension": (
        lambda layer, x: layer(x)[:, :, None] * layer(x)[:, None],
        "vmap",
    ),
    "it divides by 0 for one sample": (lambda layer, x: layer((x - x.mean(0)) / x.std(0)), "wide"),
    "it differentiates": (
        lambda layer, x: torch.autograd.grad(layer(x.requires_grad_()).sin().sum(), x, create_graph=True)[0],
        "wide",
    ),
    "a shared batch is read in two ways and computed twice": (
        lambda layer, x: checkpoint(layer, x, use_reentrant=False) + layer(x * 2),
        "wide",
    ),
}


@pytest.mark.parametrize("name", OWN_FORWARDS)
def test_a_forward_of_ones_own_is_that_of_each_net_in_batches_of_all_sizes(name: str) -> None:
    warnings.simplefilter("ignore")
    forward, engine = OWN_FORWARDS[name]
    net = replicate(lambda: Net(forward), SEEDS)
    for x in (torch.rand(4, 9), torch.rand(1, 9)):
        outputs = net(x)
        outputs.sum().backward()
        for number in range(len(SEEDS)):
            torch.testing.assert_close(outputs[:, number], net.replica(number)(x), equal_nan=True)
    assert net.engine == engine


NOT_REPLICATED: list[tuple[Make, str]] = [
    (lambda: Net(lambda layer, x: Normal(layer(x), 1.0)), "forward must return tensors"),
    (lambda: Net(lambda layer, x: (layer(x), float(layer(x).sum()))), "vmap cannot compute this net"),
    (lambda: Net(lambda layer, x: layer(x), mask=torch.rand(6)), "give mask one value for all seeds"),
    (lambda: Net(lambda layer, x: layer(x), order=torch.randperm(99).tolist()), "give order one value"),
    (lambda: Net(lambda layer, x: layer(x), parts=[nn.Linear(9, 9)]), "give parts one value"),
    (lambda: Net(lambda layer, x: layer(x), act="abcdefgh"[torch.randint(8, ())]), "give act one value"),
    (
        lambda: nn.Sequential([nn.Tanh(), nn.Sigmoid(), nn.Softsign(), nn.Mish()][torch.randint(4, ())]),
        "the same layers for all seeds",
    ),
    (lambda: Whole(torch.randint(99, ())), "give the whole number calls one value for all seeds"),
]


@pytest.mark.parametrize(("make", "why"), NOT_REPLICATED)
def test_what_would_be_the_same_for_all_replicas_is_refused_in_one_line(make: Make, why: str) -> None:
    warnings.simplefilter("ignore")
    with pytest.raises(ValueError, match=why) as refusal:
        replicate(make, SEEDS, example=torch.rand(4, 9))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("example", [torch.tensor(0.5), torch.rand(0, 2)])
def test_a_batch_without_samples_is_refused_in_one_line(example: Tensor) -> None:
    with pytest.raises(ValueError, match=r"\(N, ...\), got a tensor|must have a sample") as refusal:
        replicate(lambda: nn.Linear(2, 2), SEEDS, example=example)
    assert "\n" not in str(refusal.value)


def test_each_net_that_is_run_by_vmap_says_so() -> None:
    with warnings.catch_warnings(action="default", record=True) as shown:
        for _ in range(2):
            replicate(Scaled, SEEDS)
    assert ["Scaled has tensors of its own" in str(warning.message) for warning in shown] == [True, True]


def with_hook_of_a_parameter(register: str) -> nn.Module:
    layer = nn.Linear(2, 2)
    getattr(layer.weight, register)(lambda tensor: None)
    return nn.Sequential(layer)


NOT_NETS: list[tuple[Any, str]] = [
    (lambda: with_hook_of_a_parameter("register_hook"), "must not register hooks of parameters"),
    (lambda: with_hook_of_a_parameter("register_post_accumulate_grad_hook"), "must not register hooks of"),
    (lambda: torch.jit.script(nn.Linear(2, 2)), "not scripted ones"),
    (lambda: nn.Sequential(torch.jit.script(nn.Linear(2, 2))), "not scripted ones"),
    (lambda: nn.utils.weight_norm(nn.Linear(2, 2)), "copy.deepcopy can copy"),
    (lambda: nn.LazyLinear(2), "lazy layers"),
    (nn.Linear(2, 2), "a function without arguments .* got Linear"),
    (nn.Linear, "a function without arguments .* got <class"),
    (lambda n: nn.Linear(n, 2), "a function without arguments"),
    ("net", "a function without arguments .* got 'net'"),
]


@pytest.mark.parametrize(("make", "why"), NOT_NETS)
def test_what_is_no_ordinary_net_is_refused_in_one_line(make: Make, why: str) -> None:
    warnings.simplefilter("ignore")
    with pytest.raises(ValueError, match=why) as refusal:
        replicate(make, SEEDS)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("seeds", [16, np.int64(16)])
def test_a_single_number_is_not_taken_for_a_number_of_seeds(seeds: Any) -> None:
    with pytest.raises(ValueError, match=r"such as range\(16\), got 16"):
        replicate(lambda: nn.Linear(2, 2), seeds)


def test_seeds_may_be_counted_one_by_one() -> None:
    assert replicate(lambda: nn.Linear(2, 2), (seed for seed in SEEDS)).seeds == SEEDS  # type: ignore[arg-type]


UNKNOWN, DRAWN = "torch.func.vmap does not know it", "no replica has a stream"


class OwnDropout(nn.Dropout):
    """A class of one's own, whose forward may be anything."""


class OwnDropout2d(nn.Dropout2d):
    """Likewise."""


REFUSED: list[tuple[Make, str]] = [
    (lambda: nn.LSTM(6, 4), UNKNOWN),
    (lambda: nn.GRU(6, 4), UNKNOWN),
    (lambda: nn.RNN(6, 4), UNKNOWN),
    (lambda: nn.LSTMCell(6, 4), UNKNOWN),
    (nn.RReLU, DRAWN),
    (nn.AlphaDropout, DRAWN),
    (nn.FeatureAlphaDropout, DRAWN),
    (OwnDropout, DRAWN),
    (OwnDropout2d, DRAWN),
    (lambda: nn.FractionalMaxPool2d(2, 4), DRAWN),
    (lambda: nn.TransformerEncoderLayer(6, 2, 8), "only with batch_first=True"),
    (lambda: nn.Embedding(6, 4, sparse=True), "take sparse=False"),
]


@pytest.mark.parametrize(("make", "why"), REFUSED)
@pytest.mark.parametrize("engine", ["auto", "wide", "vmap"])
def test_a_layer_that_no_engine_can_run_is_refused_at_once_in_one_line(
    make: Make, why: str, engine: Engine
) -> None:
    with warnings.catch_warnings(action="error"), pytest.raises(ValueError, match=why) as refusal:
        replicate(lambda: nn.Sequential(make()), SEEDS, engine)
    assert "\n" not in str(refusal.value)
    assert "take engine vmap" not in str(refusal.value)


class Shift(nn.Module):
    """A layer of one's own."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features
        self.by = nn.Parameter(torch.rand(features))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.by.view(-1, 1, 1)


class WideShift(Shift):
    """The same for several replicas."""


def test_a_layer_of_ones_own_can_be_registered() -> None:
    def make() -> nn.Module:
        return nn.Sequential(Shift(2), nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(147, 3))

    with pytest.raises(ValueError, match=r"Shift has tensors of its own \(by\)"):
        replicate(make, SEEDS, "wide")

    def select(layer: WideShift, kept: Sequence[int], replicas: int) -> None:
        layer.features = layer.features // replicas * len(kept)

    register(Shift, widen=lambda layer, replicas: WideShift(replicas * layer.features), select=select)
    assert_each_is_its_seed_alone(make, IMAGES_OF_EACH, "wide")


@pytest.mark.parametrize("place", ["0", "1", "3"])  # of a registered layer, and of one that is kept as it is
def test_the_hooks_of_a_layer_are_called_with_the_replicas_side_by_side(place: str) -> None:
    seen = dict[str, set[int]](outputs=set(), gradients=set())

    def change(layer: nn.Module, args: Any, output: Tensor) -> Tensor:
        seen["outputs"].add(output.shape[1])
        return 2 * output

    def steepen(layer: nn.Module, gradients: Any) -> tuple[Tensor]:
        seen["gradients"].add(gradients[0].shape[1])
        return (3 * gradients[0],)

    def add(layer: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return (args[0] + 1,), kwargs

    def make() -> nn.Module:
        net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Sigmoid(), nn.Flatten(), nn.Linear(196, 4))
        layer = net.get_submodule(place)
        layer.register_forward_hook(change)
        layer.register_forward_pre_hook(add, with_kwargs=True)
        layer.register_full_backward_pre_hook(steepen)
        return net

    assert_each_is_its_seed_alone(make, IMAGES_OF_EACH, "wide")
    assert seen == {"outputs": {4, 8, 12}, "gradients": {4, 8, 12}}  # of 1, 2 and 3 replicas


@pytest.mark.parametrize("place", ["", "0", "1"])
def test_a_hook_of_the_replicas_is_none_of_the_ordinary_net(place: str) -> None:
    net = replicate(lambda: nn.Sequential(nn.Linear(2, 2), nn.Tanh()), SEEDS)
    net.net.get_submodule(place).register_forward_hook(lambda *_: None)
    assert not net.replica(0).get_submodule(place)._forward_hooks


def test_two_layers_that_share_a_weight_still_do() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(2, 2), nn.Linear(2, 2)
            self.b.weight = self.a.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x.mean((2, 3))).tanh())

    assert_each_is_its_seed_alone(Tied, IMAGES_OF_EACH, "vmap")
