"""The compiled step is the plain step, to 1e-12 in float64, and the plain net goes on from it."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scratch_twins import assert_same, draw, paper_net
from torch import Tensor

import scratch_framework as sf
from scratch_framework.fast.compiled import compile_step
from scratch_framework.fast.fused_layers import InPlaceSigmoid, InPlaceTanh

R, F64 = 3, torch.float64
LR = torch.tensor([1e-3, 5e-3, 1e-2], dtype=F64)
DECAY = torch.tensor([0.0, 1e-6, 0.1], dtype=F64)

Net = Callable[[int | None], sf.Sequential]
Kind = Callable[..., sf.Optimizer]


def linear(inputs: int, outputs: int, replicas: int | None, bias: bool = True, seed: int = 0) -> sf.Linear:
    generator = torch.Generator().manual_seed(seed)
    return sf.Linear(inputs, outputs, bias, replicas=replicas, dtype=F64, generator=generator)


def deep_net(replicas: int | None) -> sf.Sequential:
    """Every activation, none, a missing bias, and a chain in a chain."""
    return sf.Sequential(
        linear(2, 7, replicas),
        sf.Tanh(),
        sf.Sequential(linear(7, 6, replicas, bias=False), sf.LeakyReLU(0.1)),
        linear(6, 5, replicas),
        sf.ReLU(),
        linear(5, 5, replicas),
        linear(5, 4, replicas),
        sf.Sigmoid(),
        linear(4, 2, replicas),
    )


def shallow_net(replicas: int | None) -> sf.Sequential:
    return sf.Sequential(linear(2, 2, replicas, bias=False), sf.Tanh())


NETS: list[Net] = [paper_net, deep_net, shallow_net]
LOSSES: list[Callable[..., sf.Criterion]] = [
    sf.MSELoss,
    sf.BCEWithLogitsLoss,
    partial(sf.MSELoss, reduction="sum"),
    partial(sf.BCEWithLogitsLoss, reduction="sum"),
    sf.CrossEntropyLoss,
    partial(sf.CrossEntropyLoss, label_smoothing=0.1),
    partial(sf.BCEWithLogitsLoss, pos_weight=torch.tensor([3.0], dtype=F64)),
]
OPTIMIZERS: list[tuple[Kind, dict[str, Any]]] = [
    (sf.SGD, {}),
    (sf.SGD, {"weight_decay": 0.1}),
    (sf.SGD, {"momentum": 0.9}),
    (sf.SGD, {"momentum": 0.9, "dampening": 0.5, "weight_decay": 1e-3}),
    (sf.SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 1e-3}),
    (sf.Adam, {}),
    (sf.Adam, {"weight_decay": 0.1, "betas": (0.5, 0.9), "eps": 1e-4}),
    (sf.AdamW, {}),
    (sf.AdamW, {"weight_decay": 0.0}),
    (sf.AdamW, {"amsgrad": True, "maximize": True}),
    (sf.RMSprop, {"centered": True, "momentum": 0.9, "weight_decay": 0.1}),
    (sf.Adagrad, {"lr_decay": 0.1, "initial_accumulator_value": 0.1}),
]
NUMBERED = list(enumerate(OPTIMIZERS))
# All pairs of losses and optimisers, and with each the nets and the replicas in turn: any two choices meet.
PAIRWISE = [
    (NETS[(row + column) % 3], loss, kind, options, (None, R)[(row + column + column // 3) % 2])
    for row, loss in enumerate(LOSSES)
    for column, (kind, options) in NUMBERED
]
ALTERNATING = [(kind, options, (None, R)[number % 2]) for number, (kind, options) in NUMBERED]


def target_for(criterion: sf.Criterion, prediction: Tensor, seed: int = 0) -> Tensor:
    numbers = draw(*prediction.shape, seed=seed + 1000)
    if isinstance(criterion, sf.CrossEntropyLoss):
        return numbers.argmax(-1)
    return numbers.sign().clamp(min=0)


def batches(model: sf.Module, criterion: sf.Criterion, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of 10, every third of 7."""
    lead = () if criterion.replicas is None else (criterion.replicas,)
    for seed in range(steps):
        x = draw(*lead, 10 if seed % 3 < 2 else 7, 2, seed=seed)
        yield x, target_for(criterion, model(x), seed)


