"""What studies left behind, damaged since: one line names the file and what to do."""

import json
import shutil
from pathlib import Path

import pytest
from refusal import refusal

from datamodules.mnist import EMBEDDED
from lightning_modules.report.__main__ import main as report
from scratch_framework.experiments.disc.grid import main as grid
from tune.__main__ import main as tune


@pytest.mark.parametrize("content", [b"", b"no database", EMBEDDED.read_bytes()[:8192]])
def test_a_damaged_storage_is_one_line(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "study.db").write_bytes(content)
    args = ["report", "--study_name", "mine", "--log_dir", str(tmp_path)]
    with pytest.raises(SystemExit) as stop:
        tune(args)
    said = capsys.readouterr().err
    assert stop.value.code == 2
    assert said.count("\n") == 1
    assert "study mine" in said or "study.db cannot be used: file is not a database" in said


SCORES = [{"activations": ["tanh"] * 4, "lr": 0.1, "weight_decay": 0, "val_errors": [0.1]}]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("grid.yaml", b"repeats: [1"),
        ("grid.yaml", b""),
        ("grid.yaml", b"\xff\xfe"),
        ("group_tanh_tanh_tanh_tanh.json", b"["),
        ("group_tanh_tanh_tanh_tanh.json", b"[7]"),
        ("group_tanh_tanh_tanh_tanh.json", json.dumps([*SCORES, {"lr": 1}]).encode()),
    ],
)
def test_a_damaged_grid_is_one_line(
    name: str, content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = [
        "--repeats",
        "1",
        "--max_epochs",
        "1",
        "--train_points",
        "20",
        "--val_points",
        "10",
        "--name",
        "mine",
    ]
    args += ["--log_dir", str(tmp_path)]
    if not (whole := Path(tmp_path.parent) / "whole_grid").exists():
        grid([*args[:-1], str(whole)])
    shutil.copytree(whole / "mine", tmp_path / "mine")
    (tmp_path / "mine" / name).write_bytes(content)
    assert f"{tmp_path}/mine/{name} is damaged: it must hold" in refusal(grid, args, tmp_path, capsys)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", EMBEDDED.read_bytes()[:5000]])
def test_damaged_results_are_one_line(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results.json").write_bytes(content)
    assert f"{tmp_path}/results.json is not" in refusal(report, [str(tmp_path)], tmp_path, capsys)
