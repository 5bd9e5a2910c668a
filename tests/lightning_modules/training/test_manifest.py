"""What a study was begun with is compared before it goes on: all that decides its figures, nothing else."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from llvmlite.binding import get_host_cpu_features

import train
from lightning_modules.command.cli import CommandError
from lightning_modules.command.settings import Flag, flags_of
from lightning_modules.models.settings import SETTING_NAMES, SETTINGS
from lightning_modules.results import provenance
from lightning_modules.results.provenance import COMPUTING, Digits, code_digests, data_digest
from lightning_modules.training import manifest, precision
from lightning_modules.training.experiment import Experiment
from lightning_modules.training.manifest import BY_EFFECT, FREE, Manifest, device_name, open_study
from lightning_modules.training.precision import INSTRUCTIONS
from lightning_modules.training.runner import make_trainer

Config = Callable[..., dict[str, Any]]

NOW = Manifest("train.py", {"lr": 0.1}, "cpu", 1, {"cnn": [2, 1]}, "digits")


def values(*flags: str) -> dict[str, str]:
    return dict(pair.split("=") for flag in flags for pair in flag.split())


def another(flag: Flag) -> str:
    """A value of a number's or a switch's flag that is not its default."""
    if isinstance(flag.default, bool):
        return str(not flag.default).lower()
    return str(flag.default / 2 or 0.1) if isinstance(flag.default, float) else str(flag.default + 1)


# Every flag that decides figures, with another value than that of a bare `--recipe modern`.
DECIDE = values(
    "model=cnn recipe=paper runs=16 seed=1 train_pairs=900 val_pairs=400 test_pairs=900 all_pairs=true",
    "strategy=ddp precision=64-true threads=2 replicas=4 engine=torch layout=contiguous",
    "max_epochs=9 batch_size=30 trunk=clean width=8 pool=average head=mlp temperature=0.7 branches=shared",
    "swap_trunks=false optimizer=sgd weight_decay=0.1 schedule=constant lr=0.2 alpha=0.3 gamma=0.3",
    "label_smoothing=0.2 balance=0.5 consistency=0.5 augment=bilinear elastic=0.1 two_views_from=0.3",
    "reorder=false split_merged=false ensemble=2 restarts=2",
)
# And what further models have.
DECIDE |= {
    flag.name: another(flag)
    for kind in SETTINGS.values()
    for flag in flags_of(kind)
    if flag.name not in DECIDE
}
# The others; those of `BY_EFFECT` count by what is recorded of the device, the processes and the digits.
HARMLESS = values(
    "log_dir=elsewhere workers=3 checkpoint_every=1 name=other resume=true verbose=",
    "accelerator=cpu devices=auto num_nodes=1 data_dir=elsewhere",
)


def go_on(folder: Path, begun: Manifest, now: Manifest) -> None:
    """Begin a study, and go on with it."""
    with open_study(folder, begun, resume=False):
        pass
    with open_study(folder, now, resume=True):
        pass


def refused(folder: Path, begun: Manifest, now: Manifest) -> str:
    with pytest.raises(CommandError) as refusal:
        go_on(folder, begun, now)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


@pytest.fixture(scope="module")
def config() -> Iterator[Config]:
    """The settings of an experiment by the command's flags; nothing is trained."""
    made: list[Experiment] = []

    def make(*flags: str) -> dict[str, Any]:
        train.main(["--recipe", "modern", "--workers", "1", *flags])
        return dict(made[-1].config)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Experiment, "run", lambda experiment: made.append(experiment))
        yield make


@pytest.fixture(scope="module")
def begun(config: Config) -> Manifest:
    """Of a study with no more flags."""
    return replace(NOW, config=config())


def test_every_flag_is_known_to_decide_figures_or_not() -> None:
    flags = {*(field.name for field in fields(train.Flags)), *SETTING_NAMES}
    assert flags == {*DECIDE, *HARMLESS}
    assert not {*DECIDE} & {*HARMLESS}
    assert {*FREE, *BY_EFFECT, *train.CALL} == {*HARMLESS}


