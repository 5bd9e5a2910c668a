"""Replica k of any net is what seed k makes of that net alone: weights, dropout, gradients, statistics."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from each_alone import IMAGES_OF_EACH, SEEDS, Make, Net, assert_each_is_its_seed_alone, step
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint

from lightning_modules.replicas.convert import Engine, replicate


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


class Counting(nn.Module):
    """Grows with the number of its calls in training, which is a plain attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.calls = nn.Linear(9, 6), 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += self.training
        y: Tensor = self.calls * self.layer(x)
        return y


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


def test_each_net_that_is_run_by_vmap_says_so() -> None:
    with warnings.catch_warnings(action="default", record=True) as shown:
        for _ in range(2):
            replicate(Scaled, SEEDS)
    assert ["Scaled has tensors of its own" in str(warning.message) for warning in shown] == [True, True]


def test_seeds_may_be_counted_one_by_one() -> None:
    assert replicate(lambda: nn.Linear(2, 2), (seed for seed in SEEDS)).seeds == SEEDS  # type: ignore[arg-type]


def test_two_layers_that_share_a_weight_still_do() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(2, 2), nn.Linear(2, 2)
            self.b.weight = self.a.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x.mean((2, 3))).tanh())

    assert_each_is_its_seed_alone(Tied, IMAGES_OF_EACH, "vmap")
