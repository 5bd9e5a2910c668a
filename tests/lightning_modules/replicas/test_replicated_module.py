"""`ReplicatedModule`, a plain Trainer, plain data: replica k is what seed k is alone, or it is refused."""

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import (
    BaseFinetuning,
    EMAWeightAveraging,
    ModelCheckpoint,
    StochasticWeightAveraging,
)
from pytorch_lightning.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import MulticlassAccuracy

from datamodules.mnist import load_digits
from lightning_modules import ReplicaLoader, ReplicatedModule, StopReplicas
from lightning_modules.results.tensorboard import band

SEEDS = [5, 17, 40]
DIGITS = load_digits(None)[0]
X, Y = DIGITS.images[:64].unsqueeze(1).double() / 255, DIGITS.labels[:64].long()


def make_net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.BatchNorm2d(4),
        nn.Dropout(0.2),
        nn.Flatten(),
        nn.Linear(144, 10),
    )


class Mixing(nn.Module):
    """Concatenates along channels: right by vmap only."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.out, self.drop = (
            nn.Conv2d(1, 2, 3),
            nn.Conv2d(1, 3, 3),
            nn.Linear(5, 10),
            nn.Dropout(0.3),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.drop(torch.cat([self.a(x), self.b(x)], 1).relu().mean((2, 3))))


def error(outputs: Tensor, target: Tensor) -> Tensor:
    return outputs.argmax(-1) != target


def plain() -> DataLoader[Any]:
    return DataLoader(TensorDataset(X, Y), 16)


def trainer(**options: Any) -> pl.Trainer:
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return pl.Trainer(**{"max_epochs": 2, "precision": "64-true", "accelerator": "cpu", **quiet, **options})


def build(seeds: Any = SEEDS, net: Callable[[], nn.Module] = make_net, **options: Any) -> ReplicatedModule:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ReplicatedModule(
            **{
                "make_net": net,
                "loss": F.cross_entropy,
                "seeds": seeds,
                "lr": 0.01,
                "metrics": {"error": error},
                **options,
            }
        )


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


class Foreign(torch.optim.SGD):
    """An optimiser that might do anything."""


class Thaw(BaseFinetuning):
    """Trains the first layer from the second epoch on."""

    def freeze_before_training(self, pl_module: Any) -> None:
        self.freeze(pl_module.network.net[0])

    def finetune_function(self, pl_module: Any, epoch: int, optimizer: torch.optim.Optimizer) -> None:
        if epoch == 1:
            self.unfreeze_and_add_param_group(pl_module.network.net[0], optimizer)


def one_cycle(optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
    return lr_scheduler.OneCycleLR(optimizer, 0.5, total_steps=9, cycle_momentum=False)


def warmed_up(optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
    cosine = lr_scheduler.CosineAnnealingLR(optimizer, 9, eta_min=0.01)
    return lr_scheduler.SequentialLR(optimizer, [lr_scheduler.LinearLR(optimizer), cosine], [2])


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "two seeds alike": (lambda: build([1, 1]), "counted 2 times"),
    "two seeds alike with one weight": (
        lambda: build([1, 1], loss_weights={"weight": 0.5}),
        "counted 2 times",
    ),
    "a wrong number of decays": (
        lambda: build(weight_decay=[0.1]),
        "weight_decay must be one number or one for each of 3",
    ),
    "a wrong number of rates": (lambda: build(lr=[0.1, 0.2]), "lr must be one number or one for each of 3"),
    "an optimiser that mixes": (
        lambda: trainer().fit(build(optimizer=torch.optim.LBFGS), plain()),
        "LBFGS does not train replicas apart",
    ),
    "an optimiser that is not known": (
        lambda: trainer().fit(build(optimizer=Foreign), plain()),
        "Foreign is not of",
    ),
    "ReduceLROnPlateau": (
        lambda: trainer().fit(build(schedule=lr_scheduler.ReduceLROnPlateau), plain()),
        "ReduceLROnPlateau would",
    ),
    "a schedule with a rate of its own": (
        lambda: trainer().fit(build(lr=[0.1, 0.2, 0.1], schedule=one_cycle), plain()),
        "OneCycleLR sets rates by its own arguments",
    ),
    "another within a sequence": (
        lambda: trainer().fit(build(lr=[0.1, 0.2, 0.1], schedule=warmed_up), plain()),
        "CosineAnnealingLR sets rates by its own arguments",
    ),
    "no stage": (
        lambda: build().epoch_metrics("valid"),
        "stage must be one of train, val, test, got 'valid'",
    ),
    "SWA with several rates": (
        lambda: trainer(callbacks=[StochasticWeightAveraging(0.1)]).fit(build(lr=[0.1, 0.2, 0.1]), plain()),
        "same lr",
    ),
    "a dict without a named target": (
        lambda: trainer().fit(build(), DataLoader([{"x": X[0], "y": Y[0]}])),  # type: ignore[arg-type]
        "the batch.s entry that is the target: x, y",
    ),
    "a loss of another shape": (
        lambda: trainer().fit(build(loss=lambda y, t: y), plain()),
        "loss must give one number, or one a sample",
    ),
    "a loss that is no tensor": (
        lambda: trainer().fit(build(loss=lambda y, t: F.cross_entropy(y, t).item()), plain()),
        "loss must give a tensor, got float",
    ),
    "a loss without a gradient": (
        lambda: trainer().fit(build(loss=lambda y, t: torch.tensor(1.0)), plain()),
        "loss must be computed from the outputs",
    ),
    "a target that is no entry of the batch": (
        lambda: trainer().fit(build(target=5), plain()),
        "target must be the place of one of the batch's 2 entries, got 5",
    ),
    "a loss that draws": (
        lambda: trainer().fit(build(loss=lambda y, t: F.cross_entropy(F.dropout(y), t)), plain()),
        "loss must draw no random numbers",
    ),
    "a loss that would be trained": (
        lambda: build(loss=nn.Bilinear(2, 2, 1)),
        "loss must have no parameters to train",
    ),
    "a metric with a dot": (lambda: build(metrics={"top.5": error}), "without a dot, got 'top.5'"),
    "an optimiser whose momentum follows from the rate": (
        lambda: trainer().fit(
            build(lr=[0.1, 0.2, 0.1], optimizer=lambda p, lr: torch.optim.SGD(p, lr, momentum=lr)), plain()
        ),
        "optimizer must give all replicas one momentum",
    ),
    "a group that is added later": (
        lambda: trainer(callbacks=[Thaw()]).fit(build(lr=[0.1, 0.2, 0.1]), plain()),
        "give it all groups when it is made",
    ),
    "a schedule in a dict": (
        lambda: trainer().fit(
            build(schedule=lambda made: {"scheduler": lr_scheduler.StepLR(made, 1)}), plain()
        ),
        "schedule must give a scheduler of torch, got dict",
    ),
    "a checkpoint of other seeds": (
        lambda: build().on_load_checkpoint({"hyper_parameters": {"seeds": [5, 40]}}),
        r"replicas of seeds \[5, 40\], and the module of \[5, 17, 40\]",
    ),
    "data of another number of replicas": (
        lambda: trainer().fit(build(), ReplicaLoader((X, Y), 16, [5])),
        r"\(N, R, ...\) with R = 3, got \(16, 1, 1, 14, 14\)",
    ),
    "data that is one tensor": (lambda: ReplicaLoader(X, 16, SEEDS), "a tuple or a dict of tensors"),  # type: ignore[arg-type]
    "data of NumPy": (lambda: ReplicaLoader((X.numpy(),), 16, SEEDS), "a tuple or a dict of tensors"),  # type: ignore[arg-type]
    "half a sample": (lambda: ReplicaLoader((X, Y), 2.5, SEEDS), "batch_size must be a whole number"),  # type: ignore[arg-type]
    "a name for an optimiser": (lambda: build(optimizer="sgd"), "optimizer must be a function, or a class"),
    "a made schedule": (lambda: build(schedule=3), "schedule must be a function, or a class to call, got 3"),
    "a name for a loss": (
        lambda: build(loss="mse"),
        "loss must be a function, or a class to call, got 'mse'",
    ),
    "a name for a metric": (lambda: build(metrics={"hits": "error"}), "hits must be a function, or a class"),
    "a number in place of seeds": (lambda: build(16), r"such as range\(16\), got 16"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_would_not_be_right_is_refused_in_one_line(what: str) -> None:
    attempt, line = REFUSED[what]
    with pytest.raises(ValueError, match=line) as caught:
        attempt()
    assert "\n" not in str(caught.value)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
