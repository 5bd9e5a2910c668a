"""The command ``python train.py``, as a person runs it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from events import events
from refusal import one_line

import train
from datamodules import DigitPairs
from lightning_modules import AuxiliaryLoss
from lightning_modules.models.registry import MODULES
from lightning_modules.results.table import PAPER_FIGURES

ROOT = Path(__file__).parents[1]
CPU = ["--accelerator", "cpu"]
DDP = ["--devices", "2", "--strategy", "ddp"]
TINY = [*CPU, "--max_epochs", "1", "--train_pairs", "100", "--val_pairs", "30", "--test_pairs", "40"]


def run(log_dir: Path, name: str, *args: str) -> dict[str, Any]:
    train.main([*TINY, "--log_dir", str(log_dir), "--name", name, *args])
    return json.loads((log_dir / name / "results.json").read_text())


def errors(results: dict[str, Any]) -> list[dict[str, Any]]:
    return results["rows"]


def test_bare_flags_are_the_papers_figure(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train.main(["--print_config"])
    config = yaml.safe_load(capsys.readouterr().out)
    assert config["model"] == "all"
    assert config["recipe"] == "paper"
    assert (config["runs"], config["train_pairs"], config["test_pairs"]) == (15, 1000, 1000)


def test_an_experiment_leaves_results_events_config_and_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = run(tmp_path, "all", "--runs", "3", "--workers", "2", "--seed", "5")
    assert [row["model"] for row in results["rows"]] == [model for model in MODULES for _ in range(3)]
    assert [row["seed"] for row in results["rows"][:3]] == [5, 6, 7]
    for row in results["rows"]:
        assert all(0 <= row[key] <= 1 for key in row if key.endswith("error"))
        assert ("test_digit_error" in row) == (row["model"] == "auxiliary")
    assert [summary["n"] for summary in results["summary"]] == [3, 3, 3]
    for model in MODULES:
        files = sorted(path.name.partition(".")[0] for path in (tmp_path / "all" / model).iterdir())
        digits = model != "cnn"  # the others have ten outputs a digit, for the projector
        assert (
            files
            == ["checkpoint", "config", "events", "mistakes"] + ["projector", "projector_config"] * digits
        )
        shown = events(tmp_path / "all" / model)
        assert shown.Tags()["graph"]
        (text,) = shown.Tensors("how to repeat/text_summary")
        (markdown,) = text.tensor_proto.string_val
        assert f"| torch | {torch.__version__.partition('+')[0]}".encode() in markdown
        assert f"--config {tmp_path}/all/{model}/config.yaml".encode() in markdown
    printed = capsys.readouterr().out
    for model in MODULES:
        assert model in printed
    assert "paper" not in printed  # other pairs and epochs than the paper's: nothing to compare
    assert (tmp_path / "all" / "results.png").stat().st_size > 10_000


def test_the_checkpoint_holds_all_replicas_and_gives_the_reported_errors(tmp_path: Path) -> None:
    results = run(tmp_path, "aux", "--model", "auxiliary", "--runs", "3", "--workers", "2", "--alpha", "0.5")
    path = tmp_path / "aux" / "auxiliary" / "checkpoint.ckpt"
    module = AuxiliaryLoss.load_from_checkpoint(path, weights_only=True).eval()
    assert module.hparams["seed"] == [0, 1, 2]
    assert module.hparams["alpha"] == 0.5
    assert module.alpha.tolist() == [0.5, 0.5, 0.5]
    data = DigitPairs(train_pairs=100, val_pairs=30, test_pairs=40, seed=[0, 1, 2])
    data.setup()
    (images, target, _), *_ = data.test_dataloader()
    wrong = (module(images).pair.argmax(-1) != target).float().mean(0)
    assert wrong.tolist() == pytest.approx([row["test_error"] for row in errors(results)])


def test_the_same_command_gives_the_same_figures_to_the_bit_and_so_does_its_config_file(
    tmp_path: Path,
) -> None:
    flags = ["--model", "cnn", "--runs", "3", "--workers", "2", "--lr", "0.03"]
    first = run(tmp_path, "first", *flags)
    assert errors(run(tmp_path, "second", *flags)) == errors(first)
    config = tmp_path / "first" / "cnn" / "config.yaml"
    assert yaml.safe_load(config.read_text())["alpha"] is None
    train.main(["--config", str(config), "--name", "third"])
    third = json.loads((tmp_path / "third" / "results.json").read_text())
    assert errors(third) == errors(first)


@pytest.mark.slow
def test_figures_do_not_depend_on_how_replicas_are_spread_over_processes(tmp_path: Path) -> None:
    """Bit for bit in float64; in float32 rounding differs with the number of replicas in a program."""
    flags = ["--model", "weight_sharing", "--runs", "3", "--precision", "64-true"]
    one = run(tmp_path, "one", *flags, "--workers", "1")
    assert errors(run(tmp_path, "two", *flags, "--workers", "2")) == errors(one)


def test_without_validation_pairs_there_is_no_validation_error(tmp_path: Path) -> None:
    results = run(tmp_path, "no-val", "--model", "cnn", "--runs", "1", "--val_pairs", "0")
    assert "val_error" not in errors(results)[0]


def refused(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    return one_line(train.main, args, capsys)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--run", "3"], "unrecognized arguments: --run"),
        (["--model", "resnet"], "--model must be one of"),
        (["--recipe", "cake"], "--recipe must be one of"),
        (["--runs", "0"], "runs must be at least 1, got 0"),
        (["--runs", "many"], "--runs must be a whole number, got 'many'"),
        (["--seed", "-1"], "seed must be at least 0, got -1"),
        (["--max_epochs", "0"], "max_epochs must be at least 1, got 0"),
        (["--batch_size", "1"], "batch_size must be at least 2, got 1"),
        (["--batch_size", "333"], "leave a last batch of less than 2 pairs"),
        (["--lr", "-0.1"], "lr must be above 0 and finite, got -0.1"),
        (["--lr", "inf"], "inf"),
        (["--lr", "nan"], "--lr must be a number, got 'nan'"),
        (["--alpha", "-1"], "alpha must be at least 0 and finite, got -1.0"),
        (["--model", "cnn", "--gamma", "1"], "gamma has no effect on cnn"),
        (["--width", "8"], "width has no effect on cnn, weight_sharing, auxiliary"),
        (
            ["--recipe", "modern", "--model", "cnn", "--label_smoothing", "0.1"],
            "label_smoothing has no effect on cnn",
        ),
        (["--recipe", "modern", "--trunk", "tree"], "--trunk"),
        (["--recipe", "modern", "--augment", "cubist"], "--augment"),
        (["--recipe", "modern", "--model", "cnn", "--head", "argmax"], "head argmax has no gradient"),
        (["--recipe", "modern", "--elastic", "-1"], "elastic must be at least 0, got -1.0"),
        (["--ensemble", "0"], "ensemble must be at least 1, got 0"),
        (
            ["--recipe", "modern", "--model", "auxiliary", "--restarts", "2"],
            "restarts has no effect on auxiliary",
        ),
        (["--all_pairs", "true", *DDP], "all_pairs are tested by one process"),
        (["--train_pairs", "0"], "train_pairs must be at least 2, got 0"),
        (["--val_pairs", "-3"], "val_pairs must be at least 0, got -3"),
        (["--test_pairs", "0"], "test_pairs must be at least 1, got 0"),
        (["--data_dir", "nowhere"], "nowhere: no such folder"),
        (["--accelerator", "tpu"], "torch_xla"),
        (["--accelerator", "abacus"], "abacus"),
        (["--devices", "0"], "devices"),
        (["--strategy", "carrier-pigeon"], "carrier-pigeon"),
        (["--precision", "8-true"], "precision"),
        (["--precision", "16-mixed"], "precision 16-mixed is not for CPUs, Lightning takes bf16-mixed"),
        (["--num_nodes", "0"], "num_nodes"),
        (["--workers", "0"], "workers must be at least 1, got 0"),
        (["--workers", "2", *DDP], "workers must be 1 where Lightning"),
        (["--workers", "2", "--devices", "2"], "workers must be 1 where devices or machines share the runs"),
        (["--num_nodes", "2"], "nothing has started this command on several machines: start it by torchrun"),
        (["--devices", "2", "--strategy", "ddp_spawn"], "strategy must start programs of their own"),
        (["--devices", "2", "--strategy", "ddp_fork"], "strategy must start programs of their own"),
        (
            [*DDP, "--test_pairs", "1"],
            "test_pairs must be at least 2, one for each process, got 1",
        ),
        ([*DDP, "--val_pairs", "1"], "val_pairs must be at least 2, one for each process, got 1"),
        ([*DDP, "--train_pairs", "102"], "leave a last batch of less than 2 pairs"),
        (["--seed", "4294967295", "--runs", "2"], "seed must be below 2**32"),
        (["--name", "a/b"], "name must be a plain folder name, got 'a/b'"),
        (["--name", ".."], "name must be a plain folder name, got '..'"),
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_a_wrong_flag_is_one_line_and_leaves_nothing_behind(
    args: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refused(capsys, *CPU, "--log_dir", str(tmp_path / "runs"), *args)
    assert not (tmp_path / "runs").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, so asking for one is no mistake")
def test_a_missing_gpu_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "gpu" in refused(capsys, "--log_dir", str(tmp_path / "runs"), "--accelerator", "gpu")


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


def test_names_with_brackets_colons_and_spaces_are_printed_as_they_are_typed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "40")
    run(Path("out[/v1] of mine"), "a:car:b[red]", "--model", "cnn", "--runs", "1")
    lines = capsys.readouterr().out.splitlines()
    assert "out[/v1] of mine/a:car:b[red]: results.json, results.png, and a run folder a model" in lines
    assert "tensorboard --logdir 'out[/v1] of mine'" in lines


@pytest.mark.parametrize("error", [RuntimeError("can't allocate memory"), KeyError("x"), KeyboardInterrupt()])
def test_whatever_ends_a_study_that_was_begun_the_hint_how_to_go_on_is_given(
    error: BaseException, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("lightning_modules.training.experiment.run_studies", fail)
    with pytest.raises(SystemExit):
        run(tmp_path, "mine [red]", "--model", "cnn", "--runs", "1")
    assert "to go on, add --name 'mine [red]' --resume\n" in capsys.readouterr().out


def test_a_console_that_fails_costs_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning_modules.training.experiment.results_table", lambda *_: 1 / 0)
    with pytest.raises(SystemExit):
        run(tmp_path, "mine", "--model", "cnn", "--runs", "1")
    assert (tmp_path / "mine" / "results.png").stat().st_size > 10_000
    assert (tmp_path / "mine" / "cnn" / "checkpoint.ckpt").exists()


@pytest.mark.parametrize("where", ["link", "link/below"])
def test_a_log_dir_that_is_a_link_to_nothing_is_said_to_be_one(
    where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    said = refused(capsys, *TINY, "--log_dir", str(tmp_path / where), "--name", "mine")
    assert f"{tmp_path / 'link'} is a link to nowhere, which is not there; make it, or choose" in said


def command(log_dir: Path, name: str, *args: str) -> list[str]:
    flags = [*CPU, "--log_dir", str(log_dir), "--name", name, *args]
    return [sys.executable, str(ROOT / "train.py"), *flags]


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [1.0, 2.0, 3.5, 5.0, 7.0])
def test_ctrl_c_of_a_terminal_is_one_line_whenever_it_comes(seconds: float, tmp_path: Path) -> None:
    """A terminal interrupts the whole group: the command, its fork server and its workers."""
    process = subprocess.Popen(
        command(tmp_path, "cut", "--runs", "2"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 130
    assert complaint.count("\n") == 1, complaint


@pytest.mark.slow
def test_a_full_disk_costs_the_checkpoint_and_not_the_figures(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: results fit, checkpoints do not."""
    limited = ["bash", "-c", 'ulimit -f 200; exec "$@"', "bash"]
    flags = ["--model", "cnn", "--runs", "2", "--max_epochs", "1", "--workers", "2"]
    arguments = [*limited, *command(tmp_path, "full", *flags)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "checkpoint.ckpt could not be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(json.loads((tmp_path / "full" / "results.json").read_text())["rows"]) == 2
    assert not list(tmp_path.rglob("checkpoint*"))  # nor half of one


@pytest.mark.slow
@pytest.mark.parametrize("workers", [["--workers", "1"], ["--workers", "2"]])
def test_ctrl_c_ends_with_130_one_line_and_the_finished_models_results(
    workers: list[str], tmp_path: Path
) -> None:
    process = subprocess.Popen(
        command(tmp_path, "cut", "--runs", "2", "--max_epochs", "4", *workers),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (tmp_path / "cut" / "results.json").exists():
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    said, complaint = process.communicate(timeout=60)
    assert process.returncode == 130
    assert complaint.count("\n") == 1
    assert "interrupted" in complaint
    results = json.loads((tmp_path / "cut" / "results.json").read_text())
    assert results["summary"][0]["model"] == "cnn"
    assert "to go on, add --name cut --resume" in said


@pytest.mark.slow
def test_ddp_with_two_processes_trains_and_counts_every_test_pair_once(tmp_path: Path) -> None:
    """The last batch of test pairs would be of one pair."""
    flags = ["--model", "auxiliary", "--runs", "2", "--max_epochs", "3", "--test_pairs", "101"]
    flags += ["--val_pairs", "0", "--devices", "2", "--strategy", "ddp"]
    subprocess.run(command(tmp_path, "ddp", *flags), check=True, timeout=300)
    rows = json.loads((tmp_path / "ddp" / "results.json").read_text())["rows"]
    module = AuxiliaryLoss.load_from_checkpoint(tmp_path / "ddp" / "auxiliary" / "checkpoint.ckpt").eval()
    data = DigitPairs(test_pairs=101, batch_size=101, seed=[0, 1])
    data.setup()
    (images, target, _), *_ = data.test_dataloader()
    wrong = (module(images).pair.argmax(-1) != target).float().mean(0)
    for row, share in zip(rows, wrong.tolist(), strict=True):
        assert row["test_error"] == pytest.approx(share)
        assert row["test_error"] * 101 == pytest.approx(round(row["test_error"] * 101), abs=1e-4)
        assert row["test_error"] < 0.4
    assert [path.name for path in tmp_path.iterdir()] == ["ddp"]


@pytest.mark.slow
def test_the_bare_command_reproduces_figure_1_5(tmp_path: Path) -> None:
    """CNN and weight sharing within two of the paper's deviations; right labels put auxiliary below 4.5 %."""
    subprocess.run(command(tmp_path, "paper"), check=True, timeout=1200)
    summary = json.loads((tmp_path / "paper" / "results.json").read_text())["summary"]
    means = {row["model"]: row["test_error_mean"] for row in summary}
    assert all(row["n"] == 15 for row in summary)
    for model in ("cnn", "weight_sharing"):
        paper = PAPER_FIGURES[model]
        assert paper.test_std is not None
        assert abs(means[model] - paper.test_mean) < 2 * paper.test_std
    assert means["auxiliary"] < 0.045
