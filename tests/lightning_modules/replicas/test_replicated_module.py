"""`ReplicatedModule`, a plain Trainer, plain data: replica k is what seed k is alone."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import (
    EMAWeightAveraging,
    ModelCheckpoint,
    StochasticWeightAveraging,
)
from pytorch_lightning.loggers import TensorBoardLogger
from replicated_digits import SEEDS, Mixing, X, Y, build, error, make_net, plain, trainer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import MulticlassAccuracy

from lightning_modules import ReplicaLoader, ReplicatedModule, StopReplicas
from lightning_modules.results.tensorboard import band


def each(name: str, values: list[float], k: int | None) -> dict[str, Any]:
    return {name: values if k is None else values[k]}


# Options of the module and of the Trainer, by the number of the replica or None for all of them.
OPTIONS: dict[str, Callable[[int | None], tuple[dict[str, Any], dict[str, Any]]]] = {
    "AdamW": lambda k: ({"optimizer": torch.optim.AdamW}, {}),
    "vmap": lambda k: ({"net": Mixing, "engine": "vmap"}, {}),
    "rates, Adam": lambda k: (
        {
            **each("lr", [0.1, 0.01, 0.02], k),
            # eps: a bias before batch normalisation has no gradient but rounding, which Adam would enlarge.
            "optimizer": lambda parameters, **own: torch.optim.Adam(parameters, eps=1e-4, **own),
        },
        {},
    ),
    "rates and decays, SGD with momentum": lambda k: (
        {
            **each("lr", [0.1, 0.01, 0.02], k),
            **each("weight_decay", [0.0, 0.1, 0.5], k),
            "optimizer": lambda parameters, **own: torch.optim.SGD(parameters, momentum=0.9, **own),
        },
        {},
    ),
    "decays, AdamW": lambda k: (
        {**each("weight_decay", [0.0, 0.1, 0.5], k), "optimizer": torch.optim.AdamW},
        {},
    ),
    "weights of losses": lambda k: (
        {
            "loss": lambda y, t, smooth: (1 - smooth) * F.cross_entropy(y, t) + smooth * y.square().mean(),
            "loss_weights": each("smooth", [0.1, 0.5, 0.0], k),
        },
        {},
    ),
    "one loss a sample": lambda k: ({"loss": lambda y, t: F.cross_entropy(y, t, reduction="none")}, {}),
    "a loss that looks at numbers": lambda k: (
        {"loss": lambda y, t: F.cross_entropy(y, t) if float(y.detach().sum()) > 1e9 else y.square().mean()},
        {},
    ),
    "schedule": lambda k: (
        {"schedule": lambda optimizer: lr_scheduler.StepLR(optimizer, 1, 0.1)},
        {},
    ),
    "clipping": lambda k: ({}, {"gradient_clip_val": 0.1}),
    "accumulation": lambda k: ({}, {"accumulate_grad_batches": 2}),
    "SWA": lambda k: ({}, {"callbacks": [StochasticWeightAveraging(0.02, swa_epoch_start=1)]}),
    "EMA": lambda k: ({}, {"callbacks": [EMAWeightAveraging()]}),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_a_replica_is_what_its_seed_is_alone(name: str) -> None:
    k, atol = 1, 1e-9 if "Adam" in name else 1e-12  # Adam enlarges the rounding of gradients that are 0
    modules = []
    for number, seeds in ((None, SEEDS), (k, [SEEDS[k]])):
        options, own = OPTIONS[name](number)
        modules.append(build(seeds, **{"optimizer": torch.optim.SGD, **options}))
        trainer(**own).fit(modules[-1], plain())
    together, alone = modules
    for (name_, ours), other in zip(
        together.replica_state(k).items(), alone.replica_state(0).values(), strict=True
    ):
        torch.testing.assert_close(ours, other, rtol=0, atol=atol, msg=name_)
    for tag, value in alone.epoch_metrics("train").items():
        torch.testing.assert_close(together.epoch_metrics("train")[tag][[k]], value)


def test_a_replica_is_what_a_plain_loop_of_torch_makes_of_the_ordinary_net() -> None:
    def without_dropout() -> nn.Module:
        return nn.Sequential(
            nn.Flatten(), nn.Linear(196, 20), nn.ReLU(), nn.BatchNorm1d(20), nn.Linear(20, 10)
        )

    module = build(net=without_dropout, lr=[0.1, 0.01, 0.02], optimizer=torch.optim.SGD)
    net = module.network.double().replica(2)
    trainer().fit(module, plain())
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02)
    for x, y in [*plain(), *plain()]:
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()
    for ours, other in zip(module.replica(2).parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(ours, other, rtol=0, atol=1e-12)


def test_each_replica_may_have_an_order_of_its_own_and_batches_may_be_dicts() -> None:
    data = {"input": X, "label": Y}
    modules = [build(seeds, target="label") for seeds in (SEEDS, [SEEDS[2]])]
    for module in modules:
        trainer().fit(module, ReplicaLoader(data, 16, module.seeds))
        assert module.network.engine == "wide"
    together, alone = modules
    for ours, other in zip(together.replica(2).parameters(), alone.replica(0).parameters(), strict=True):
        torch.testing.assert_close(ours, other, rtol=0, atol=1e-12)
    orders = torch.stack([batch.batch["label"] for batch in ReplicaLoader(data, 64, SEEDS)])
    assert not torch.equal(orders[..., 0], orders[..., 1])


def test_metrics_of_torchmetrics_count_each_replica_and_all_are_logged_with_their_band(
    tmp_path: Path,
) -> None:
    module = build(metrics={"error": error, "accuracy": MulticlassAccuracy(10, average="micro")})
    log = TensorBoardLogger(tmp_path, "", "")
    trainer(logger=log).fit(module, plain(), plain())
    values = module.epoch_metrics("val")
    torch.testing.assert_close(values["val/accuracy"], 1 - values["val/error"])
    events, tag = EventAccumulator(str(tmp_path)).Reload(), "val/error"
    mean, low, high = (events.Scalars(name)[-1].value for name in (tag, *band(tag)))
    assert mean == pytest.approx(values["val/error"].mean().item())
    assert low < mean < high


def test_a_replica_that_is_done_is_dropped_and_the_others_train_on() -> None:
    rates = [0.01, 1e-12, 0.01]  # the second does not move
    stop = StopReplicas("train/loss", patience=1, min_delta=1e-6)
    module = build(lr=rates)
    trainer(max_epochs=4, callbacks=[stop]).fit(module, ReplicaLoader((X, Y), 16, SEEDS))
    assert 1 in stop.stopped
    assert 17 not in module.seeds
    whole = build(lr=rates)
    trainer(max_epochs=1).fit(whole, ReplicaLoader((X, Y), 16, SEEDS))
    assert stop.stopped[1](X).shape == (64, 10)


def test_replicas_of_one_seed_that_are_done_are_all_kept() -> None:
    stop = StopReplicas("train/loss", patience=1)
    module = build([5, 5, 5], lr=[0.01, 1e-12, 1e-13])
    trainer(max_epochs=5, callbacks=[stop]).fit(module, plain())
    assert {1, 2} <= stop.stopped.keys()


def test_epochs_that_do_not_validate_do_not_count_as_epochs_without_improvement() -> None:
    stop, module = StopReplicas("val/loss", patience=1), build()
    fit = trainer(max_epochs=4, callbacks=[stop], check_val_every_n_epoch=2)
    fit.fit(module, plain(), DataLoader(TensorDataset(X, Y), 16))
    assert (fit.current_epoch, stop.stopped) == (4, {})


def test_a_few_batches_that_are_overfitted_are_the_same_in_all_epochs() -> None:
    seen = list[Tensor]()

    class Look(pl.Callback):
        def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
            seen.append(batch.batch[0])

    fit = trainer(max_epochs=2, callbacks=[Look()], overfit_batches=1)
    fit.fit(build(), ReplicaLoader((X, Y), 16, SEEDS))
    assert torch.equal(*seen)


def test_weights_with_channels_last_have_each_replicas_own_rate_and_decay() -> None:
    modules = [build(lr=[0.1, 0.01, 0.02], weight_decay=[0.0, 0.1, 0.5]) for _ in range(2)]
    modules[1].to(memory_format=torch.channels_last)
    for module in modules:
        trainer(max_epochs=1).fit(module, plain())
    for ours, other in zip(*(module.parameters() for module in modules), strict=True):
        torch.testing.assert_close(ours, other, rtol=0, atol=1e-9)


def test_a_fit_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    whole, first = build(), build()
    trainer(max_epochs=2).fit(whole, ReplicaLoader((X, Y), 16, SEEDS))
    saving = ModelCheckpoint(tmp_path, monitor="train/loss")
    trainer(max_epochs=1, callbacks=[saving], enable_checkpointing=True).fit(
        first, ReplicaLoader((X, Y), 16, SEEDS)
    )
    second = build()
    trainer(max_epochs=2).fit(second, ReplicaLoader((X, Y), 16, SEEDS), ckpt_path=saving.best_model_path)
    for ours, other in zip(second.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, other)
    loaded = ReplicatedModule.load_from_checkpoint(
        saving.best_model_path, make_net=make_net, loss=F.cross_entropy, weights_only=True
    )
    assert loaded.seeds == SEEDS
    for ours, other in zip(loaded.double().parameters(), first.parameters(), strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-6, atol=1e-6)


def test_an_ensemble_predicts_the_mean_of_its_replicas() -> None:
    module = build(predict=lambda y: y.softmax(-1))
    labelled = trainer().predict(module, plain())
    bare = trainer().predict(module, DataLoader(TensorDataset(X), 16))
    nets = [module.replica(k).eval() for k in range(3)]
    expected = torch.stack([net(X[:16]).softmax(-1) for net in nets]).mean(0)
    for found in (labelled, bare):
        assert found is not None
        torch.testing.assert_close(found[0], expected)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
