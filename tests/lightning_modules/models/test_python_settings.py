"""Settings given in Python: refused like a command's where they are wrong, plain where they are kept."""

from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from pytorch_lightning.tuner.tuning import Tuner

import train
from datamodules import DigitPairs
from lightning_modules import AuxiliaryLoss, PairModule, PlainCNN, WeightSharing
from lightning_modules.command.options import Trunk
from lightning_modules.models.recipes import PAPER, resolve
from lightning_modules.models.registry import MODULES
from lightning_modules.models.settings import SETTING_NAMES, WeightSharingSettings
from lightning_modules.networks.pairs import make_replicas
from lightning_modules.networks.trunks import make_trunk
from lightning_modules.replicas.fused.sequential import Sequential, set_engine
from lightning_modules.replicas.optimizers import make_optimizer
from lightning_modules.replicas.seeding import reseed

QUIET: dict[str, Any] = {
    "max_epochs": 1,
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


def small(**arguments: Any) -> DigitPairs:
    return DigitPairs(**{"train_pairs": 20, "val_pairs": 0, "test_pairs": 10, "batch_size": 10, **arguments})


MODERN = {"trunk": "modern", "width": 4}
WRONG: list[tuple[Any, dict[str, Any], str]] = [
    (WeightSharing, {"widht": 24}, "WeightSharing has no setting widht; did you mean width?"),
    (AuxiliaryLoss, {"gama": 1.0}, "did you mean gamma?"),
    (PlainCNN, {"learning_rate": 0.5}, "PlainCNN has no setting learning_rate; it has balance, branches"),
    (WeightSharing, {"optimizer": "SGD"}, "one of sgd, adamw, got 'SGD'; did you mean sgd?"),
    (WeightSharing, {"optimizer": "adam"}, "did you mean adamw?"),
    (WeightSharing, {"trunk": "resnet"}, "trunk must be one of paper, clean, modern, deep, got 'resnet'"),
    (WeightSharing, {"schedule": "cosine"}, "schedule must be one of constant, warmup_linear, got"),
    (WeightSharing, {"trunk": "modern", "pool": "max"}, "pool must be one of"),
    (PlainCNN, {"branches": "late"}, "branches must be one of"),
    (WeightSharing, {**MODERN, "width": 4.0}, "width must be a whole number, got 4.0"),
    (WeightSharing, {**MODERN, "width": True}, "width must be a whole number, got True"),
    (WeightSharing, {**MODERN, "head": "exact", "reorder": 1}, "reorder must be true or false, got 1"),
    (WeightSharing, {"weight_decay": "0.1"}, "weight_decay must be a number, got '0.1'"),
    (WeightSharing, {"batch_size": 10}, "batch_size has no effect on WeightSharing"),
    (WeightSharing, {"alpha": 0.3}, "alpha has no effect on WeightSharing"),
    (WeightSharing, {"branches": "separate"}, "branches has no effect on WeightSharing"),
    (WeightSharing, {"width": 8}, "width has no effect on WeightSharing"),
    (WeightSharing, {"swap_trunks": True}, "swap_trunks has no effect"),
    (WeightSharing, {"consistency": 1.0, **MODERN, "head": "exact"}, "consistency needs two views"),
    (WeightSharing, {"two_views_from": 0.5}, "two_views_from has no effect"),
    (WeightSharing, {"head": "exact", "reorder": True}, "reorder needs a trunk whose last layer is linear"),
    (WeightSharing, {"trunk": "clean", "head": "exact", "split_merged": True}, "split_merged needs reorder"),
    (PlainCNN, {"head": "exact"}, "head has no effect on PlainCNN"),
    (AuxiliaryLoss, {"head": "argmax", "gamma": 0.3}, "gamma has no effect on AuxiliaryLoss"),
    (AuxiliaryLoss, {"head": "subtract", "gamma": 0.0}, "gamma must be above 0 with head subtract"),
    (AuxiliaryLoss, {"seed": [1, 2], "gamma": [0.5, 0.0]}, "gamma must be above 0 with head paper"),
    (AuxiliaryLoss, {"branches": "early"}, "branches must be separate or shared"),
    (AuxiliaryLoss, {"label_smoothing": "a"}, "label_smoothing must be a number"),
    (WeightSharing, {"lr": "0.1"}, "lr must be a number, got '0.1'"),
    (WeightSharing, {"lr": None}, "lr must be a number, got None"),
    (WeightSharing, {"head": None}, "head must be text, got None"),
    (WeightSharing, {"head": "tail"}, "head must be one of exact, argmax, subtract, paper, mlp, got tail"),
    (WeightSharing, {"weight_decay": -1}, "weight_decay must be at least 0, got -1.0"),
    (WeightSharing, {"seed": 1.0}, "seed must be a whole number, got 1.0"),
    (WeightSharing, {"seed": "12"}, "seed must be a whole number, got '12'"),
    (WeightSharing, {"seed": np.arange(4).reshape(2, 2)}, "seed must be a whole number"),
    (WeightSharing, {"seed": []}, "the number of seeds must be at least 1, got 0"),
    (WeightSharing, {"seed": -1}, "seed must be at least 0, got -1"),
    (WeightSharing, {"seed": [3, 4, 3]}, "seed must name each replica once, got 3 2 times"),
    (AuxiliaryLoss, {"seed": [0, 0]}, "seed must name each replica once, got 0 2 times"),
    (DigitPairs, {"seed": [0, 0]}, "seed must name each replica once, got 0 2 times"),
    (DigitPairs, {"seed": [0, 1], "stream_seed": [2]}, "stream_seed must be one for each of 2 seeds, got 1"),
    (DigitPairs, {"train_pairs": 1e2}, "train_pairs must be a whole number, got 100.0"),
    (DigitPairs, {"train_pairs": "100"}, "train_pairs must be a whole number, got '100'"),
    (DigitPairs, {"batch_size": 50.0}, "batch_size must be a whole number, got 50.0"),
    (DigitPairs, {"val_pairs": None}, "val_pairs must be a whole number, got None"),
    (DigitPairs, {"elastic": "much"}, "elastic must be a number, got 'much'"),
    (DigitPairs, {"elastic": 0.2}, "elastic has no effect where augment is none"),
    (DigitPairs, {"augment": None}, "augment must be none, bilinear or bicubic, got None"),
    (DigitPairs, {"data_dir": 3}, "data_dir must be a folder's path, got 3"),
    (train.train, {"widht": 3}, "train has no setting widht; did you mean width?"),
    (train.train, {"model": "resnet"}, "model must be one of cnn, weight_sharing, auxiliary, all"),
    (train.train, {"runs": 2.0}, "runs must be a whole number, got 2.0"),
    (train.train, {"trunk": "resnet"}, "trunk must be one of"),
    (lambda **overrides: resolve(PAPER, ["cnn"], overrides), {"branchs": "early"}, "did you mean branches?"),
    (
        make_trunk,
        dict(zip(("name", "in_channels", "out_features", "width", "pool", "side"), "resnet", strict=True)),
        "trunk must be one of",
    ),
]


@pytest.mark.parametrize(("make", "arguments", "message"), WRONG)
def test_what_is_unknown_ill_typed_or_idle_is_refused_in_a_line(
    make: Any, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the message is looked at below
        make(**arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("module_type", MODULES.values())
@given(name=st.text(st.characters(categories=["Ll"]), min_size=1, max_size=12))
@example("seed")
def test_no_name_that_is_no_setting_is_accepted(module_type: Any, name: str) -> None:
    if name not in {*SETTING_NAMES, "self", "seed"}:  # the constructor's own
        with pytest.raises(ValueError, match=f"has no setting {name}"):
            module_type(**{name: 1})


def test_no_text_that_is_no_optimiser_is_taken_for_one() -> None:
    with pytest.raises(ValueError, match="optimizer must be one of sgd, adamw"):
        make_optimizer("SGD", make_replicas([0]), [0.1], 0.0)  # type: ignore[arg-type]


def test_defaults_count_as_left_out_whether_they_have_an_effect_or_not() -> None:
    """A checkpoint holds them all."""
    module = WeightSharing(**WeightSharingSettings().of_module())
    assert str(module.network) == str(WeightSharing().network)
    assert module.hparams == WeightSharing().hparams


NUMBERS: list[tuple[Any, Any]] = [
    (np.array([0.1, 0.2, 0.3]), [0.1, 0.2, 0.3]),
    (torch.tensor([0.5, 0.25, 0.125]), [0.5, 0.25, 0.125]),
    ([np.float64(0.5), torch.tensor(0.25), 1], [0.5, 0.25, 1.0]),
    (np.float32(0.5), 0.5),
    (np.array(0.5), 0.5),
    (torch.tensor(0.5), 0.5),
    (1, 1.0),
    (range(1, 4), [1.0, 2.0, 3.0]),
]
SEEDS: list[Any] = [np.arange(3), torch.arange(3), range(3), (0, 1, 2), [np.int64(0), torch.tensor(1), 2]]


def is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(is_plain, value))
    return type(value) in (int, float, bool, str, type(None))


@pytest.mark.parametrize(("number", "plain"), NUMBERS, ids=repr)
def test_numbers_of_numpy_and_torch_are_kept_as_pythons(number: Any, plain: Any) -> None:
    module = AuxiliaryLoss(seed=range(3), lr=number, alpha=number, gamma=number)
    assert all(map(is_plain, module.hparams.values()))
    assert module.hparams["lr"] == module.hparams["alpha"] == module.hparams["gamma"] == plain
    each = plain if isinstance(plain, list) else [plain] * 3
    assert module.lr == each
    assert module.replica(1).lr == [each[1]]
    module.select([0, 2])
    assert module.lr == [each[0], each[2]]
    assert module.hparams["lr"] == ([each[0], each[2]] if isinstance(plain, list) else plain)


@pytest.mark.parametrize("seeds", SEEDS, ids=repr)
def test_seeds_of_numpy_and_torch_are_kept_as_pythons_by_module_and_data(seeds: Any) -> None:
    module, data = WeightSharing(seed=seeds), small(seed=seeds, stream_seed=seeds)
    assert module.hparams["seed"] == module.seeds == data.hparams["seed"] == data.seeds == [0, 1, 2]
    assert all(map(is_plain, [*module.hparams.values(), *data.hparams.values()]))


def test_a_checkpoint_of_numbers_of_numpy_loads_weights_only(tmp_path: Path) -> None:
    options: dict[str, Any] = {"trunk": np.str_("modern"), "width": np.int64(4)}
    options |= {"seed": np.int64(3), "lr": np.float64(0.1)}
    module = AuxiliaryLoss(label_smoothing=np.float64(0.1), **options)
    warps: dict[str, Any] = {"augment": np.str_("bilinear"), "elastic": np.float64(0.1)}
    data = small(seed=np.int64(3), batch_size=np.int16(10), **warps)
    trainer = pl.Trainer(**QUIET)
    trainer.fit(module, data)
    trainer.save_checkpoint(tmp_path / "net.ckpt")
    restored = AuxiliaryLoss.load_from_checkpoint(tmp_path / "net.ckpt", weights_only=True)
    assert restored.hparams == module.hparams
    assert DigitPairs.load_from_checkpoint(tmp_path / "net.ckpt", weights_only=True).hparams == data.hparams


def test_a_data_folder_may_be_a_path(tmp_path: Path) -> None:
    assert DigitPairs(data_dir=tmp_path).hparams["data_dir"] == str(tmp_path)


@pytest.mark.parametrize("seeds", [[5], [5, 6]])
def test_a_learning_rate_that_lightning_finds_is_trained_with(seeds: list[int], tmp_path: Path) -> None:
    module, data = WeightSharing(seed=seeds), small(train_pairs=400, seed=seeds)
    trainer = pl.Trainer(**QUIET, default_root_dir=tmp_path)
    found = Tuner(trainer).lr_find(module, datamodule=data, num_training=40)
    assert found
    assert module.lr == [found.suggestion()] * len(seeds)
    trainer.fit(module, data)
    assert [group["lr"] for group in trainer.optimizers[0].param_groups] == [found.suggestion()]
    assert module.replica(0).lr == [found.suggestion()]


def test_a_learning_rate_is_checked_whenever_it_is_set() -> None:
    module = WeightSharing(seed=[1, 2])
    module.lr = np.array([0.1, 0.2])  # type: ignore[assignment]
    assert module.lr == module.hparams["lr"] == [0.1, 0.2]
    for wrong in (0.0, float("nan"), [0.1], "0.1", None):
        with pytest.raises(ValueError, match="lr must be"):
            module.lr = wrong  # type: ignore[assignment]
    assert module.lr == [0.1, 0.2]


def checkpoint_of(module: PairModule, path: Path) -> Path:
    trainer = pl.Trainer(**QUIET)
    trainer.fit(module, small())
    trainer.save_checkpoint(path)
    return path


class Own(AuxiliaryLoss):
    """A student's."""


@pytest.mark.parametrize(
    ("saved", "other"),
    [
        (AuxiliaryLoss(), WeightSharing),
        (WeightSharing(), PlainCNN),
        (WeightSharing(trunk="clean", head="exact"), PlainCNN),
        (PlainCNN(branches="shared"), WeightSharing),
        (WeightSharing(), AuxiliaryLoss),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_a_checkpoint_of_another_class_is_refused_naming_both(
    saved: PairModule, other: type[PlainCNN], tmp_path: Path
) -> None:
    path = checkpoint_of(saved, tmp_path / "net.ckpt")
    names = f"of {type(saved).__name__}, not of {other.__name__}"
    with pytest.raises(ValueError, match=names):
        other.load_from_checkpoint(path)
    with pytest.raises(ValueError, match=names):
        pl.Trainer(**QUIET).fit(other(), small(), ckpt_path=path)


def test_a_subclass_takes_the_checkpoint_of_its_class(tmp_path: Path) -> None:
    assert Own.load_from_checkpoint(checkpoint_of(AuxiliaryLoss(), tmp_path / "net.ckpt")).seeds == [0]


@pytest.mark.parametrize(("module", "data"), [([0, 1, 2], [0]), ([0], [0, 1, 2])])
def test_module_and_data_of_unlike_numbers_of_seeds_are_refused_with_both(
    module: list[int], data: list[int]
) -> None:
    message = f"of {len(module)} seeds, got \\(10, {2 * len(data)}, 14, 14\\)"
    for module_type in MODULES.values():
        with pytest.raises(ValueError, match=message):
            pl.Trainer(**QUIET).fit(module_type(seed=module), small(seed=data))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float16, torch.float64])
def test_images_of_any_type_of_number_are_compared(dtype: torch.dtype) -> None:
    images = torch.randint(256, (4, 2, 14, 14))
    for module in (WeightSharing().eval(), PlainCNN().double().eval()):
        pair = module(images.to(dtype)).pair
        assert torch.equal(pair, module(images.to(pair.dtype)).pair)


@pytest.mark.parametrize("index", [3, -1])
def test_a_replica_that_is_none_is_refused(index: int) -> None:
    with pytest.raises(IndexError, match=rf"replica must lie in 0..2, got {index}"):
        WeightSharing(seed=range(3)).replica(index)


def test_a_single_replica_computes_as_all_did() -> None:
    module = WeightSharing(seed=range(3)).double().eval()
    module.get_submodule("network.net.head").train()
    set_engine(module.network, "torch", "contiguous")
    single = module.replica(np.int64(2))  # type: ignore[arg-type]
    assert {parameter.dtype for parameter in single.network.parameters()} == {torch.float64}
    assert single.dtype == torch.float64
    assert [part.training for part in single.modules()] == [part.training for part in module.modules()]
    parts = [part for part in single.modules() if isinstance(part, Sequential)]
    assert {(part.engine, part.layout) for part in parts} == {("torch", "contiguous")}


@pytest.mark.parametrize("engine", ["fused", "torch"])
def test_the_papers_trunk_normalises_the_two_digits_apart_whatever_the_head(engine: Any) -> None:
    """So that another head is another head, and nothing else: trunks read alike, statistics move alike."""
    siamese = make_replicas([1, 2])
    images = torch.rand(6, 4, 14, 14, generator=torch.Generator().manual_seed(0)) * 255
    for head in ("exact", "subtract", "argmax"):
        other = make_replicas([1, 2], labelled=True, head=head)
        ours, theirs = (cast("Sequential", network.net.trunk) for network in (siamese, other))
        theirs.load_state_dict(ours.state_dict())
        for network in (siamese, other):
            set_engine(network, engine)
            reseed(network, [1, 2], 0)
        before = {name: value.clone() for name, value in siamese.state_dict().items()}
        assert torch.equal(siamese(images).digits, other(images).digits)
        for name, value in ours.state_dict().items():
            assert torch.equal(value, theirs.state_dict()[name]), name
        siamese.load_state_dict(before)


def test_trunks_of_other_recipes_normalise_both_digits_together() -> None:
    for trunk in get_args(Trunk)[1:]:
        network = make_replicas([0], labelled=True, trunk=trunk, head="exact")
        network(torch.rand(3, 2, 14, 14))
        counts = [value for name, value in network.state_dict().items() if name.endswith("batches_tracked")]
        assert {int(count) for count in counts} == {1}


def test_without_a_seed_two_modules_are_the_same_whatever_seed_everything_says() -> None:
    """As their docstrings say."""
    networks = []
    for seed in (1, 2):
        pl.seed_everything(seed, verbose=False)
        networks.append(WeightSharing().network.state_dict())
    assert all(torch.equal(value, networks[1][name]) for name, value in networks[0].items())
    assert "seed_everything" in str(WeightSharing.__init__.__doc__)


@pytest.mark.parametrize("model", MODULES)
def test_a_replica_per_learning_rate_may_repeat_its_seed(model: str) -> None:
    module = MODULES[model](seed=[3, 3], lr=[0.1, 0.2])
    data = small(seed=[3, 3], stream_seed=[3, 3])
    pl.Trainer(**QUIET).fit(module, data)
    assert module.lr == [0.1, 0.2]