@pytest.mark.parametrize("flag", [*DECIDE, *HARMLESS])
def test_a_changed_flag_is_refused_where_it_decides_figures_and_only_there(
    flag: str, config: Config, begun: Manifest, tmp_path: Path
) -> None:
    value = {**DECIDE, **HARMLESS}[flag]
    now = replace(NOW, config=config(f"--{flag}={value}" if value else f"--{flag}"))
    if flag in HARMLESS:
        go_on(tmp_path / "study", begun, now)
    else:
        assert f"--{flag} was " in refused(tmp_path / "study", begun, now)


@pytest.mark.parametrize("name", ["python", *COMPUTING])
@pytest.mark.parametrize("there", ["0.1", None])
def test_another_version_of_what_computes_is_named(name: str, there: str | None, tmp_path: Path) -> None:
    begun = replace(NOW, versions={**NOW.versions, name: there})
    said = f"begun with {name} {there}, here is {NOW.versions[name]}"
    assert said in refused(tmp_path / "study", begun, NOW)


@pytest.mark.parametrize("name", ["torch", "pytorch-lightning", "numpy", "numba", "llvmlite"])
def test_libraries_that_compute_are_recorded_and_the_dashboard_is_not(name: str) -> None:
    assert NOW.versions[name]
    assert "tensorboard" not in NOW.versions


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"device": "cuda H200"}, "begun with device cpu, here is cuda H200"),
        ({"processes": 2}, "only a study of one process can be resumed"),
        ({"data": "others"}, "--data_dir was left out when the study was begun, is now left out, and holds"),
        ({"code": {}}, "the code has changed since the study was begun"),
        ({"shards": {"cnn": [2, 2]}}, "study.json is damaged"),
        ({"shards": {"auxiliary": [2, 1]}}, "study.json is damaged"),
    ],
)
def test_another_machine_or_code_or_other_digits_are_refused(
    changed: dict[str, Any], message: str, tmp_path: Path
) -> None:
    assert message in refused(tmp_path / "study", NOW, replace(NOW, **changed))


def test_the_division_among_shards_may_differ(tmp_path: Path) -> None:
    """It is taken from the manifest."""
    go_on(tmp_path / "study", NOW, replace(NOW, shards={"cnn": [1, 1, 1]}))


@pytest.mark.parametrize("name", [entry.name for entry in fields(Manifest) if entry.name != "format"])
def test_a_study_of_an_older_version_is_refused_and_what_it_lacks_is_named(name: str, tmp_path: Path) -> None:
    with open_study(tmp_path / "study", NOW, resume=False):
        pass
    path = tmp_path / "study" / "study.json"
    older = json.loads(path.read_text())
    del older[name]
    path.write_text(json.dumps(older))
    with (
        pytest.raises(CommandError, match=f"older version .* {name};.* start it anew under another name"),
        open_study(tmp_path / "study", NOW, resume=True),
    ):
        pass


@pytest.mark.parametrize("shards", [{"cnn": 3}, {"cnn": ["2", 1]}, {"cnn": [4, -1]}, {"cnn": None}])
def test_sizes_of_shards_that_are_none_are_refused(shards: Any, tmp_path: Path) -> None:
    assert "study.json is damaged" in refused(tmp_path / "study", replace(NOW, shards=shards), NOW)


def test_a_precision_that_the_processor_chose_is_told_apart_from_a_flag(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "get_host_cpu_features", lambda: {"avx512bf16": True})
    begun = replace(NOW, config=config("--accelerator", "cpu"))
    monkeypatch.setattr(precision, "get_host_cpu_features", dict)
    now = replace(NOW, config=config("--accelerator", "cpu"))
    said = refused(tmp_path / "study", begun, now)
    assert "--precision was bf16-mixed when the study was begun, is now 32-true" in said
    assert "chosen for the processor at hand" in said
    assert said.endswith("resume with --precision bf16-mixed")
    same = config("--accelerator", "cpu", "--precision", "bf16-mixed")
    go_on(tmp_path / "same", begun, replace(NOW, config=same))


