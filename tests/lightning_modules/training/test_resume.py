"""A study that was ended goes on to what it would have been, to the bit; what cannot go on is refused."""

import gzip
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from events import scalars
from filelock import FileLock
from refusal import one_line

import train
from datamodules import DigitPairs
from datamodules.mnist import LAYOUTS
from lightning_modules.command.cli import CommandError
from lightning_modules.models.recipes import RECIPES, resolve
from lightning_modules.models.registry import MODULES
from lightning_modules.results.progress import StudyProgress
from lightning_modules.results.tensorboard import EpochMetrics
from lightning_modules.training.execution import ExecutionConfig
from lightning_modules.training.runner import Study, fit, run_study
from lightning_modules.training.shard_checkpoint import ShardCheckpoint
from lightning_modules.training.studies import make_study

EPOCHS = 6
TINY = ["--accelerator", "cpu", "--train_pairs", "60", "--val_pairs", "20", "--test_pairs", "40"]


class KilledError(Exception):
    """Stands for the end of the process."""


def a_study(folder: Path, model: str, recipe: str, **overrides: Any) -> Study:
    folder.mkdir(exist_ok=True)
    if recipe == "modern":
        overrides = {"width": 4, **overrides}
    overrides |= {"batch_size": 20, "max_epochs": EPOCHS}
    return make_study(
        resolve(RECIPES[recipe], [model], overrides)[model],
        [3, 4],
        partial(DigitPairs, train_pairs=60, val_pairs=20, test_pairs=40),
        {"accelerator": "cpu"},
        ExecutionConfig(workers=1),
        checkpoint=folder / "checkpoint.ckpt",
        study_id="a study",
        checkpoint_every=0.0,
    )


def dies_after(epochs: int) -> Callable[[EpochMetrics], None]:
    def report(figures: EpochMetrics) -> None:
        if figures.epoch == epochs:  # before anything of this epoch is kept
            raise KilledError

    return report


@pytest.mark.parametrize(
    ("model", "recipe", "overrides"),
    [
        ("cnn", "modern", {}),
        ("weight_sharing", "modern", {"restarts": 2}),
        ("auxiliary", "paper", {"ensemble": 2}),
        *(
            pytest.param(model, recipe, {}, marks=pytest.mark.slow)
            for model in MODULES
            for recipe in RECIPES
            if (model, recipe) != ("cnn", "modern")
        ),
    ],
)
def test_a_shard_goes_on_after_any_epoch_to_the_same_bits(
    model: str, recipe: str, overrides: dict[str, Any], tmp_path: Path
) -> None:
    figures: list[EpochMetrics] = []
    whole = a_study(tmp_path / "whole", model, recipe, **overrides)
    expected = run_study(whole, lambda first, epoch: figures.append(epoch))
    study = a_study(tmp_path / "cut", model, recipe, **overrides)
    (shard,) = study.shards()
    for epoch in (2, 3, 5):
        with pytest.raises(KilledError):
            fit(shard, dies_after(epoch))
    resumed: list[EpochMetrics] = []
    result = run_study(study, lambda first, epoch: resumed.append(epoch))
    assert result.runs == expected.runs
    assert resumed == figures
    assert result.mistakes
    assert expected.mistakes
    for name, values in asdict(expected.mistakes).items():
        assert np.array_equal(getattr(result.mistakes, name), values), name
    one, other = (torch.load(s.checkpoint, weights_only=True) for s in (whole, study) if s.checkpoint)
    assert list(one) == list(other)
    for name, value in one["state_dict"].items():
        assert torch.equal(value, other["state_dict"][name]), name


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> ShardCheckpoint:
    """What a shard keeps when it is not done."""
    (shard,) = a_study(tmp_path_factory.mktemp("study") / "study", "cnn", "paper").shards()
    with pytest.raises(KilledError):
        fit(shard, dies_after(2))
    assert shard.shard
    assert [epoch.epoch for epoch in shard.shard.read().metrics] == [0, 1]
    return shard.shard


