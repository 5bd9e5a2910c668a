"""The command that makes the embedded archive writes the file that it was told."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datamodules import build


@pytest.mark.parametrize("name", ["digits", "digits.npz", "digits.bin"])
def test_the_archive_has_the_name_that_was_asked_for(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays: dict[str, Any] = {"train_labels": np.arange(3)}
    monkeypatch.setattr(build, "check_canonical", lambda folder: None)
    monkeypatch.setattr(build, "read_sums", lambda folder: arrays)
    build.main([str(tmp_path), "--out", str(tmp_path / name)])
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert np.load(tmp_path / name)["train_labels"].tolist() == [0, 1, 2]
    assert capsys.readouterr().out.startswith(f"{tmp_path / name}: 0.00 MB")


def test_an_archive_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        build.main([str(tmp_path / "none"), "--out", str(tmp_path)])
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