def with_or_without(patch: pytest.MonkeyPatch, instructions: str) -> None:
    """Give this processor instructions that it lacks, or take them away."""
    features = get_host_cpu_features()
    changed = {**features, instructions: not features.get(instructions)}
    patch.setattr(manifest, "get_host_cpu_features", lambda: changed)


@pytest.mark.parametrize(
    "otherwise",
    [
        lambda patch: patch.setattr(manifest, "get_host_cpu_name", lambda: "abacus"),
        lambda patch: patch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "beads"),
        *(partial(with_or_without, instructions=name) for name in INSTRUCTIONS),
    ],
)
def test_what_rounds_otherwise_is_another_device(
    otherwise: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer({"accelerator": "cpu"})
    here = device_name(trainer)
    assert here == device_name(trainer)
    otherwise(monkeypatch)
    assert device_name(trainer) != here


@pytest.mark.parametrize("products", ["high", "medium"])
def test_less_precise_products_are_another_device(products: str) -> None:
    trainer = make_trainer({"accelerator": "cpu"})
    here = device_name(trainer)
    try:
        torch.set_float32_matmul_precision(products)
        assert device_name(trainer) != here
    finally:
        torch.set_float32_matmul_precision("highest")
    assert device_name(trainer) == here


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the program, as if installed elsewhere."""
    folder = tmp_path_factory.mktemp("elsewhere")
    for name in code_digests():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(provenance.ROOT / name, folder / name)
    return folder


def test_code_is_the_same_wherever_it_lies_and_however_its_lines_end(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = code_digests()
    shutil.copytree(source, tmp_path, dirs_exist_ok=True)
    for path in tmp_path.rglob("*.py"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    (tmp_path / "lightning_modules" / "__pycache__").mkdir()
    (tmp_path / "lightning_modules" / "__pycache__" / "a.pyc").touch()
    (tmp_path / "lightning_modules" / "report").mkdir()
    (tmp_path / "lightning_modules" / "report" / "page.py").touch()
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    assert code_digests() == here


@pytest.mark.parametrize(
    "name",
    [
        "train.py",
        "datamodules/augment.py",
        "lightning_modules/replicas/fused/loops/convolution.py",
        "lightning_modules/new.py",
    ],
)
def test_a_changed_or_new_file_of_code_is_named(
    name: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(source, tmp_path / "copy")
    with (tmp_path / "copy" / name).open("a") as file:
        file.write("x = 1\n")
    monkeypatch.setattr(provenance, "ROOT", tmp_path / "copy")
    said = refused(tmp_path / "study", NOW, replace(NOW, code=code_digests()))
    assert f"results may have: {name}; resume with the code that began it" in said


def test_code_that_trains_imports_nothing_that_is_not_compared() -> None:
    files = code_digests()
    assert {"train.py", "datamodules/pairs.py", "lightning_modules/training/runner.py"} <= files.keys()
    for name in files:
        text = (provenance.ROOT / name).read_text()
        assert not re.search(r"\b(from|import) lightning_modules(\.| import )(demo|report)\b", text), name


@dataclass
class Split:
    """Some digits."""

    images: torch.Tensor
    labels: torch.Tensor


@dataclass
class Data:
    """What a data module holds."""

    train_digits: Digits
    test_digits: Digits


def some_digits() -> Data:
    train_images, test_images = torch.arange(2 * 196.0).view(2, 14, 14), torch.arange(196.0).view(1, 14, 14)
    return Data(Split(train_images, torch.tensor([3, 4])), Split(test_images, torch.tensor([5])))


@settings(max_examples=20)
@given(
    split=st.sampled_from(["train_digits", "test_digits"]), place=st.integers(0, 195), step=st.integers(1, 9)
)
def test_a_digest_tells_any_pixel_and_any_label(split: str, place: int, step: int) -> None:
    same, brighter, relabelled = (some_digits() for _ in range(3))
    getattr(brighter, split).images.view(-1)[place] += step
    getattr(relabelled, split).labels[0] += step
    assert len({data_digest(data) for data in (same, some_digits())}) == 1
    assert len({data_digest(data) for data in (same, brighter, relabelled)}) == 3