def plain_step(
    model: sf.Module, criterion: sf.Criterion, optimizer: sf.Optimizer
) -> Callable[[Tensor, Tensor], Tensor]:
    def step(x: Tensor, y: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        model.backward(criterion.backward())
        optimizer.step()
        return loss

    return step


def assert_same_nets(first: sf.Module, second: sf.Module) -> None:
    for name, value in first.state_dict().items():
        assert_same(second.state_dict()[name], value)


class Twins:
    """Two equal trainings, one to compile."""

    def __init__(
        self, net: Net, loss: Callable[..., sf.Criterion], kind: Kind, replicas: int | None, **options: Any
    ) -> None:
        self.plain, self.fast = net(replicas), net(replicas)
        self.fast.load_state_dict(self.plain.state_dict())
        self.criterion = loss(replicas=replicas)
        self.plain_optimizer = kind(self.plain.parameters(), **options)
        self.fast_optimizer = kind(self.fast.parameters(), **options)
        self.plain_step = plain_step(self.plain, self.criterion, self.plain_optimizer)

    def compile(self) -> Callable[[Tensor, Tensor], Tensor]:
        return compile_step(self.fast, self.criterion, self.fast_optimizer)

    def compare(
        self, step: Callable[[Tensor, Tensor], Tensor], steps: int, *schedules: sf.LRScheduler
    ) -> None:
        for x, y in batches(self.plain, self.criterion, steps):
            loss = self.plain_step(x, y)
            fast_loss = step(x, y)
            assert fast_loss.shape == loss.shape
            assert_same(fast_loss, loss)
            for schedule in schedules:
                schedule.step()
        assert_same_nets(self.plain, self.fast)


def test_any_two_choices_meet() -> None:
    met = {(choice[0], choice[4]) for choice in PAIRWISE}
    assert met == set(product(NETS, (None, R)))
    for place, choices in ((0, NETS), (4, (None, R))):
        assert {(case[1], case[place]) for case in PAIRWISE} == set(product(LOSSES, choices))
        optimizers = [str(options) for options in OPTIMIZERS]
        assert {(str(case[2:4]), case[place]) for case in PAIRWISE} == set(product(optimizers, choices))


@pytest.mark.parametrize(("net", "loss", "kind", "options", "replicas"), PAIRWISE)
def test_a_step_and_ten_more_are_the_plain_ones(
    net: Net, loss: Callable[..., sf.Criterion], kind: Kind, options: dict[str, Any], replicas: int | None
) -> None:
    twins = Twins(net, loss, kind, replicas, **options)
    step = twins.compile()
    twins.compare(step, 1)
    twins.compare(step, 10)


@pytest.mark.parametrize(("kind", "options", "replicas"), ALTERNATING)
def test_a_hundred_steps_of_the_papers_net_are_the_plain_ones(
    kind: Kind, options: dict[str, Any], replicas: int | None
) -> None:
    twins = Twins(paper_net, sf.MSELoss, kind, replicas, **options)
    twins.compare(twins.compile(), 100)


@settings(max_examples=60)
@given(
    widths=st.lists(st.integers(1, 9), min_size=2, max_size=5),
    activations=st.lists(
        st.sampled_from([sf.ReLU, sf.LeakyReLU, sf.Sigmoid, sf.Tanh, None]), min_size=4, max_size=4
    ),
    biases=st.lists(st.booleans(), min_size=4, max_size=4),
    replicas=st.none() | st.integers(1, 4),
    points=st.integers(1, 9),
    loss=st.sampled_from(LOSSES[:4]),
    kind=st.sampled_from([sf.SGD, sf.Adam]),
)
def test_any_chain_compiles_to_the_plain_one(
    widths: list[int],
    activations: list[type[sf.Module] | None],
    biases: list[bool],
    replicas: int | None,
    points: int,
    loss: Callable[..., sf.Criterion],
    kind: Kind,
) -> None:
    def net(replicas: int | None) -> sf.Sequential:
        chain: list[sf.Module] = []
        for inputs, outputs, activation, bias in zip(widths, widths[1:], activations, biases, strict=False):
            chain.append(linear(inputs, outputs, replicas, bias, seed=len(chain)))
            chain += [activation()] if activation else []
        return sf.Sequential(*chain)

    twins = Twins(net, loss, kind, replicas)
    step = twins.compile()
    x = draw(*([replicas] if replicas else []), points, widths[0])
    y = target_for(twins.criterion, twins.plain(x))
    for _ in range(3):
        assert_same(step(x, y), twins.plain_step(x, y))
    assert_same_nets(twins.plain, twins.fast)


@pytest.mark.parametrize("kind", [sf.SGD, sf.Adam, sf.AdamW])
def test_every_replica_has_its_own_rates_under_a_schedule(kind: Kind) -> None:
    twins = Twins(paper_net, sf.MSELoss, kind, R, lr=LR, weight_decay=DECAY)
    schedules = [sf.CosineAnnealingLR(one, 50) for one in (twins.plain_optimizer, twins.fast_optimizer)]
    twins.compare(twins.compile(), 50, *schedules)


@pytest.mark.parametrize("kind", [sf.SGD, sf.Adam])
def test_one_cycle_sets_rate_and_momentum(kind: Kind) -> None:
    twins = Twins(paper_net, sf.MSELoss, kind, None)
    schedules = [
        sf.OneCycleLR(one, 0.01, total_steps=50) for one in (twins.plain_optimizer, twins.fast_optimizer)
    ]
    twins.compare(twins.compile(), 50, *schedules)


def test_rates_that_are_changed_in_place_are_seen() -> None:
    rates = LR.clone()
    twins = Twins(paper_net, sf.MSELoss, sf.SGD, R, lr=rates)
    step = twins.compile()
    twins.compare(step, 2)
    rates.mul_(0.5)
    twins.compare(step, 2)


@pytest.mark.parametrize(("kind", "options", "replicas"), ALTERNATING)
def test_plain_and_compiled_steps_go_on_where_the_other_stopped(
    kind: Kind, options: dict[str, Any], replicas: int | None
) -> None:
    twins = Twins(deep_net, sf.MSELoss, kind, replicas, **options)
    plain = plain_step(twins.fast, twins.criterion, twins.fast_optimizer)
    twins.compare(plain, 3)
    step = twins.compile()
    for one in (step, plain, step, plain):
        twins.compare(one, 3)


def test_a_momentum_that_the_plain_step_began_is_taken_over() -> None:
    twins = Twins(paper_net, sf.MSELoss, sf.SGD, None, momentum=0.9)
    step = twins.compile()
    twins.compare(plain_step(twins.fast, twins.criterion, twins.fast_optimizer), 2)
    twins.compare(step, 2)


@pytest.mark.parametrize("replicas", [None, R])
def test_the_plain_net_and_its_state_dict_follow(replicas: int | None) -> None:
    twins = Twins(deep_net, sf.MSELoss, sf.SGD, replicas, lr=0.1)
    state = twins.fast.state_dict()
    before = {name: value.clone() for name, value in state.items()}
    step = twins.compile()
    assert_same_nets(twins.plain, twins.fast)  # to compile changes nothing
    twins.compare(step, 5)
    for name, value in twins.fast.state_dict().items():
        assert value.shape == before[name].shape
        assert not torch.equal(value, before[name])
    x = draw(*([R] if replicas else []), 4, 2)
    assert_same(twins.fast(x), twins.plain(x))
    for net in (twins.plain, twins.fast):
        net.load_state_dict(before)
    twins.compare(step, 5)


def test_gradients_stay_with_the_parameters() -> None:
    twins = Twins(deep_net, sf.MSELoss, sf.SGD, None, lr=0.1)
    twins.compare(twins.compile(), 3)
    for (_, fast_grad), (_, grad) in zip(twins.fast.param(), twins.plain.param(), strict=True):
        assert_same(fast_grad, grad)


@pytest.mark.parametrize("loss", LOSSES[:4])
def test_replicas_may_share_points_and_targets(loss: Callable[..., sf.Criterion]) -> None:
    twins = Twins(paper_net, loss, sf.SGD, R, lr=LR)
    step, x = twins.compile(), draw(10, 2)
    for y in (draw(10, 1), draw(R, 10, 1), draw(10, 1)):
        assert_same(step(x, y), twins.plain_step(x, y))
    assert_same_nets(twins.plain, twins.fast)


def test_each_call_returns_a_loss_of_its_own() -> None:
    twins = Twins(paper_net, sf.MSELoss, sf.SGD, R, lr=0.1)
    step = twins.compile()
    losses = [step(x, y) for x, y in batches(twins.plain, twins.criterion, 3)]
    assert len({float(loss[0]) for loss in losses}) == 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_saturated_unit_is_exactly_1_and_flat(dtype: torch.dtype) -> None:
    for activation in (InPlaceSigmoid(), InPlaceTanh(torch.ones((), dtype=dtype))):
        y = torch.full((1, 40, 7), activation.gain * activation.constant, dtype=dtype)
        activation.forward(y)
        assert torch.equal(y, torch.ones_like(y))
        grad = torch.ones_like(y)
        activation.backward(y, grad)
        assert not grad.any()


def test_it_runs_in_inference_mode() -> None:
    with torch.inference_mode():
        twins = Twins(paper_net, sf.MSELoss, sf.SGD, None, lr=0.1)
        twins.compare(twins.compile(), 5)
