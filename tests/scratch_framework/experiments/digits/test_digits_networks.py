"""The three networks from scratch are those of `lightning_modules` and of plain torch.nn, on real digits."""

from typing import Any

import pytest
import torch
from scratch_twins import assert_same, draw
from torch import Tensor, nn

import scratch_framework as sf
from benchmarks.speed.plain_loop import NETS
from datamodules import DigitPairs
from lightning_modules.models.recipes import PAPER
from lightning_modules.models.registry import MODULES
from lightning_modules.networks.pairs import PairReplicas, make_replicas
from lightning_modules.replicas.dropout import Dropout
from lightning_modules.replicas.state import export_replica, join_replicas
from scratch_framework.experiments.digits.learner import Batch, DigitLearner, make_learner
from scratch_framework.experiments.digits.networks import NETWORKS, initial_state

F64 = torch.float64
SEEDS = [3, 1, 4]
# Not the siamese nets' 0.1, at which torch does not follow itself (a test below).
SETTINGS = {net: {**settings.of_module(), "lr": 0.05} for net, settings in PAPER.settings.items()}
ALL = pytest.mark.parametrize("net", NETWORKS)


def batches(seeds: list[int], epochs: int = 1) -> list[Batch]:
    """Real pairs in float64, 20 batches an epoch."""
    data = DigitPairs(seed=seeds, val_pairs=0)
    data.setup()
    loader = data.train_dataloader()
    served = []
    for epoch in range(epochs):
        loader.set_epoch(epoch)
        served += [(images.double(), target, classes) for images, target, classes in loader]
    return served


def pairs(batch: Batch, replicas: int) -> Tensor:
    """Images as the framework takes them, (R, N, 2, 14, 14)."""
    return batch[0].unflatten(1, (replicas, 2)).movedim(1, 0)


def lightning_network(net: str) -> PairReplicas:
    return make_replicas(SEEDS, "early" if net == "cnn" else "shared")