class Malicious:
    """Runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return os.system, (f"touch {self.path}",)


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def one_bit_otherwise(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def of_another_shard(path: Path) -> None:
    content = torch.load(path, weights_only=True)
    content["owner"]["seeds"] = [5, 6]
    torch.save(content, path)


def a_plain_checkpoint(path: Path) -> None:
    content = torch.load(path, weights_only=True)
    del content["owner"]
    torch.save(content, path)


def malicious(path: Path) -> None:
    torch.save({"owner": Malicious(path.with_name("owned"))}, path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (torn, "is no checkpoint of runs, or damaged: File is not a zip file"),
        (one_bit_otherwise, "is damaged"),
        (of_another_shard, "is a checkpoint of other runs"),
        (a_plain_checkpoint, "is no checkpoint of runs, or damaged: 'owner'"),
        (malicious, "is no checkpoint of runs, or damaged: Weights only load failed"),
        (lambda path: path.write_text("dear diary"), "File is not a zip file"),
        (lambda path: path.write_bytes(b""), "File is not a zip file"),
    ],
)
def test_a_torn_or_foreign_file_is_refused_with_one_line_that_says_what_to_do(
    spoil: Callable[[Path], None], message: str, part: ShardCheckpoint, tmp_path: Path
) -> None:
    spoilt = replace(part, path=tmp_path / part.path.name)
    shutil.copy(part.path, spoilt.path)
    spoil(spoilt.path)
    with pytest.raises(CommandError, match=r"remove it to train its runs from their start$") as refusal:
        spoilt.read()
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert [path.name for path in tmp_path.iterdir()] == [part.path.name]


def lay_digits(folder: Path, digits: Mapping[str, np.ndarray]) -> None:
    """Write a data set's four files."""
    folder.mkdir()
    for name, part in zip(
        LAYOUTS[0].names, ("train_images", "train_labels", "test_images", "test_labels"), strict=True
    ):
        header = bytes([0, 0, 8, digits[part].ndim]) + np.array(digits[part].shape, ">u4").tobytes()
        (folder / name).write_bytes(header + digits[part].tobytes())


def flags(log_dir: Path, *more: str) -> list[str]:
    begun = ["--model", "cnn", "--runs", "3", "--max_epochs", "2", "--name", "study", *TINY]
    return [*begun, "--log_dir", str(log_dir), "--data_dir", str(log_dir / "digits"), *more]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, real_digits: dict[str, np.ndarray]) -> Path:
    """A log_dir with a finished study, and with its digits."""
    log_dir = tmp_path_factory.mktemp("finished")
    lay_digits(log_dir / "digits", real_digits)
    train.main(flags(log_dir, "--workers", "2"))
    return log_dir


@pytest.fixture
def log_dir(finished: Path, tmp_path: Path) -> Path:
    """Another one, which may be spoilt; so the digits of the study have moved."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_a_finished_study_is_shown_and_left_as_it_is(
    log_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = [path for path in log_dir.rglob("*") if path.suffix in (".json", ".ckpt")]
    before = {path: path.stat().st_mtime_ns for path in kept}
    train.main(flags(log_dir, "--resume"))
    assert "cnn" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_study_goes_on_with_its_shards_as_divided_and_its_curves_are_there_once(log_dir: Path) -> None:
    """In float32 a run's figures depend on the number of replicas in its shard."""
    folder = log_dir / "study"
    results, curves = (folder / "results.json").read_bytes(), scalars(folder / "cnn")
    (folder / "results.json").unlink()
    (folder / "results.json.123.tmp").write_text("half of the res")
    train.main(flags(log_dir, "--workers", "1", "--resume"))
    assert json.loads((folder / "study.json").read_text())["shards"] == {"cnn": [1, 2]}
    assert (folder / "results.json").read_bytes() == results
    assert scalars(folder / "cnn") == curves
    names = sorted(path.name.partition(".")[0] for path in folder.rglob("*") if path.is_file())
    assert names == ["", "checkpoint", "config", "events", "mistakes", "results", "results", "study"]


