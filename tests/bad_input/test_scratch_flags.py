"""Wrong flags of the commands of the framework from scratch."""

from pathlib import Path

import pytest
from refusal import refusal

from scratch_framework.__main__ import chosen_net
from scratch_framework.__main__ import main as scratch
from scratch_framework.experiments.digits.command import DigitFlags
from scratch_framework.experiments.disc.command import DiscFlags

HUGE = "99999999999999999999"
DISC = "--max_epochs 1 --runs 1 --train_points 20 --val_points 10 --test_points 10"
DIGITS = "--net auxiliary --workers 1 --max_epochs 1 --runs 1 --train_pairs 20 --val_pairs 10 --test_pairs 10"

WRONG_DISC = {
    "--runs 1000000000": "runs must be at most 100000, got 1000000000",
    f"--train_points {HUGE}": "train_points must be at most 100000000",
    "--train_points 60000000 --runs 2": "train_points must be at most 50000000, got 60000000",
    f"--val_points {HUGE}": "val_points must be at most 100000000",
    f"--test_points {HUGE}": "test_points must be at most 100000000",
    f"--batch_size {HUGE}": "batch_size must be at most 100000000",
    f"--max_epochs {HUGE}": "max_epochs must be at most 1000000",
    "--lr nan": "--lr must be a number, got 'nan'",
    "--lr .nan": "lr must be at least 0 and finite, got nan",
    "--weight_decay .inf": "weight_decay must be at least 0 and finite, got inf",
    "--momentum -1": "momentum must be at least 0 and finite, got -1.0",
    "--widths=": "widths must be whole numbers with commas between, got ''",
    "--widths -3": "widths must be sizes of at least 1, got -3",
    "--widths 1e3": "widths must be whole numbers with commas between, got '1e3'",
    "--widths 25,,25": "widths must be whole numbers with commas between, got '25,,25'",
    "--widths 1000000,1000000": "at most 1024, got 1000000,1000000",
    "--activations x": "activations must be one after each of the 4 layers, got 1: x",
    "--initialisation x": "--initialisation must be one of paper, default, got 'x'",
    "--standardise maybe": "--standardise must be true or false, got 'maybe'",
    "--loss mae": "--loss must be one of mse, bce, ce, got 'mae'",
    "--reduction max": "--reduction must be one of mean, sum, got 'max'",
    "--optimizer lion": "--optimizer must be one of sgd, adam, adamw, got 'lion'",
    "--schedule step": "--schedule must be one of",
    "--order random": "--order must be one of fixed, shuffled, got 'random'",
    "--disc square": "--disc must be one of radius, diameter, got 'square'",
    "--points x": "--points must be one of uniform, normal, got 'x'",
    "--compile maybe": "--compile must be true or false, got 'maybe'",
    "--precision 16-true": "--precision must be one of 32-true, 64-true, got '16-true'",
    "--mistake all": "--mistake must be one of none, bias_per_row, got 'all'",
    "--resume": "unrecognized arguments: --resume; --help lists all flags",
    "--log_dir /proc/nowhere": "choose another log_dir, or make it writable",
}
WRONG_DIGITS = {
    "--seed 4294967295 --runs 2": "seed must be below 2**32",
    f"--runs {HUGE}": "runs must be at most 100000",
    "--train_pairs 1": "train_pairs must be at least 2, got 1",
    f"--train_pairs {HUGE}": "train_pairs must be at most 100000000",
    "--val_pairs -1": "val_pairs must be at least 0, got -1",
    "--test_pairs 0": "test_pairs must be at least 1, got 0",
    f"--batch_size {HUGE}": "batch_size must be at most 100000000",
    f"--max_epochs {HUGE}": "max_epochs must be at most 1000000",
    "--lr nan": "--lr must be a number, got 'nan'",
    "--lr 1e400": "lr must be above 0 and finite, got inf",
    "--alpha -1": "alpha must be at least 0 and finite, got -1.0",
    "--gamma .inf": "gamma must be at least 0 and finite, got inf",
    f"--workers {HUGE}": "workers must be at most 1024",
    "--replicas -2": "replicas must be at least 1, got -2",
    "--precision 8": "--precision must be one of",
    "--data_dir /dev/null": "/dev/null: no such folder; data_dir must hold the four IDX files",
}
CASES = [
    *((DISC, flags, message) for flags, message in WRONG_DISC.items()),
    *((DIGITS, flags, message) for flags, message in WRONG_DIGITS.items()),
]


@pytest.mark.parametrize(("base", "flags", "message"), CASES)
def test_a_wrong_flag_is_one_line_that_says_which_why_and_what(
    base: str, flags: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = [*base.split(), "--log_dir", str(tmp_path / "runs"), *flags.split()]
    assert message in refusal(scratch, args, tmp_path, capsys)


@pytest.mark.parametrize(
    ("args", "net"),
    [
        ([], "mlp"),
        (["--net", "cnn"], "cnn"),
        (["--net"], "mlp"),
        (["--config", "cnn.yaml"], "cnn"),
        (["--config=~/cnn.yaml"], "cnn"),
        (["--config", "cnn.yaml", "--config", "runs.yaml"], "cnn"),
        (["--config", "cnn.yaml", "--config", "mlp.yaml"], "mlp"),
        (["--config", "cnn.yaml", "--net", "auxiliary"], "auxiliary"),
        (["--net", "auxiliary", "--config", "cnn.yaml"], "cnn"),
        (["--net", "auxiliary", "--config", "runs.yaml"], "auxiliary"),
        (["--config", "nowhere.yaml"], "mlp"),
        (["--config", "torn.yaml"], "mlp"),
    ],
)
def test_of_flags_and_settings_files_the_last_one_that_names_a_net_wins(
    args: list[str], net: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, content in {"cnn": "net: cnn", "mlp": "net: mlp", "runs": "runs: 3", "torn": "{"}.items():
        Path(f"{name}.yaml").write_text(content)
    assert chosen_net(args) == net


def test_a_net_of_the_other_chapter_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "inner.yaml").write_text("net: cnn\n")
    (tmp_path / "outer.yaml").write_text(f"config: {tmp_path / 'inner.yaml'}\n")
    args = ["--config", str(tmp_path / "outer.yaml"), "--log_dir", str(tmp_path / "runs")]
    assert "net must be mlp for points in a disc, got cnn" in refusal(scratch, args, tmp_path, capsys)
    with pytest.raises(ValueError, match="net must be mlp for points in a disc, got auxiliary"):
        DiscFlags(net="auxiliary")
    with pytest.raises(ValueError, match="for pairs of digits, got mlp"):
        DigitFlags(net="mlp")
