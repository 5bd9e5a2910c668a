"""Intervals of paired differences, and that the benchmark commands of the recipes run."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks.ablation import TABLES, ablation
from benchmarks.latent_digits import latent_digits
from benchmarks.pairs_growth import pairs_growth
from benchmarks.significance import half_width, paired, t_quantile
from lightning_modules.recipes import RECIPES, resolve


@pytest.mark.parametrize(
    ("freedom", "quantile"), [(1, 12.706), (2, 4.303), (9, 2.262), (14, 2.145), (1000, 1.962)]
)
def test_the_quantiles_of_t_are_those_of_the_tables(freedom: int, quantile: float) -> None:
    assert t_quantile(freedom) == pytest.approx(quantile, abs=1e-3)


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
def test_latent_digits_are_compared_with_the_true_ones(tmp_path: Path) -> None:
    latent_digits(runs=2, max_epochs=1, workers=1, out=str(tmp_path))
    for row in json.loads((tmp_path / "confusion.json").read_text()):
        assert np.sum(row["confusion"]) == 10_000
        assert row["matched_digit_error"] <= row["digit_error"]
    assert (tmp_path / "confusion.png").stat().st_size > 5_000
