"""What `replicate` cannot do right is refused, in one line that says what to do instead."""

import random
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from each_alone import IMAGES_OF_EACH, SEEDS, Make, Net
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn import functional as F

from lightning_modules.replicas.convert import Engine, replicate


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


class Whole(nn.Linear):
    """Has a whole number of its own."""

    def __init__(self, calls: Tensor) -> None:
        super().__init__(9, 6)
        self.register_buffer("calls", calls)


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


def test_by_vmap_an_output_that_is_no_tensor_is_refused_in_one_line() -> None:
    warnings.simplefilter("ignore")
    with pytest.raises(ValueError, match="forward must return only tensors") as refusal:
        replicate(lambda: Net(lambda layer, x: (layer(x), None)), SEEDS, "vmap")(torch.rand(4, 9))
    assert "\n" not in str(refusal.value)


def test_a_transformer_that_makes_nested_tensors_is_refused_in_one_line() -> None:
    warnings.simplefilter("ignore")
    with pytest.raises(ValueError, match="give it enable_nested_tensor=False") as refusal:
        replicate(Padded, SEEDS, "vmap")(torch.rand(4, 3, 6))
    assert "\n" not in str(refusal.value)


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


def test_by_vmap_an_error_of_the_net_itself_is_told_as_it_is() -> None:
    def forward(layer: nn.Module, x: Tensor) -> Any:
        if fits:
            return layer(x)
        raise ValueError("a random crop of 9 pixels does not fit")

    fits = True  # in the first call, which proves the net
    net = replicate(lambda: Net(forward), SEEDS, "vmap")
    net(torch.rand(4, 9))
    fits = False
    with pytest.raises(ValueError, match=r"^a random crop of 9 pixels does not fit"):
        net(torch.rand(4, 9))