def test_epochs_that_were_kept_are_shown_as_such(
    log_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Runs of shards [1, 2]: the first has all its epochs, the second lost its last one."""
    shown: list[tuple[int, int, bool]] = []
    add = StudyProgress.add

    def watched(
        self: StudyProgress, model: str, first: int, figures: EpochMetrics, kept: bool = False
    ) -> None:
        if stops and len(figures.values["val/error"]) == 2 and figures.epoch == 1:
            raise KeyboardInterrupt
        shown.append((len(figures.values["val/error"]), figures.epoch, kept))
        add(self, model, first, figures, kept)

    monkeypatch.setattr(StudyProgress, "add", watched)
    stops = True
    shutil.rmtree(log_dir / "study")
    with pytest.raises(SystemExit):
        train.main(flags(log_dir, "--workers", "1", "--replicas", "2", "--checkpoint_every", "0"))
    assert "to go on, add --name study --resume" in capsys.readouterr().out
    assert shown == [(1, 0, False), (1, 1, False), (2, 0, False)]
    shown.clear()
    stops = False
    train.main(flags(log_dir, "--workers", "1", "--replicas", "2", "--resume"))
    assert shown == [(1, 0, True), (1, 1, True), (2, 0, True), (2, 1, False)]


@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory"), MemoryError(), OSError("no disk")])
def test_whatever_ends_a_study_how_to_go_on_is_said(
    error: Exception, log_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr("lightning_modules.training.experiment.run_studies", fails)
    shutil.rmtree(log_dir / "study")
    with pytest.raises(SystemExit):
        train.main(flags(log_dir, "--workers", "1"))
    assert "to go on, add --name study --resume" in capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    return one_line(train.main, args, capsys)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            ["--lr", "0.3"],
            "--lr was left out when the study was begun, is now 0.3; resume with the same",
        ),
        (["--runs", "4"], "--runs was 3 when the study was begun, is now 4"),
        (["--model", "all"], "--model was cnn when the study was begun, is now all"),
        (
            ["--devices", "2", "--strategy", "ddp"],
            "resume goes on with one process, but there are 2: give --devices 1",
        ),
        (["--name", "other"], "there is no study"),
        (["--checkpoint_every", "-1"], "checkpoint_every must be at least 0, got -1.0"),
    ],
)
def test_what_cannot_be_resumed_is_refused_with_one_line(
    changed: list[str], message: str, log_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refused(capsys, *flags(log_dir, "--resume"), *changed)


def test_a_study_without_a_name_cannot_be_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "give --name" in refused(capsys, *TINY, "--log_dir", str(tmp_path), "--resume")


def test_a_study_that_another_process_works_on_is_refused(
    log_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with FileLock(log_dir / "study" / ".lock"):
        assert "another process works on this study" in refused(capsys, *flags(log_dir, "--resume"))


def brighter(digits: dict[str, np.ndarray]) -> None:
    digits["test_images"][-1] ^= 255


def relabelled(digits: dict[str, np.ndarray]) -> None:
    digits["train_labels"][-1] = (digits["train_labels"][-1] + 1) % 10


def fewer(digits: dict[str, np.ndarray]) -> None:
    for part in ("test_images", "test_labels"):
        digits[part] = digits[part][:-1]


@pytest.mark.parametrize("change", [brighter, relabelled, fewer])
def test_other_digits_under_the_same_path_are_refused(
    change: Callable[[dict[str, np.ndarray]], None],
    log_dir: Path,
    real_digits: dict[str, np.ndarray],
    capsys: pytest.CaptureFixture[str],
) -> None:
    digits = {name: part.copy() for name, part in real_digits.items()}
    change(digits)
    shutil.rmtree(log_dir / "digits")
    lay_digits(log_dir / "digits", digits)
    message = refused(capsys, *flags(log_dir, "--resume"))
    assert "--data_dir was " in message
    assert "holds other digits; resume with the same digits" in message


def test_the_same_digits_compressed_are_the_same(log_dir: Path) -> None:
    for path in list((log_dir / "digits").iterdir()):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    train.main(flags(log_dir, "--resume"))


def spoil_manifest(**entries: Any) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        manifest = json.loads((folder / "study.json").read_text()) | entries
        (folder / "study.json").write_text(json.dumps(manifest))

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_manifest(versions={"torch": "1.0"}), "the study was begun with python None, here is 3"),
        (spoil_manifest(device="cpu ABACUS"), "the study was begun with device cpu ABACUS, here is cpu"),
        (spoil_manifest(shards=7), "study.json is damaged, so that its study cannot be resumed: shards"),
        (spoil_manifest(format=None), "study.json was written by digit-duel 0.1.0, and this version reads"),
        (lambda folder: (folder / "study.json").unlink(), "holds no study.json"),
        (lambda folder: (folder / "study.json").write_text("{"), "study.json is damaged"),
        (lambda folder: (folder / "results.json").write_text("[]"), "results.json is damaged"),
    ],
)
def test_a_study_that_is_not_as_it_was_left_is_refused_with_one_line(
    spoil: Callable[[Path], None], message: str, log_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(log_dir / "study")
    assert message in refused(capsys, *flags(log_dir, "--resume"))


def test_a_torn_file_is_refused_before_anything_is_done(
    log_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (log_dir / "study" / "results.json").unlink()
    (log_dir / "study" / "cnn" / "checkpoint.1.part").write_bytes(b"PK")
    before = sorted(log_dir.rglob("*"))
    assert "checkpoint.1.part is no checkpoint of runs" in refused(capsys, *flags(log_dir, "--resume"))
    assert sorted(log_dir.rglob("*")) == before


def test_a_study_that_was_killed_before_it_wrote_anything_is_begun(
    tmp_path: Path, real_digits: dict[str, np.ndarray]
) -> None:
    lay_digits(tmp_path / "digits", real_digits)
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / ".lock").touch()
    (tmp_path / "study" / "study.json.7.tmp").write_text("{")
    train.main(flags(tmp_path, "--workers", "1", "--resume"))
    assert len(json.loads((tmp_path / "study" / "results.json").read_text())["rows"]) == 3
    assert not list(tmp_path.rglob("*.tmp"))
