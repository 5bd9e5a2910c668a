"""The command ``python -m scratch_framework``, as a person runs it."""

import json
import signal
import subprocess
import sys
import time
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import yaml
from events import events, scalars
from processes import let_compute
from refusal import one_line

from scratch_framework.__main__ import main
from scratch_framework.experiments.disc.command import DiscFlags
from scratch_framework.experiments.disc.experiment import Experiment
from scratch_framework.experiments.disc.learners import ScratchLearner
from scratch_framework.experiments.disc.points import DataConfig
from scratch_framework.experiments.disc.recipe import PAPER, RECIPES, Recipe
from scratch_framework.experiments.disc.training import evaluate, examples

ROOT = Path(__file__).parents[4]
TINY = ["--runs", "3", "--max_epochs", "2", "--train_points", "100", "--val_points", "50"]
TINY += ["--test_points", "60"]


def run(log_dir: Path, name: str, *args: str) -> dict[str, Any]:
    main([*TINY, "--log_dir", str(log_dir), "--name", name, *args])
    return json.loads((log_dir / name / "results.json").read_text())


def test_bare_flags_are_the_papers(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--print_config"])
    config = yaml.safe_load(capsys.readouterr().out)
    assert (config["recipe"], config["runs"], PAPER.mistake) == ("paper", 15, "none")
    assert (config["train_points"], config["test_points"]) == (1000, 1000)
    assert (PAPER.widths, PAPER.activations) == ("25,25,25", "tanh,relu,relu,tanh")
    assert (PAPER.lr, PAPER.weight_decay, PAPER.max_epochs, PAPER.batch_size) == (0.005, 1e-6, 250, 50)


class Both(NamedTuple):
    """One recipe by both backends, in one log folder."""

    folder: Path
    results: dict[str, Any]  # by the framework
    printed: str
    curves: dict[str, dict[str, list[tuple[int, float]]]]  # by backend


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    folder = tmp_path_factory.mktemp("runs")
    flags = ["--recipe", "modern", "--precision", "64-true", "--seed", "5"]
    with redirect_stdout(StringIO()) as printed:
        results = run(folder, "scratch", *flags)
        run(folder, "torch", *flags, "--backend", "torch")
    curves = {backend: scalars(folder / backend / "disc") for backend in ("scratch", "torch")}
    return Both(folder, results, printed.getvalue(), curves)


def test_an_experiment_leaves_results_events_config_checkpoint_and_figures(both: Both) -> None:
    assert both.results["seeds"] == [5, 6, 7]
    for number, row in enumerate(both.results["rows"]):
        errors = ["train_error", "test_error", "val_error"]
        assert list(row) == ["model", "recipe", "replica", "seed", *errors]
        assert (row["model"], row["recipe"], row["replica"]) == ("disc", "modern", number)
        assert all(0 <= row[name] <= 1 for name in errors)
    assert [summary["n"] for summary in both.results["summary"]] == [3]
    files = {path.name.partition(".out")[0] for path in (both.folder / "scratch" / "disc").iterdir()}
    figures = {f"figure_{name}.png" for name in ("2.1_data", "2.2_network", "2.3_loss", "2.4_prediction")}
    assert files == figures | {"events", "config.yaml", "checkpoint.pt"}
    assert "paper" not in both.printed  # whose figures are of another recipe
    assert "validation error" in both.printed


@pytest.mark.parametrize(
    ("recipe", "flags", "shown"),
    [
        (PAPER, {}, True),
        (replace(PAPER, lr=0.01, mistake="bias_per_row"), {}, True),
        (replace(PAPER, max_epochs=3), {}, False),
        (RECIPES["modern"], {}, False),
        (PAPER, {"train_points": 500}, False),
        (PAPER, {"points": "normal"}, False),
    ],
)
def test_the_papers_figures_stand_beside_its_own_net_and_task_only(
    recipe: Recipe, flags: dict[str, Any], shown: bool
) -> None:
    assert Experiment(DiscFlags(**flags), recipe).as_in_paper() == shown


def test_the_dashboard_gets_the_projects_vocabulary(both: Both) -> None:
    found, rows = both.curves["scratch"], both.results["rows"]
    for tag in ("train/loss", "train/error", "val/loss", "val/error"):
        assert [step for step, _ in found[tag]] == [2, 4]
        assert [step for step, _ in found[f"zone/{tag}_low"]] == [2, 4]
    for name in ("test", "val"):
        ((step, value),) = found[f"when_trained/{name}_error"]
        assert step == 4
        assert value == pytest.approx(sum(row[f"{name}_error"] for row in rows) / 3)
    assert len(events(both.folder / "scratch" / "disc").Tags()["images"]) == 4


def test_both_backends_lie_in_one_dashboard_and_agree(both: Both) -> None:
    ours, theirs = both.curves["scratch"], both.curves["torch"]
    assert ours.keys() == theirs.keys()
    for tag, points in theirs.items():
        values = [value for _, value in points]
        assert [value for _, value in ours[tag]] == pytest.approx(values, abs=1e-6)  # kept as float32


def test_the_checkpoint_gives_the_reported_errors(tmp_path: Path) -> None:
    results = run(tmp_path, "kept", "--mistake", "bias_per_row")
    checkpoint = torch.load(tmp_path / "kept" / "disc" / "checkpoint.pt", weights_only=True)
    recipe = replace(PAPER, mistake="bias_per_row", max_epochs=2)
    learner = ScratchLearner(recipe, checkpoint["seeds"], 4, compiled=False)
    learner.model.load_state_dict(checkpoint["state_dict"])
    test = examples(recipe, DataConfig().draw("test", 60, [0, 1, 2]), torch.float32)
    _, error = evaluate(learner, recipe, test)
    assert error.tolist() == pytest.approx([row["test_error"] for row in results["rows"]])


@pytest.mark.slow
def test_the_same_command_gives_the_same_figures_to_the_bit_and_so_does_its_config_file(
    tmp_path: Path,
) -> None:
    flags = ["--recipe", "modern", "--lr", "0.003", "--widths", "9"]
    flags += ["--activations", "tanh,none", "--points", "normal"]
    first = run(tmp_path, "first", *flags)
    assert run(tmp_path, "second", *flags)["rows"] == first["rows"]
    config = tmp_path / "first" / "disc" / "config.yaml"
    main(["--config", str(config), "--name", "third"])
    third = json.loads((tmp_path / "third" / "results.json").read_text())
    assert third["rows"] == first["rows"]
    assert third["config"] == first["config"]


def test_without_validation_points_there_is_no_validation_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = run(tmp_path, "no-val", "--val_points", "0")
    assert "val_error" not in results["rows"][0]
    assert "validation error" not in capsys.readouterr().out
    assert "val/loss" not in scalars(tmp_path / "no-val" / "disc")


def test_a_console_that_fails_costs_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("scratch_framework.experiments.disc.experiment.results_table", lambda *_: 1 / 0)
    with pytest.raises(SystemExit):
        run(tmp_path, "mine")
    assert "unexpected ZeroDivisionError" in capsys.readouterr().err
    assert (tmp_path / "mine" / "disc" / "checkpoint.pt").exists()


def refused(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    return one_line(main, [*TINY, *args], capsys)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--run", "3"], "unrecognized arguments: --run"),
        (["--recipe", "cake"], "--recipe must be one of"),
        (["--backend", "numpy"], "--backend must be one of"),
        (["--runs", "0"], "runs must be at least 1, got 0"),
        (["--seed", "-1"], "seed must be at least 0, got -1"),
        (["--max_epochs", "0"], "max_epochs must be at least 1, got 0"),
        (["--batch_size", "0"], "batch_size must be at least 1, got 0"),
        (["--lr", "-0.1"], "lr must be at least 0 and finite, got -0.1"),
        (["--weight_decay", "-1"], "weight_decay must be at least 0 and finite, got -1.0"),
        (["--widths", "25,x"], "widths must be whole numbers with commas between, got '25,x'"),
        (["--widths", "25,0"], "widths must be sizes of at least 1, got 25,0"),
        (["--activations", "tanh"], "activations must be one after each of the 4 layers, got 1: tanh"),
        (["--activations", "tanh,tanh,swish,tanh"], "got 'swish'"),
        (["--recipe", "modern", "--momentum", "0.9"], "momentum has no effect on adam"),
        (["--train_points", "0"], "train_points must be at least 1, got 0"),
        (["--val_points", "-3"], "val_points must be at least 0, got -3"),
        (["--test_points", "0"], "test_points must be at least 1, got 0"),
        (["--backend", "torch", "--mistake", "bias_per_row"], "needs the backend scratch"),
        (["--backend", "torch", "--compile", "true"], "compile is the framework's"),
        (["--mistake", "bias_per_row", "--compile", "true"], "--compile false trains without"),
        (["--name", "a/b"], "name must be a plain folder name, got 'a/b'"),
        (["--name", ".."], "name must be a plain folder name, got '..'"),
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_a_wrong_flag_is_one_line_and_leaves_nothing_behind(
    args: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refused(capsys, "--log_dir", str(tmp_path / "runs"), *args)
    assert not (tmp_path / "runs").exists()


def test_an_existing_name_is_refused_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "results.json").write_text("precious")
    assert "exists" in refused(capsys, "--log_dir", str(tmp_path), "--name", "mine")
    assert (tmp_path / "mine" / "results.json").read_text() == "precious"


def test_a_log_dir_that_cannot_be_a_folder_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert str(tmp_path / "file") in refused(capsys, "--log_dir", str(tmp_path / "file"))


def test_ctrl_c_ends_with_130_and_one_line_and_keeps_the_curves(tmp_path: Path) -> None:
    flags = ["--log_dir", str(tmp_path), "--name", "cut", "--runs", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "scratch_framework", *flags, "--max_epochs", "100000"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list(tmp_path.glob("cut/disc/events*")):
        assert process.poll() is None
        time.sleep(0.1)
    let_compute(process.pid, 2)
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 130
    assert complaint == "python -m scratch_framework: error: interrupted; what was finished is kept\n"
    assert len(scalars(tmp_path / "cut" / "disc")["train/loss"]) > 1
