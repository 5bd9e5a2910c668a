"""Wrong flags of ``python -m tune`` and its report."""

from pathlib import Path

import pytest
from refusal import refusal

from tune.__main__ import main

HUGE = "99999999999999999999"
BASE = "--model cnn --max_epochs 1 --repeats 1 --train_size 20 --val_size 10 --workers 1"

WRONG = {
    "--seed -1": "seed must be at least 0, got -1",
    "--seed 4294967295 --repeats 2": "seed must be below 2**32",
    "--model x": "--model must be one of",
    "--n_trials -1": "n_trials must be at least 1, got -1",
    f"--n_trials {HUGE}": "n_trials must be at most 1000000",
    f"--repeats {HUGE}": "repeats must be at most 100000",
    "--pruner x": "--pruner must be one of none, median, hyperband, got 'x'",
    "--max_epochs 0": "max_epochs must be at least 1, got 0",
    f"--max_epochs {HUGE}": "max_epochs must be at most 1000000",
    "--train_size 0": "train_size must be at least 2, got 0",
    f"--train_size {HUGE}": "train_size must be at most 100000000",
    "--val_size 0": "val_size must be at least 1, got 0",
    f"--model disc --val_size {HUGE}": "val_size must be at most 100000000",
    "--mistake bias_per_row": "mistake has no effect on cnn, only on disc; leave it out",
    "--mistake x": "--mistake must be one of none, bias_per_row, got 'x'",
    "--data_dir nowhere": "nowhere: no such folder; data_dir must hold the four IDX files",
    "--timeout nan": "--timeout must be a number, got 'nan'",
    "--timeout .nan": "timeout must be above 0 and finite, got nan",
    "--timeout -1": "timeout must be above 0 and finite, got -1.0",
    f"--workers {HUGE}": "workers must be at most 1024",
    "--accelerator abacus": "abacus",
    "--accelerator tpu": "torch_xla",
    "--study_name ..": "name must be a plain folder name, got '..'",
    f"--study_name {'x' * 300}": "name must be of at most 200 bytes, got 300",
    "--log_dir /dev/null": "choose another log_dir, or make it writable",
    "--lr 0.1": "unrecognized arguments: --lr 0.1; --help lists all flags",
}
WRONG_REPORT = {
    "": "study_name",
    "--study_name none": "there is no study none in",
    "--study_name a/b": "name must be a plain folder name, got 'a/b'",
    "--study_name none --top 0": "top must be at least 1, got 0",
    "--study_name none --top x": "--top must be a whole number, got 'x'",
    "--study_name none --storage x": "storage must be an URL such as postgresql://",
}


@pytest.mark.parametrize("flags", WRONG)
def test_a_wrong_flag_is_one_line_that_says_which_why_and_what(
    flags: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = [*BASE.split(), "--log_dir", str(tmp_path / "runs"), *flags.split()]
    assert WRONG[flags] in refusal(main, args, tmp_path, capsys)


@pytest.mark.parametrize("url", ["sqlite:////nowhere/x.db", "mysql://me@here/x", "postgresql://", ""])
def test_a_storage_that_cannot_be_is_one_line(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = [*BASE.split(), "--model", "disc", "--log_dir", str(tmp_path / "runs"), "--storage", url]
    assert "storage" in refusal(main, args, tmp_path, capsys)


@pytest.mark.parametrize("flags", WRONG_REPORT)
def test_a_report_that_cannot_be_is_one_line(
    flags: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["report", "--log_dir", str(tmp_path / "runs"), *flags.split()]
    assert WRONG_REPORT[flags] in refusal(main, args, tmp_path, capsys)
