"""The three networks are the paper's, and R replicas are R networks."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger
from torch import nn

from benchmarks.speed.plain_loop import PlainNet, SiameseNet
from datamodules import DigitPairs
from lightning_modules import PlainCNN
from lightning_modules.networks.pairs import PairReplicas, make_replicas
from lightning_modules.replicas.dropout import Dropout
from lightning_modules.replicas.seeding import reseed
from lightning_modules.replicas.state import export_replica, join_replicas

SEEDS = [3, 1, 4]


def paper_cnn(seeds: Sequence[int]) -> PairReplicas:
    return make_replicas(seeds, "early")


def paper_siamese(seeds: Sequence[int]) -> PairReplicas:
    return make_replicas(seeds, "shared")


Make = Callable[[Sequence[int]], PairReplicas]


NETWORKS = [(paper_cnn, PlainNet), (paper_siamese, SiameseNet)]


def trained(network_type: Make) -> nn.Module:
    """Replicas with statistics of real digits, as batch normalisation keeps them."""
    network = network_type(SEEDS).double()
    data = DigitPairs(seed=SEEDS, train_pairs=100)
    data.setup()
    for images, _, _ in data.train_dataloader():
        network(images.double())
    return network


@pytest.mark.parametrize(("ours", "plain"), NETWORKS)
def test_names_and_shapes_with_one_replica_are_the_ordinary_nets(ours: Make, plain: type[nn.Module]) -> None:
    shapes = {name: value.shape for name, value in plain().state_dict().items()}
    assert {name: value.shape for name, value in ours([0]).state_dict().items()} == shapes


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize(("ours", "plain"), NETWORKS)
def test_an_exported_replica_gives_equal_outputs_in_the_ordinary_and_in_a_plain_torch_net(
    ours: Make, plain: type[nn.Module], train: bool
) -> None:
    network = trained(ours)
    data = DigitPairs(seed=SEEDS)
    data.setup()
    images = next(iter(data.test_dataloader()))[0][:50].double()
    states = [export_replica(network.state_dict(), r, len(SEEDS)) for r in range(len(SEEDS))]
    network.train(train)
    without_dropout(network)
    together = network(images)
    for r, state in enumerate(states):
        own = images[:, 2 * r : 2 * r + 2]
        for single in (ours([0]).double(), plain().double()):
            single.load_state_dict(state)
            single.train(train)
            without_dropout(single)
            pair, digits = single(own)
            torch.testing.assert_close(pair.view(50, 2), together.pair[:, r], rtol=0, atol=1e-12)
            if digits is not None:
                torch.testing.assert_close(digits.view(50, 2, 10), together.digits[:, r], rtol=0, atol=1e-12)


def without_dropout(network: nn.Module) -> None:
    for layer in network.modules():
        if isinstance(layer, nn.Dropout | Dropout):
            layer.eval()


@pytest.mark.parametrize("ours", [paper_cnn, paper_siamese])
def test_joining_exported_replicas_gives_the_network_back(ours: Make) -> None:
    state = trained(ours).state_dict()
    parts = [export_replica(state, r, len(SEEDS)) for r in range(len(SEEDS))]
    joined = join_replicas(parts)
    assert joined.keys() == state.keys()
    assert all(torch.equal(joined[name], state[name]) for name in state)


@pytest.mark.parametrize("ours", [paper_cnn, paper_siamese])
def test_a_replica_starts_and_drops_as_its_seed_does_alone(ours: Make) -> None:
    together, alone = ours(SEEDS), ours(SEEDS[2:])
    images = torch.rand(20, 6, 14, 14)
    for network, seeds in ((together, SEEDS), (alone, SEEDS[2:])):
        reseed(network, seeds, epoch=4)
    for name, value in export_replica(together.state_dict(), 2, 3).items():
        assert torch.equal(value, alone.state_dict()[name]), name
    mine, other = together(images).pair[:, 2], alone(images[:, 4:]).pair[:, 0]
    torch.testing.assert_close(mine, other, rtol=0, atol=1e-5)


def test_the_initialisation_has_torchs_own_range_and_spread() -> None:
    network = paper_cnn(range(40)).net
    theirs = PlainNet()
    for name, value in network.named_parameters():
        layer = theirs.get_submodule(name.rpartition(".")[0])
        if isinstance(layer, nn.Conv2d | nn.Linear):
            bound = layer.weight[0].numel() ** -0.5
            assert value.abs().max().item() == pytest.approx(bound, rel=0.02)
            assert value.abs().max().item() <= bound
            assert value.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)


def test_dropout_streams_differ_between_seeds_epochs_layers_and_processes() -> None:
    network = paper_cnn([0, 1])
    states = set()
    for epoch in range(2):
        for rank in range(2):
            reseed(network, [0, 1], epoch, rank)
            layers = [layer for layer in network.modules() if isinstance(layer, Dropout)]
            states |= {seed for layer in layers for seed in layer.seeds}
    assert len(states) == 2 * 2 * 2 * 4


@pytest.mark.filterwarnings("ignore:.torch.jit.trace")
@pytest.mark.parametrize("trunk", ["paper", "modern"])
@pytest.mark.parametrize("branches", ["early", "shared", "separate"])
def test_every_network_can_be_traced(branches: Any, trunk: Any) -> None:
    network = make_replicas([0, 1], branches, trunk=trunk, width=4, head="mlp").eval()
    images = 255 * torch.rand(5, 4, 14, 14)
    traced, said = torch.jit.trace(network, images[:2])(images), network(images)
    for one, other in zip(traced, [part for part in said if part is not None], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore:.torch.jit.trace")
def test_tensorboard_gets_the_graph_of_a_network_that_reads_no_digits(tmp_path: Path) -> None:
    module = PlainCNN()
    module.example_input_array = torch.zeros(2, 2, 14, 14)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=TensorBoardLogger(tmp_path, log_graph=True),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DigitPairs(train_pairs=50, val_pairs=0, test_pairs=2))
    events = b"".join(path.read_bytes() for path in tmp_path.rglob("events*"))
    assert b"EarlyFusion[net]" in events
