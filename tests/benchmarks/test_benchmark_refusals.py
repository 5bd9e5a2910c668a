"""Benchmarks refuse bad input before they measure or train, and leave nothing behind."""

import os
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path

import pytest
from refusal import Main, refusal

from lightning_modules.command import cli

OUT = ("--out", "new/place")  # a folder or a file, that is not there yet
FOLDER = ("--folder", "new/place")


def command(name: str) -> Main:
    """The main function of a benchmark."""
    return partial(
        cli.run, getattr(import_module(f"benchmarks.{name}"), name), f"python -m benchmarks.{name}"
    )


@pytest.mark.parametrize(
    ("name", "args", "why"),
    [
        ("step", ["--turns", "0", *OUT], "turns must be at least 1, got 0"),
        ("replicate", ["--turns", "0", *OUT], "turns must be at least 1, got 0"),
        ("replicate", ["--steps", "0", *OUT], "steps must be at least 1, got 0"),
        ("replicate", ["--nets", "x", *OUT], "nets must be of cnn"),
        ("replicate", ["--replicas", "1" + "0" * 20, *OUT], "replicas must be at most 100000000, got 1000"),
        ("gpu", ["--turns", "0", *OUT], "turns must be at least 1, got 0"),
        ("gpu", ["--n_trials", "65", *OUT], "n_trials must be at most 64, got 65"),
        ("gpu", ["--repeats", "0", *OUT], "repeats must be at least 1, got 0"),
        ("gpu", ["--max_epochs", "0", *OUT], "max_epochs must be at least 1, got 0"),
        ("gpu", ["--accelerator", "x", *OUT], "You selected an invalid accelerator name"),
        ("study", ["--runs", "0", *OUT], "runs must be at least 1, got 0"),
        ("study", ["--max_epochs", "0", *OUT], "max_epochs must be at least 1, got 0"),
        ("study", ["--turns", "0", *OUT], "turns must be at least 1, got 0"),
        ("growth", ["--turns", "0", *OUT], "turns must be at least 1, got 0"),
        ("growth", ["--pairs", "1", *OUT], "train_pairs must be at least 2, got 1"),
        ("scratch_step", ["--repeats", "0", *OUT], "repeats must be at least 1, got 0"),
        ("scratch_digits", ["--turns", "0", *OUT], "turns must be at least 1, got 0"),
        ("tuning", ["--n_trials", "0", *OUT], "n_trials must be at least 1, got 0"),
        ("tuning", ["--n_trials", "65", *OUT], "n_trials must be at most 64, got 65"),
        ("tuning", ["--plain_trainings", "0", *OUT], "plain_trainings must be at least 1, got 0"),
        ("queue", ["--trials_per_fit", "0"], "trials_per_fit must be at least 1, got 0"),
        ("queue", ["--points", "0"], "points must be at least 6, got 0"),
        ("step_profile", ["--turns", "0"], "turns must be at least 1, got 0"),
        ("step_profile", ["--replicas", "0"], "replicas must be at least 1, got 0"),
        ("ablation", ["--runs", "0", *OUT], "runs must be at least 1, got 0"),
        ("ablation", ["--seed", "-1", *OUT], "seed must be at least 0, got -1"),
        ("ablation", ["--max_epochs", "0", *OUT], "max_epochs must be at least 1, got 0"),
        ("pairs_growth", ["--runs", "0", *OUT], "runs must be at least 1, got 0"),
        ("pairs_growth", ["--seed", str(2**32), *OUT], "seed must be below 2**32"),
        ("pairs_growth", ["--quick", "--max_epochs", "7", *OUT], "have no effect with quick"),
        ("pairs_growth", ["--quick", "--most_pairs", "100", *OUT], "have no effect with quick"),
        ("discovery", ["--max_epochs", "0", *OUT], "max_epochs must be at least 1, got 0"),
        ("discovery", ["--seed", "-1", *OUT], "seed must be at least 0, got -1"),
        ("latent_digits", ["--runs", "0", *OUT], "runs must be at least 1, got 0"),
        ("latent_digits", ["--train_pairs", "0", *OUT], "train_pairs must be at least 2, got 0"),
        ("paper_mistake", ["--runs", "0", *OUT], "runs must be at least 1, got 0"),
        ("paper_mistake", ["--max_epochs", "0", *OUT], "max_epochs must be at least 1, got 0"),
        ("paper_mistake", ["--seed", str(2**32 - 10), *OUT], "seed must be below 2**32"),
        ("boundaries", ["--max_epochs", "0", *FOLDER], "max_epochs must be at least 1, got 0"),
        ("boundaries", ["--seed", "-1", *FOLDER], "seed must be at least 0, got -1"),
        ("pictures", ["--seed", "-1", *FOLDER], "seed must be at least 0, got -1"),
    ],
)
def test_wrong_numbers_are_refused_and_no_folder_is_left_behind(
    name: str,
    args: Sequence[str],
    why: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert why in refusal(command(name), args, tmp_path, capsys)


@pytest.mark.parametrize(
    ("name", "flag", "files"),
    [
        *((name, "--out", [""]) for name in ("step", "replicate", "gpu", "study", "scratch_step")),
        *((name, "--out", [""]) for name in ("scratch_digits", "tuning", "paper_mistake")),
        ("growth", "--out", [".json", ".png"]),
        ("ablation", "--out", ["/cnn.csv", "/cnn.png", "/auxiliary.csv"]),
        ("pairs_growth", "--out", ["/pairs-growth.csv", "/pairs-growth.png"]),
        ("discovery", "--out", ["/discovery.gif", "/discovery.png"]),
        ("latent_digits", "--out", ["/confusion.json", "/confusion.png", "/checkpoint.ckpt"]),
        ("boundaries", "--folder", ["/disc.gif", "/disc-boundaries.png"]),
        ("pictures", "--folder", ["/pairs.png", "/augmented.png"]),
    ],
)
def test_a_file_that_cannot_be_written_is_refused_before_anything_is_computed(
    name: str,
    flag: str,
    files: Sequence[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for number, file in enumerate(files):
        place = Path(f"{number}{file}")
        place.parent.mkdir(exist_ok=True)
        os.mkfifo(place)
        assert "it is a device or a pipe" in refusal(command(name), [flag, str(number)], tmp_path, capsys)


@pytest.mark.parametrize("content", [b"", b"\xff\x00", b"row,model\n", b"\0"])
@pytest.mark.parametrize(("name", "file"), [("ablation", "cnn.csv"), ("pairs_growth", "pairs-growth.csv")])
def test_a_damaged_record_is_refused(
    name: str, file: str, content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / file).write_bytes(content)
    said = refusal(command(name), ["--out", str(tmp_path), "--resume"], tmp_path, capsys)
    assert f"{file} " in said
    assert said.endswith("; move it away\n")


def test_what_is_no_notebook_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for content in ("", "{}", "no notebook"):
        (tmp_path / "x.ipynb").write_text(content)
        args = ["--notebook", str(tmp_path / "x.ipynb")]
        assert "x.ipynb is no notebook" in refusal(command("tour"), args, tmp_path, capsys)