def from_lightning(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """From R blocks in a row to (R, ...)."""
    return sf.stack_states([export_replica(state, k, len(SEEDS)) for k in range(len(SEEDS))])


def to_lightning(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return join_replicas([sf.replica_state(state, k) for k in range(len(SEEDS))])


def without_dropout(network: sf.Module | nn.Module) -> None:
    for layer in network.modules():
        if isinstance(layer, sf.Dropout | nn.Dropout | Dropout):
            layer.p = 0.0


def learner(net: str, seeds: list[int], dropout: bool = False) -> DigitLearner:
    one = make_learner(net, seeds, SETTINGS[net], F64)
    if not dropout:
        without_dropout(one.model)
    return one


class Plain:
    """One replica in torch.nn with autograd and torch.optim, from given weights."""

    def __init__(self, net: str, state: dict[str, Tensor]) -> None:
        self.settings, self.told = SETTINGS[net], net == "auxiliary"
        self.net = NETS[net]().double()
        self.net.load_state_dict(state)
        without_dropout(self.net)
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=self.settings["lr"])

    def loss(self, images: Tensor, target: Tensor, classes: Tensor) -> Tensor:
        pair, digits = self.net(images)
        loss = nn.functional.cross_entropy(pair, target)
        if not self.told:
            return loss
        first, second = (nn.functional.cross_entropy(digits[:, k], classes[:, k]) for k in range(2))
        return self.settings["alpha"] * (first + second) + self.settings["gamma"] * loss

    def step(self, images: Tensor, target: Tensor, classes: Tensor, lr: float = 0.05) -> Tensor:
        self.optimizer.param_groups[0]["lr"] = lr
        self.optimizer.zero_grad()
        loss = self.loss(images, target, classes)
        loss.backward()
        self.optimizer.step()
        return loss.detach()


@ALL
def test_weights_start_as_those_of_lightning_modules_bit_for_bit(net: str) -> None:
    network = lightning_network(net)
    state = initial_state(net, SEEDS)
    theirs = from_lightning(network.state_dict())
    assert list(state) == list(theirs)
    assert all(torch.equal(state[name], value) for name, value in theirs.items())


@ALL
def test_weights_and_statistics_move_both_ways(net: str) -> None:
    ours = learner(net, SEEDS)
    for batch in batches(SEEDS)[:3]:
        ours.step(batch)
    theirs = lightning_network(net).double()
    theirs.load_state_dict(to_lightning(ours.state_dict()))
    back = NETWORKS[net](replicas=len(SEEDS), dtype=F64)
    back.load_state_dict(from_lightning(theirs.state_dict()))
    for name, value in ours.state_dict().items():
        assert torch.equal(back.state_dict()[name], value), name


@ALL
@pytest.mark.parametrize("train", [True, False])
def test_outputs_are_those_of_lightning_modules(net: str, train: bool) -> None:
    ours = learner(net, SEEDS)
    *before, last = batches(SEEDS)[:3]
    for batch in before:
        ours.step(batch)  # weights and statistics of real digits
    theirs = lightning_network(net).double().train(train)
    theirs.load_state_dict(to_lightning(ours.state_dict()))
    without_dropout(theirs)
    expected = theirs(last[0])
    answer = ours.model.train(train)(pairs(last, len(SEEDS)))
    assert_same(answer, expected.pair.movedim(1, 0))
    if isinstance(ours.model, sf.SharedTrunk):
        assert_same(ours.model.features, expected.digits.movedim(1, 0))


@ALL
@pytest.mark.parametrize("train", [True, False])
def test_gradients_of_the_loss_are_what_autograd_finds_in_plain_torch(net: str, train: bool) -> None:
    ours = learner(net, SEEDS)
    *before, (images, target, classes) = batches(SEEDS)[:3]
    for batch in before:
        ours.step(batch)
    twins = [Plain(net, sf.replica_state(ours.state_dict(), k)) for k in range(len(SEEDS))]
    ours.model.train(train).zero_grad()
    ours.loss_and_errors((images, target, classes))
    ours.backward()
    for k, twin in enumerate(twins):
        twin.net.train(train)
        twin.loss(images[:, 2 * k : 2 * k + 2], target[:, k], classes[:, k]).backward()
        for (name, theirs), mine in zip(twin.net.named_parameters(), ours.model.parameters(), strict=True):
            assert theirs.grad is not None
            torch.testing.assert_close(mine.grad[k], theirs.grad, rtol=1e-12, atol=1e-12, msg=name)


@pytest.mark.parametrize(
    "net",
    [
        "cnn",
        pytest.param("weight_sharing", marks=pytest.mark.slow),
        pytest.param("auxiliary", marks=pytest.mark.slow),
    ],
)
def test_a_hundred_steps_follow_torch(net: str) -> None:
    seeds = SEEDS[:2]
    ours = learner(net, seeds)
    twins = [Plain(net, sf.replica_state(ours.state_dict(), k)) for k in range(len(seeds))]
    served = batches(seeds, epochs=5)
    assert len(served) == 100
    for images, target, classes in served:
        sums = ours.step((images, target, classes))
        for k, twin in enumerate(twins):
            loss = twin.step(images[:, 2 * k : 2 * k + 2], target[:, k], classes[:, k])
            assert_same(sums["loss"][k] / len(target), loss, 1e-9)
    for k, twin in enumerate(twins):
        trained = sf.replica_state(ours.state_dict(), k)
        for name, value in twin.net.state_dict().items():
            assert_same(trained[name], value, 1e-9)


def test_at_the_papers_rate_torch_does_not_follow_itself_from_weights_changed_in_the_last_bit() -> None:
    state = sf.replica_state(initial_state("weight_sharing", SEEDS[:1]), 0)
    state = {name: value.double() if value.is_floating_point() else value for name, value in state.items()}
    changed = {
        name: value * (1 + 2**-52) if value.is_floating_point() else value for name, value in state.items()
    }
    twins = [Plain("weight_sharing", weights) for weights in (state, changed)]
    apart = []
    for images, target, classes in batches(SEEDS[:1], epochs=5):
        first, second = (twin.step(images, target[:, 0], classes[:, 0], lr=0.1) for twin in twins)
        apart.append(abs(float(first - second)))
    assert apart[0] < 1e-12
    assert max(apart) > 1e-3


@ALL
def test_a_replica_trains_as_it_trains_alone_dropout_included(net: str) -> None:
    together, alone = learner(net, SEEDS, dropout=True), learner(net, SEEDS[1:2], dropout=True)
    for images, target, classes in batches(SEEDS)[:5]:
        together.step((images, target, classes))
        alone.step((images[:, 2:4], target[:, 1:2], classes[:, 1:2]))
    trained, single = sf.replica_state(together.state_dict(), 1), sf.replica_state(alone.state_dict(), 0)
    for name, value in single.items():
        assert_same(trained[name], value)


@ALL
def test_the_figures_of_a_batch_are_those_of_the_lightning_module(net: str) -> None:
    module = MODULES[net](seed=SEEDS, **SETTINGS[net]).double()
    without_dropout(module.network)
    (batch,) = batches(SEEDS)[:1]
    module.training_step(batch, 0)
    sums = learner(net, SEEDS).loss_and_errors(batch)
    expected = module.epoch_metrics("train")
    assert {f"train/{name}" for name in sums} == set(expected)
    for name, total in sums.items():
        torch.testing.assert_close((total / 50).float(), expected[f"train/{name}"])


def test_a_single_net_takes_the_weights_of_a_torch_net_as_they_are() -> None:
    for net, plain in NETS.items():
        theirs: Any = plain().double().eval()
        ours = NETWORKS[net](dtype=F64).eval()
        ours.load_state_dict(theirs.state_dict())
        x = draw(4, 2, 14, 14)
        assert_same(ours(x), theirs(x)[0])
        theirs.load_state_dict(ours.state_dict())
