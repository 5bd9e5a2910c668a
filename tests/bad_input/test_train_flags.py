"""Wrong flags of ``python train.py``: each is refused in one line, and nothing is left behind.

Those that are told from the flags alone are in tests/test_train.py, too.
"""

from pathlib import Path

import pytest
from refusal import refusal

import train

BASE = "--accelerator cpu --workers 1 --max_epochs 1 --runs 1 --train_pairs 20 --val_pairs 10 --test_pairs 10"
HUGE = "99999999999999999999"

WRONG = {
    "--seed 1e3": "--seed must be a whole number, got '1000.0'",
    "--seed 4294967296": "seed must be below 2**32",
    f"--seed {HUGE}": "seed must be below 2**32",
    "--runs -1": "runs must be at least 1, got -1",
    "--runs 2.5": "--runs must be a whole number, got '2.5'",
    "--runs null": "--runs must be a whole number, got 'None'",
    "--runs 1000000000": "runs must be at most 100000, got 1000000000",
    f"--runs {HUGE}": "runs must be at most 100000",
    "--max_epochs -1": "max_epochs must be at least 1, got -1",
    f"--max_epochs {HUGE}": "max_epochs must be at most 1000000",
    "--batch_size -5": "batch_size must be at least 2, got -5",
    f"--batch_size {HUGE}": "batch_size must be at most 100000000",
    "--train_pairs 1000000000": "train_pairs must be at most 100000000, got 1000000000",
    f"--train_pairs {HUGE}": "train_pairs must be at most 100000000",
    f"--val_pairs {HUGE}": "val_pairs must be at most 100000000",
    f"--test_pairs {HUGE}": "test_pairs must be at most 100000000",
    "--train_pairs 50000000 --runs 3": "of all 3 runs must be at most 100000000, got 150000060; take fewer",
    "--train_pairs null": "--train_pairs must be a whole number, got 'None'",
    "--lr 0": "lr must be above 0 and finite, got 0.0",
    "--lr .nan": "lr must be above 0 and finite, got nan",
    "--lr nan": "--lr must be a number, got 'nan'",
    "--lr 1e400": "lr must be above 0 and finite, got inf",
    "--lr true": "--lr must be a number, got 'true'",
    "--lr=": "--lr must be a number, got ''",
    "--model=": "--model must be one of cnn, weight_sharing, auxiliary, all, got ''",
    "--model null": "--model must be one of",
    "--alpha nan": "--alpha must be a number, got 'nan'",
    "--alpha 1e400": "alpha must be at least 0 and finite, got inf",
    "--gamma -1": "gamma must be at least 0 and finite, got -1.0",
    "--recipe modern --width 0": "width must be at least 1, got 0",
    "--recipe modern --width -1": "width must be at least 1, got -1",
    f"--recipe modern --width {HUGE}": "width must be at most 1024",
    "--recipe modern --weight_decay -1": "weight_decay must be at least 0, got -1.0",
    "--recipe modern --weight_decay .inf": "weight_decay must be finite, got inf",
    "--recipe modern --weight_decay nan": "--weight_decay must be a number, got 'nan'",
    "--recipe modern --label_smoothing 1": "label_smoothing must lie in [0, 1), got 1.0",
    "--recipe modern --balance -1": "balance must be at least 0 and finite, got -1.0",
    "--recipe modern --consistency .nan": "consistency must be at least 0 and finite, got nan",
    "--recipe modern --elastic .nan": "elastic must be at least 0, got nan",
    "--recipe modern --elastic 1e30": "elastic must be at most 14, got 1e+30",
    "--recipe modern --two_views_from -1": "two_views_from must be at least 0, got -1.0",
    "--recipe modern --two_views_from 2": "two_views_from must be at most 1, got 2.0",
    "--ensemble 1000000000": "ensemble must be at most 1000, got 1000000000",
    "--model cnn --restarts 0": "restarts must be at least 1, got 0",
    f"--model cnn --restarts {HUGE}": "restarts must be at most 1000",
    "--optimizer rmsprop": "--optimizer must be one of sgd, adamw, got 'rmsprop'",
    "--schedule cosine": "--schedule must be one of",
    "--recipe modern --model auxiliary --temperature 0": "temperature must be at least 0.01, got 0.0",
    "--pool max": "--pool must be one of flatten, average, got 'max'",
    "--head tail": "head must be one of exact, argmax, subtract, paper, mlp, got tail",
    "--branches late": "--branches must be one of early, separate, shared, got 'late'",
    "--swap_trunks maybe": "--swap_trunks must be true or false, got 'maybe'",
    "--swap_trunks true": "swap_trunks has no effect on cnn, weight_sharing, auxiliary; leave it out",
    "--reorder perhaps": "--reorder must be true or false, got 'perhaps'",
    "--split_merged 2": "--split_merged must be true or false, got '2'",
    "--all_pairs maybe": "--all_pairs must be true or false, got 'maybe'",
    "--checkpoint_every -1": "checkpoint_every must be at least 0, got -1.0",
    "--checkpoint_every .nan": "checkpoint_every must be at least 0, got nan",
    "--workers -1": "workers must be at least 1, got -1",
    "--workers 1000000": "workers must be at most 1024, got 1000000",
    "--threads 0": "threads must be at least 1, got 0",
    "--threads 100000": "threads must be at most 1024, got 100000",
    "--replicas 0": "replicas must be at least 1, got 0",
    "--engine steam": "--engine must be one of auto, fused, torch, got 'steam'",
    "--layout portrait": "--layout must be one of auto, channels_last, contiguous, got 'portrait'",
    "--engine fused --layout contiguous": "layout must be channels_last with engine fused, got contiguous",
    "--engine fused --precision bf16-true": "keeps weights in float32 or float64; take torch",
    "--devices x": "devices",
    "--num_nodes x": "--num_nodes must be a whole number, got 'x'",
    "--num_nodes -1": "num_nodes` must be a positive integer, but got -1",
    "--precision 3": "Precision '3' is invalid. Allowed",
    "--strategy fsdp": "requires a GPU accelerator",
    "--name .": "name must be a plain folder name, got '.'",
    "--name /absolute": "name must be a plain folder name, got '/absolute'",
    f"--name {'x' * 300}": "name must be of at most 200 bytes, got 300",
    "--log_dir /proc/nowhere": "/proc/nowhere/",
    "--log_dir /dev/null": "/dev/null/",
    "--data_dir /dev/null": "/dev/null: no such folder; data_dir must hold the four IDX files",
    "--resume": "give --name",
    "--resume --name none": "to resume; leave --resume out to begin it",
    "--resume true --name none": "to resume; leave --resume out to begin it",
    "--resume maybe --name x": "--resume must be true or false, got 'maybe'",
    "--resum": "unrecognized arguments: --resum; --help lists all flags; did you mean --resume?",
    "--train_pair 3": "unrecognized arguments: --train_pair 3",
    "extra": "unrecognized arguments: extra",
    "--model": "argument --model: expected one argument",
    "--print_config=x": "print_config",
}


@pytest.mark.parametrize("flags", WRONG)
def test_a_wrong_flag_is_one_line_that_says_which_why_and_what(
    flags: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = [*BASE.split(), "--log_dir", str(tmp_path / "runs"), *flags.split()]
    assert WRONG[flags] in refusal(train.main, args, tmp_path, capsys)


@pytest.mark.parametrize("name", ["a\nb", " ", "a\tb", "line ", "a\0b"])
def test_a_name_that_would_be_trouble_is_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = [*BASE.split(), "--log_dir", str(tmp_path / "runs"), "--name", name]
    assert "name must be a plain folder name, got" in refusal(train.main, args, tmp_path, capsys)


def test_a_folder_that_cannot_be_made_is_named_with_advice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    args = [*BASE.split(), "--log_dir", str(tmp_path / "file"), "--name", "mine"]
    said = refusal(train.main, args, tmp_path, capsys)
    assert f"{tmp_path / 'file' / 'mine'} cannot be made: Not a directory; choose another log_dir" in said
