"""Which precision a recipe computes in: its own only where the machine is fast in it; a person is told."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import train
from lightning_modules.training import precision
from lightning_modules.training.precision import recipe_precision

FAST, SLOW = {"avx2": True, "avx512bf16": True}, {"avx2": True, "avx512bf16": False}


def have(monkeypatch: pytest.MonkeyPatch, features: dict[str, bool], gpu: bool = False) -> None:
    """Run on another machine."""
    monkeypatch.setattr(precision, "get_host_cpu_features", lambda: features)
    monkeypatch.setattr("torch.accelerator.is_available", lambda: gpu)


@pytest.mark.parametrize(
    ("features", "gpu", "accelerator", "chosen", "said"),
    [
        (FAST, False, "auto", "bf16-mixed", "the recipe's"),
        ({"amx-bf16": True}, False, "cpu", "bf16-mixed", "the recipe's"),
        (FAST, True, "cpu", "bf16-mixed", "the recipe's"),
        (SLOW, False, "auto", "32-true", "no instructions"),
        ({}, False, "cpu", "32-true", "no instructions"),
        (FAST, True, "auto", "32-true", "for CPUs"),
        (FAST, True, "gpu", "32-true", "for CPUs"),
    ],
)
def test_half_precision_is_for_cpus_with_instructions_for_it(
    features: dict[str, bool],
    gpu: bool,
    accelerator: str,
    chosen: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    have(monkeypatch, features, gpu)
    precision, remark = recipe_precision("bf16-mixed", accelerator)
    assert precision == chosen
    assert chosen in remark
    assert said in remark


def test_a_recipe_in_float32_has_it_everywhere_and_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    have(monkeypatch, FAST)
    assert recipe_precision("32-true", "auto") == ("32-true", "")


def run(folder: Path, name: str, *flags: str) -> dict[str, Any]:
    small = ["--train_pairs", "50", "--val_pairs", "0", "--test_pairs", "20", "--max_epochs", "1"]
    small += ["--runs", "1", "--workers", "1", "--model", "auxiliary", "--accelerator", "cpu"]
    train.main([*small, "--log_dir", str(folder), "--name", name, *flags])
    config = yaml.safe_load((folder / name / "auxiliary" / "config.yaml").read_text())
    results: dict[str, Any] = json.loads((folder / name / "results.json").read_text())
    assert results["config"]["precision"] == config["precision"]
    return config


@pytest.mark.parametrize(
    ("features", "flags", "chosen"),
    [
        (FAST, ["--recipe", "modern", "--width", "4"], "bf16-mixed"),
        (SLOW, ["--recipe", "modern", "--width", "4"], "32-true"),
        (FAST, ["--recipe", "modern", "--width", "4", "--precision", "64-true"], "64-true"),
        (FAST, ["--recipe", "paper"], "32-true"),
    ],
)
def test_a_study_says_and_keeps_its_precision(
    features: dict[str, bool],
    flags: list[str],
    chosen: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    have(monkeypatch, features)
    assert run(tmp_path, "first", *flags)["precision"] == chosen
    by_recipe = "modern" in flags and "--precision" not in flags
    assert (f"precision {chosen}" in capsys.readouterr().out) == by_recipe


def test_a_config_file_takes_its_precision_to_any_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    have(monkeypatch, FAST)
    run(tmp_path, "first", "--recipe", "modern", "--width", "4")
    have(monkeypatch, SLOW)
    config = str(tmp_path / "first" / "auxiliary" / "config.yaml")
    assert run(tmp_path, "second", "--config", config)["precision"] == "bf16-mixed"
