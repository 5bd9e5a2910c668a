"""What studies left behind, damaged since: one line names the file and what to do."""

from pathlib import Path

import pytest
from refusal import refusal

from datamodules.mnist import EMBEDDED
from lightning_modules.report.__main__ import main as report
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


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", EMBEDDED.read_bytes()[:5000]])
def test_damaged_results_are_one_line(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results.json").write_bytes(content)
    assert f"{tmp_path}/results.json is not" in refusal(report, [str(tmp_path)], tmp_path, capsys)
