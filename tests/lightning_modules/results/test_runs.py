"""Rows, summaries and the table."""

import json
import math
from dataclasses import replace
from io import StringIO
from pathlib import Path
from statistics import stdev

import pytest
from rich.console import Console

from lightning_modules.command.console import make_console
from lightning_modules.results.runs import ModelRuns, Run, write_results
from lightning_modules.results.table import PAPER_FIGURES, results_table

RUNS = [Run(3, 0.01, 0.12, 0.11), Run(4, 0.02, 0.16, 0.13)]
SPREAD = [Run(0, 0.21, 0.22, None), Run(1, 0.45, 0.46, None)]


def test_a_summary_is_mean_and_sample_deviation_over_the_runs() -> None:
    summary = ModelRuns("cnn", "paper", RUNS).summary()
    assert summary["test_error_mean"] == pytest.approx(0.14)
    assert summary["test_error_std"] == pytest.approx(stdev([0.12, 0.16]))
    assert summary["train_error_mean"] == pytest.approx(0.015)
    assert summary["n"] == 2


def test_one_run_has_no_deviation() -> None:
    assert ModelRuns("cnn", "paper", RUNS[:1]).summary()["test_error_std"] is None


def test_a_row_has_a_digit_error_only_where_there_are_digit_heads() -> None:
    with_heads = ModelRuns("auxiliary", "paper", [Run(0, 0.0, 0.03, 0.04, 0.02)])
    assert with_heads.rows()[0]["test_digit_error"] == 0.02
    assert "test_digit_error" not in ModelRuns("cnn", "paper", RUNS).rows()[0]


def test_results_json_holds_rows_summary_command_seeds_and_versions(tmp_path: Path) -> None:
    write_results(tmp_path / "results.json", [ModelRuns("cnn", "paper", RUNS)], "train.py", {"runs": 2})
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["rows"][1] == {
        "model": "cnn",
        "recipe": "paper",
        "replica": 1,
        "seed": 4,
        "train_error": 0.02,
        "val_error": 0.13,
        "test_error": 0.16,
    }
    assert results["seeds"] == [3, 4]
    assert results["command"] == "train.py"
    assert {"python", "torch", "pytorch-lightning", "digit-duel"} <= results["versions"].keys()
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


@pytest.mark.parametrize("width", [80, 20])
def test_the_table_fits_80_columns_and_nothing_is_cut_where_there_are_fewer(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    models = [ModelRuns(model, "paper", SPREAD) for model in PAPER_FIGURES]
    make_console().print(results_table(models, PAPER_FIGURES))
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    for cell in ("33.00 ± 16.97", "34.00 ± 16.97", "17.00 ± 1.63", "weight_sharing", "1.84 ± 1.13"):
        assert cell in text


def shown(models: list[ModelRuns]) -> str:
    console = Console(width=80, record=True, file=StringIO())
    console.print(results_table(models, PAPER_FIGURES))
    return console.export_text()


LOST = Run(5, 0.9, 0.9, 0.9, all_test_error=0.9, diverged=True)


def test_runs_that_diverged_are_counted_and_left_out_of_every_mean() -> None:
    whole = [replace(run, all_test_error=run.test_error / 2) for run in RUNS]
    results, sound = ModelRuns("cnn", "paper", [LOST, *whole]), ModelRuns("cnn", "paper", whole)
    assert results.summary() == sound.summary() | {"diverged": 1}
    assert results.metrics() == sound.metrics() | {"diverged": 1}
    assert results.summary()["all_test_error_mean"] == pytest.approx(0.07)
    assert len(results.rows()) == 3
    text = shown([results])
    assert "2 of 3" in text
    assert "diverged, and left out: 1 of cnn" in text
    assert "14.00 ± 2.83" in text
    assert "7.00 ± 1.41" in text
    assert "…" not in text


def test_where_all_runs_diverged_there_is_no_mean(tmp_path: Path) -> None:
    results = ModelRuns("cnn", "paper", [LOST, replace(LOST, seed=6)])
    assert results.summary()["test_error_mean"] is None
    assert results.summary()["n"] == 0
    assert all(math.isnan(results.metrics()[name]) for name in ("test_error", "val_error"))
    assert "0 of 2" in shown([results])
    write_results(tmp_path / "results.json", [results], "train.py", {})
    assert "NaN" not in (tmp_path / "results.json").read_text()


def test_fixed_pairs_are_not_called_all_pairs() -> None:
    text = shown([ModelRuns("cnn", "paper", [replace(run, fixed_pairs_error=0.25) for run in RUNS])])
    assert "fixed pairs: each test digit once" in text
    assert "25.00 ± 0.00" in text
    assert "all pairs" not in text
