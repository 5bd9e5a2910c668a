"""Heads compare digits as they say, and every trunk, head and way of entering is R nets in one."""

from itertools import product
from typing import Any, get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from datamodules import DigitPairs
from lightning_modules.command.options import Branches, Pool, Trunk
from lightning_modules.networks.heads import HEADS, Exact, compare
from lightning_modules.networks.pairs import make_network, make_replicas
from lightning_modules.replicas.seeding import reseed
from lightning_modules.replicas.state import export_replica

SEEDS = [3, 1, 4]


@given(st.integers(0, 10**6), st.integers(2, 10))
def test_the_exact_comparison_is_the_sum_over_all_pairs_of_digits(seed: int, classes: int) -> None:
    logits = torch.randn(2, 3, 2, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    p = logits.softmax(-1)
    expected = sum(p[..., 0, i] * p[..., 1, j] for i in range(classes) for j in range(i, classes))
    assert isinstance(expected, Tensor)
    torch.testing.assert_close(compare(p).exp(), torch.stack([1 - expected, expected], -1), atol=2e-6, rtol=0)


def test_sure_digits_are_compared_as_numbers_and_their_loss_is_finite() -> None:
    digits = torch.tensor(list(product(range(10), range(10))))
    pair = compare(torch.nn.functional.one_hot(digits, 10).float().unsqueeze(1))
    assert torch.equal(pair.argmax(-1)[:, 0].bool(), digits[:, 0] <= digits[:, 1])
    assert torch.isfinite(pair).all()


@given(st.integers(0, 10**6))
def test_half_the_temperature_squares_the_odds_and_leaves_the_likeliest_digit(seed: int) -> None:
    logits = torch.randn(5, 3, 2, 10, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    flat, sharp = Exact().posteriors(logits), Exact(temperature=0.5).posteriors(logits)
    torch.testing.assert_close(sharp, flat.square() / flat.square().sum(-1, keepdim=True))
    assert torch.equal(sharp.argmax(-1), flat.argmax(-1))


@pytest.mark.parametrize(("temperature", "expected"), [(None, 1.0), (0.5, 0.5)])
def test_a_networks_exact_head_has_the_temperature_asked_for(
    temperature: float | None, expected: float
) -> None:
    own: dict[str, Any] = {} if temperature is None else {"temperature": temperature}
    network = make_replicas(SEEDS, "shared", True, trunk="deep", width=4, head="exact", **own).double()
    outputs = network(images())
    torch.testing.assert_close(outputs.pair, compare((outputs.digits / expected).softmax(-1)))


def test_heads_have_the_sign_of_the_order() -> None:
    """Equal digits are "at most"."""
    argmax = HEADS["argmax"]()
    digits = torch.nn.functional.one_hot(torch.tensor([[3, 3], [4, 3], [3, 4]]), 10).float()
    assert argmax(digits).argmax(-1).flatten().tolist() == [1, 0, 1]


def images() -> Tensor:
    data = DigitPairs(seed=SEEDS, train_pairs=20, batch_size=20)
    data.setup()
    return next(iter(data.train_dataloader()))[0].double()


SMALL: dict[str, Any] = {"trunk": "modern", "width": 4}
NETWORKS: list[tuple[Any, Any]] = [
    *[("shared", {"trunk": trunk, "head": "exact"}) for trunk in get_args(Trunk)],
    *[("shared", {**SMALL, "head": head}) for head in HEADS if head != "argmax"],
    *[("separate", {**SMALL, "pool": pool, "head": "mlp"}) for pool in get_args(Pool)],
    ("separate", {**SMALL, "head": "exact", "swap_trunks": True}),
    ("separate", {}),
    ("early", SMALL),
    ("early", {"trunk": "clean"}),
]


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize(("branches", "options"), NETWORKS, ids=str)
def test_a_replica_of_any_network_gives_what_it_gives_alone(
    branches: Any, options: dict[str, Any], train: bool
) -> None:
    together, alone = (make_replicas(seeds, branches, **options).double() for seeds in (SEEDS, [0]))
    pairs = images()
    together(pairs)  # statistics
    for r, seed in enumerate(SEEDS):
        alone.load_state_dict(export_replica(together.state_dict(), r, len(SEEDS)))
        for network, seeds in ((together, SEEDS), (alone, [seed])):
            network.train(train)
            reseed(network, seeds, epoch=r)
        before = {name: value.clone() for name, value in together.state_dict().items()}
        ours, own = together(pairs), alone(pairs[:, 2 * r : 2 * r + 2])
        together.load_state_dict(before)
        torch.testing.assert_close(ours.pair[:, r], own.pair[:, 0], rtol=0, atol=1e-11)
        if own.digits is not None:
            torch.testing.assert_close(ours.digits[:, r], own.digits[:, 0], rtol=0, atol=1e-11)


def test_shared_trunks_read_a_digit_alike_on_either_side_and_separate_ones_do_not() -> None:
    pairs = images()
    sides: list[tuple[Branches, bool]] = [("shared", True), ("separate", False)]
    for branches, same in sides:
        network = make_replicas(SEEDS, branches, trunk="modern", head="exact").double()
        network.eval()
        mirrored = pairs.view(20, 3, 2, 14, 14).flip(2).flatten(1, 2)
        assert torch.allclose(network(pairs).digits, network(mirrored).digits.flip(2)) == same


@pytest.mark.parametrize(
    ("labelled", "options", "message"),
    [
        (True, {"head": "mlp"}, "head must take ten outputs a digit"),
        (False, {"head": "argmax"}, "head argmax has no gradient"),
    ],
)
def test_parts_that_do_not_go_together_are_named(labelled: bool, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_network("shared", labelled, **options)


def test_swapped_trunks_read_either_digit_in_training_and_their_own_in_evaluation() -> None:
    pairs = images()
    plain, swapping = (
        make_replicas(SEEDS, "separate", trunk="modern", width=4, head="exact", swap_trunks=swap).double()
        for swap in (False, True)
    )
    swapping.load_state_dict(plain.state_dict())
    for network in (plain, swapping):
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.eval()  # else a pair's features depend on which others were swapped
    reseed(swapping, SEEDS, epoch=0)
    kept, mixed = plain(pairs).digits, swapping(pairs).digits
    swapped = plain(pairs.view(20, 3, 2, 14, 14).flip(2).flatten(1, 2)).digits.flip(2)
    stays, swaps = (torch.isclose(mixed, x).all(-1).all(-1) for x in (kept, swapped))  # (20, 3)
    assert torch.equal(stays, ~swaps)
    assert stays.any(0).all()
    assert swaps.any(0).all()
    torch.testing.assert_close(swapping.eval()(pairs).digits, plain.eval()(pairs).digits)
