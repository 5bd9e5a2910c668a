"""Where the loops cannot be used, torch's operations are, and the reason is said."""

from collections.abc import Iterator

import pytest
import torch

from lightning_modules.command.cli import CommandError
from lightning_modules.networks.pairs import make_replicas
from lightning_modules.replicas.fused import sequential, support
from lightning_modules.replicas.fused.sequential import set_engine
from lightning_modules.training import execution
from lightning_modules.training.execution import ExecutionConfig
from lightning_modules.training.runner import make_trainer


@pytest.fixture
def forgets() -> Iterator[None]:
    support.obstacle.cache_clear()
    yield
    support.obstacle.cache_clear()


def test_here_they_can() -> None:
    assert support.obstacle() is None


def test_a_version_that_was_not_tried_is_an_obstacle(forgets: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(support.TRIED, "llvmlite", "0.1.")
    assert str(support.obstacle()).endswith("was not tried, 0.1.x was")


def test_a_compiler_that_is_switched_off_is_an_obstacle(
    forgets: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("numba.config.DISABLE_JIT", 1)
    assert support.obstacle() == "NUMBA_DISABLE_JIT switches numba's compiler off"


@pytest.mark.parametrize(("machine", "bad"), [("x86_64", True), ("AMD64", True), ("arm64", False)])
def test_a_processor_of_this_kind_without_fma_is_an_obstacle(
    machine: str, bad: bool, forgets: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(support, "cpu_features", lambda: frozenset({"+avx", "-fma"}))
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert (support.obstacle() == "the processor has no FMA instructions") == bad


def test_with_an_obstacle_torch_computes_and_the_choice_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (sequential, execution):
        monkeypatch.setattr(module, "obstacle", lambda: "it is Monday")
    network = make_replicas([0, 1], "early").double()
    images = torch.rand(5, 4, 14, 14, dtype=torch.float64)
    network.eval()
    found = network(images).pair
    set_engine(network, "torch")
    assert torch.equal(network(images).pair, found)
    set_engine(network, "fused")
    with pytest.raises(ValueError, match="cannot be used here, because it is Monday; take torch"):
        network(images)
    trainer = make_trainer({"accelerator": "cpu", "max_epochs": 1})
    assert str(ExecutionConfig().resolve(trainer, 3)).endswith("; not fused, because it is Monday")
    with pytest.raises(CommandError, match="because it is Monday"):
        ExecutionConfig(engine="fused").resolve(trainer, 3)
