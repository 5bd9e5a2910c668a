"""Before anything is timed: our contestants and the plain loop compute the same.

From the same weights, on the same batches, without dropout (whose masks differ) and in float64, they must
have the same losses, the same weights after some steps, and the same answers to validation pairs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from benchmarks.speed.harness import prove_equal
from benchmarks.speed.plain_loop import BATCH_SIZE, PlainRun, digit_pairs, tensors
from lightning_modules.models.recipes import PAPER
from lightning_modules.models.registry import MODULES
from lightning_modules.replicas.dropout import Dropout
from lightning_modules.replicas.fused.sequential import Engine, set_engine
from lightning_modules.replicas.state import export_replica

if TYPE_CHECKING:
    from datamodules.loader import Batch
    from lightning_modules.models.base import PairModule

VAL_PAIRS = 500
STEPS = 5  # float64 agrees to 1e-9 so long; training amplifies every rounding
SEEDS = [0, 1]
CPU = torch.device("cpu")
ENGINES: tuple[Engine, ...] = ("torch", "fused")


def prove_agreement(model: str, device: torch.device = CPU) -> None:
    """Train two replicas by each engine, and each of them by the plain loop; compare.

    Args:
        model: The model.
        device: Where both compute.

    Raises:
        RuntimeError: They differ, so that their times say nothing about each other.
    """
    data = digit_pairs(SEEDS, STEPS * BATCH_SIZE, VAL_PAIRS)
    batches = [
        (images.double().to(device), y.to(device), z.to(device)) for images, y, z in data.train_dataloader()
    ]
    for engine in ENGINES if device == CPU else ENGINES[:1]:
        module = MODULES[model].from_settings(PAPER.settings[model], SEEDS).double().to(device)
        set_engine(module.network, engine)
        starts = [_replica(module, index) for index in range(len(SEEDS))]
        ours = _train(module, batches)
        for index, seed in enumerate(SEEDS):
            plain = PlainRun(model, digit_pairs(seed, STEPS * BATCH_SIZE, VAL_PAIRS), seed)
            plain.net.to(device)
            theirs = _train_plain(plain, starts[index], [_own(batch, index) for batch in batches])
            prove_equal(f"{model}, engine {engine}, losses", ours[:, index], theirs)
            for name, value in _replica(module, index).items():
                prove_equal(f"{model}, engine {engine}, {name}", value, plain.net.state_dict()[name])
            prove_equal(f"{model}, engine {engine}, answers", *_answers(module, plain, index))


def _train(module: PairModule, batches: list[Batch]) -> Tensor:
    """The losses of each step and replica, (STEPS, R)."""
    _drop_nothing(module)
    optimizer, losses = module.make_optimizer(), []
    for images, target, classes in batches:
        outputs = module(images)
        loss = module.loss(outputs, target, classes if module.has_digit_heads else None).mean(0)  # (R,)
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses)


def _train_plain(run: PlainRun, state: dict[str, Tensor], batches: list[Batch]) -> Tensor:
    run.net.double().load_state_dict(state)
    _drop_nothing(run.net)
    return torch.stack([run.step(*batch) for batch in batches])


def _answers(module: PairModule, run: PlainRun, index: int) -> tuple[Tensor, Tensor]:
    images, _, _ = tensors(run.data.val_set, run.data.train_digits)  # (N, 2, 14, 14)
    pairs = images.double().to(next(module.parameters()).device)
    with torch.no_grad():
        ours = module.eval()(pairs.repeat(1, len(SEEDS), 1, 1)).pair[:, index]
        return ours, run.net.eval()(pairs)[0]


def _own(batch: Batch, index: int) -> Batch:
    """A batch of one replica, as torch.nn takes it."""
    images, target, classes = batch
    return images[:, 2 * index : 2 * index + 2], target[:, index], classes[:, index]


def _replica(module: PairModule, index: int) -> dict[str, Tensor]:
    return export_replica(module.network.state_dict(), index, len(SEEDS))


def _drop_nothing(net: nn.Module) -> None:
    for layer in net.modules():
        if isinstance(layer, nn.Dropout | Dropout):
            layer.p = 0.0
