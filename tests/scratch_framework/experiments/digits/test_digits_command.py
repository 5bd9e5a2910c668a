"""The command ``python -m scratch_framework --net``, as a person runs it."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from events import scalars
from matplotlib.image import imread
from processes import let_compute
from refusal import one_line

from datamodules import DigitPairs
from scratch_framework.__main__ import main
from scratch_framework.experiments.digits.learner import make_learner
from scratch_framework.experiments.digits.training import evaluate
from train import main as train_main

ROOT = Path(__file__).parents[4]
TINY = ["--runs", "3", "--max_epochs", "2", "--train_pairs", "100", "--val_pairs", "50", "--test_pairs", "60"]


def run(log_dir: Path, name: str, *args: str) -> dict[str, Any]:
    main([*TINY, "--workers", "1", "--log_dir", str(log_dir), "--name", name, *args])
    return json.loads((log_dir / name / "results.json").read_text())


@pytest.mark.parametrize("net", ["cnn", "weight_sharing", "auxiliary"])
def test_bare_flags_are_the_papers(net: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--net", net, "--print_config"])
    config = yaml.safe_load(capsys.readouterr().out)
    assert (config["net"], config["recipe"], config["runs"]) == (net, "paper", 15)
    assert (config["train_pairs"], config["test_pairs"]) == (1000, 1000)


def test_scratch_and_lightning_leave_the_same_keys_tags_and_steps(tmp_path: Path) -> None:
    ours = run(tmp_path, "scratch", "--net", "auxiliary")
    flags = [*TINY, "--workers", "1", "--log_dir", str(tmp_path), "--name", "lightning"]
    train_main([*flags, "--model", "auxiliary"])
    theirs = json.loads((tmp_path / "lightning" / "results.json").read_text())
    assert ours.keys() == theirs.keys()
    assert ours["summary"][0].keys() == theirs["summary"][0].keys()
    for mine, other in zip(ours["rows"], theirs["rows"], strict=True):
        assert list(mine) == list(other)
        assert [mine[key] for key in ("model", "recipe", "replica", "seed")] == [
            other[key] for key in ("model", "recipe", "replica", "seed")
        ]
        assert all(0 <= mine[key] <= 1 for key in mine if key.endswith("error"))
    curves, other_curves = (scalars(tmp_path / name / "auxiliary") for name in ("scratch", "lightning"))
    assert curves.keys() == other_curves.keys()
    for tag, points in other_curves.items():
        assert [step for step, _ in curves[tag]] == [step for step, _ in points]
    first = curves["train/loss"][0][1], other_curves["train/loss"][0][1]
    assert first[0] == pytest.approx(first[1], rel=0.1)  # same weights, pairs and order; other units dropped


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    run(folder, "kept", "--net", "weight_sharing", "--precision", "64-true", "--seed", "5")
    return folder


def test_an_experiment_leaves_results_events_config_and_checkpoint(kept: Path) -> None:
    results = json.loads((kept / "kept" / "results.json").read_text())
    assert results["seeds"] == [5, 6, 7]
    assert (results["summary"][0]["model"], results["summary"][0]["n"]) == ("weight_sharing", 3)
    pixels = imread(kept / "kept" / "results.png")
    assert len(np.unique(pixels.reshape(-1, pixels.shape[-1]), axis=0)) > 20  # no blank figure
    files = {path.name.partition(".out")[0] for path in (kept / "kept" / "weight_sharing").iterdir()}
    assert files == {"events", "config.yaml", "checkpoint.pt"}


def test_the_checkpoint_gives_the_reported_errors(kept: Path) -> None:
    results = json.loads((kept / "kept" / "results.json").read_text())
    checkpoint = torch.load(kept / "kept" / "weight_sharing" / "checkpoint.pt", weights_only=True)
    learner = make_learner(checkpoint["net"], checkpoint["seeds"], checkpoint["settings"], torch.float64)
    learner.model.load_state_dict(checkpoint["state_dict"])
    data = DigitPairs(train_pairs=100, val_pairs=50, test_pairs=60, seed=checkpoint["seeds"])
    data.setup()
    for stage, loader in (("train", data.train_dataloader()), ("test", data.test_dataloader())):
        errors = evaluate(stage, learner, loader)[f"{stage}/error"]
        assert errors == pytest.approx([row[f"{stage}_error"] for row in results["rows"]])


@pytest.mark.parametrize(
    "division", [("--replicas", "1"), pytest.param(("--workers", "2"), marks=pytest.mark.slow)]
)
def test_how_runs_are_divided_among_programs_changes_no_figure(
    kept: Path, tmp_path: Path, division: tuple[str, str]
) -> None:
    results = json.loads((kept / "kept" / "results.json").read_text())
    flags = ["--net", "weight_sharing", "--precision", "64-true", "--seed", "5", *division]
    assert run(tmp_path, "again", *flags)["rows"] == results["rows"]


def test_the_config_file_alone_repeats_the_experiment(kept: Path, tmp_path: Path) -> None:
    results = json.loads((kept / "kept" / "results.json").read_text())
    config = str(kept / "kept" / "weight_sharing" / "config.yaml")
    main(["--config", config, "--log_dir", str(tmp_path), "--name", "again"])
    again = json.loads((tmp_path / "again" / "results.json").read_text())
    assert again["rows"] == results["rows"]


def test_without_validation_pairs_there_is_no_validation_error(tmp_path: Path) -> None:
    results = run(tmp_path, "no-val", "--net", "cnn", "--val_pairs", "0")
    assert "val_error" not in results["rows"][0]
    assert "val/loss" not in scalars(tmp_path / "no-val" / "cnn")


def test_a_console_that_fails_costs_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("scratch_framework.experiments.digits.experiment.results_table", lambda *_: 1 / 0)
    with pytest.raises(SystemExit):
        run(tmp_path, "mine", "--net", "cnn", "--workers", "1")
    assert "unexpected ZeroDivisionError" in capsys.readouterr().err
    assert (tmp_path / "mine" / "results.png").exists()
    assert (tmp_path / "mine" / "cnn" / "checkpoint.pt").exists()


def refused(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    return one_line(main, [*TINY, *args], capsys)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["--net", "cake"],
            "--net must be one of mlp, cnn, weight_sharing, auxiliary, got 'cake'",
        ),
        (["--net"], "expected one argument"),
        (["--net", "mlp"], "unrecognized arguments: --train_pairs"),
        (["--net", "cnn", "--widths", "25"], "unrecognized arguments: --widths"),
        (["--net", "cnn", "--recipe", "modern"], "--recipe must be one of"),
        (["--net", "cnn", "--alpha", "1"], "alpha has no effect on cnn; leave it out"),
        (["--net", "cnn", "--runs", "0"], "runs must be at least 1, got 0"),
        (["--net", "cnn", "--seed", "-1"], "seed must be at least 0, got -1"),
        (["--net", "cnn", "--max_epochs", "0"], "max_epochs must be at least 1, got 0"),
        (["--net", "cnn", "--batch_size", "1"], "batch_size must be at least 2, got 1"),
        (["--net", "cnn", "--batch_size", "99"], "leave a last batch of less than 2 pairs"),
        (["--net", "cnn", "--workers", "0"], "workers must be at least 1, got 0"),
        (["--net", "cnn", "--replicas", "0"], "replicas must be at least 1, got 0"),
        (["--net", "cnn", "--lr", "0"], "lr must be above 0 and finite, got 0.0"),
        (["--net", "auxiliary", "--gamma", "-1"], "gamma must be at least 0 and finite, got -1.0"),
        (["--net", "cnn", "--data_dir", "nowhere"], "nowhere"),
        (["--net", "cnn", "--name", "a/b"], "name must be a plain folder name, got 'a/b'"),
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_a_wrong_flag_is_one_line_and_leaves_nothing_behind(
    args: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refused(capsys, "--log_dir", str(tmp_path / "runs"), *args)
    assert not (tmp_path / "runs").exists()


def test_a_file_that_is_no_yaml_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.yaml").write_text("net: [cnn")
    assert "broken.yaml must be a YAML file of settings" in refused(
        capsys, "--config", str(tmp_path / "broken.yaml")
    )


@pytest.mark.slow
def test_ctrl_c_ends_with_130_and_one_line_and_keeps_the_curves(tmp_path: Path) -> None:
    flags = ["--net", "cnn", "--log_dir", str(tmp_path), "--name", "cut", "--runs", "2", "--workers", "1"]
    flags += ["--train_pairs", "50", "--val_pairs", "0", "--max_epochs", "100000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "scratch_framework", *flags],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list(tmp_path.glob("cut/cnn/events*")):
        assert process.poll() is None
        time.sleep(0.1)
    let_compute(process.pid, 2)
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 130
    assert complaint == "python -m scratch_framework: error: interrupted; what was finished is kept\n"
    assert len(scalars(tmp_path / "cut" / "cnn")["train/loss"]) > 1
