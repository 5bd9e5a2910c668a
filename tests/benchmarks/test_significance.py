"""Intervals of paired differences, and that the benchmark commands of the recipes run."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.ablation import TABLES, ablation
from benchmarks.latent_digits import latent_digits
from benchmarks.pairs_growth import pairs_growth
from benchmarks.significance import half_width, paired
from lightning_modules.recipes import RECIPES, resolve


@pytest.mark.parametrize(("n", "quantile"), [(2, 12.706), (3, 4.303), (10, 2.262), (15, 2.145)])
def test_intervals_are_as_wide_as_the_tables_of_t_say(n: int, quantile: float) -> None:
    values = np.arange(n, dtype=float)
    expected = quantile * values.std(ddof=1) / math.sqrt(n)
    assert half_width(values.tolist()) == pytest.approx(expected, rel=1e-3)


def test_the_interval_of_a_mean_holds_it_in_95_of_100_cases() -> None:
    samples = np.random.default_rng(0).normal(3, 2, (2000, 6))
    held = [abs(sample.mean() - 3) <= half_width(sample.tolist()) for sample in samples]
    assert np.mean(held) == pytest.approx(0.95, abs=0.02)


def test_pairing_takes_out_what_runs_have_in_common() -> None:
    difference, width = paired([11.0, 21.1, 30.9], [10.0, 20.0, 30.0])
    assert difference == pytest.approx(1.0)
    assert width < 0.3
    assert half_width([1.0]) == math.inf


def test_every_row_of_every_table_has_settings_that_bite() -> None:
    for rows in TABLES.values():
        for row in rows:
            changes = {name: value for name, value in row.changes.items() if name != "batch_size"}
            resolve(RECIPES[row.recipe], [row.model], changes)


@pytest.mark.slow
def test_the_ablation_writes_a_row_a_run_and_a_plot(tmp_path: Path) -> None:
    ablation("2x2, modern", runs=2, max_epochs=1, workers=1, out=str(tmp_path))
    rows = list(csv.DictReader((tmp_path / "2x2-modern.csv").open()))
    assert [row["row"] for row in rows[::2]] == ["neither", "sharing", "auxiliary losses", "both"]
    assert all(0 < float(row["all_test_error"]) < 1 for row in rows)
    assert (tmp_path / "2x2-modern.png").stat().st_size > 5_000


@pytest.mark.slow
def test_growth_has_every_net_at_every_size_and_a_floor(tmp_path: Path) -> None:
    pairs_growth(runs=2, quick=True, workers=1, out=str(tmp_path))
    rows = list(csv.DictReader((tmp_path / "pairs-growth.csv").open()))
    assert len(rows) == 2 * 2 * 3 * 2 + 1
    assert (tmp_path / "pairs-growth.png").stat().st_size > 5_000


@pytest.mark.slow
@pytest.mark.parametrize("model", ["weight_sharing", "cnn"])
def test_latent_digits_are_compared_with_the_true_ones(model: Any, tmp_path: Path) -> None:
    latent_digits(model, runs=2, max_epochs=1, workers=1, out=str(tmp_path))
    for row in json.loads((tmp_path / "confusion.json").read_text()):
        assert np.sum(row["confusion"]) == 10_000
        assert row["matched_digit_error"] <= row["digit_error"]
    assert (tmp_path / "confusion.png").stat().st_size > 5_000
