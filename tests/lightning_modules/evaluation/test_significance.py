"""Intervals of differences, p-values, their correction and the power of tests, against published tables."""

import math
from dataclasses import replace

import numpy as np
import pytest

from lightning_modules.evaluation.significance import (
    TTest,
    compare_runs,
    half_width,
    holm,
    paired_test,
    seeds_needed,
    verdicts,
    welch_test,
)
from lightning_modules.results.runs import Run


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
    test = paired_test([11.0, 21.1, 30.9], [10.0, 20.0, 30.0])
    assert test.mean == pytest.approx(1.0)
    assert test.half_width < 0.3
    assert half_width([1.0]) == math.inf


@pytest.mark.parametrize("seed", range(20))
def test_p_is_below_5_percent_exactly_where_the_interval_holds_no_0(seed: int) -> None:
    ours, reference = np.random.default_rng(seed).normal([[0.8], [0.0]], 1, (2, 6)).tolist()
    test = paired_test(ours, reference)
    assert test.half_width == pytest.approx(half_width(np.subtract(ours, reference).tolist()))
    assert (test.p < 0.05) == (abs(test.mean) > test.half_width)


def test_differences_without_deviation_are_certain_and_no_difference_is_none() -> None:
    assert paired_test([0.5, 0.25], [0.25, 0.0]) == TTest(0.25, 0.0, 0.0, (0.0,))
    assert paired_test([0.5, 0.25], [0.5, 0.25]) == TTest(0.0, 0.0, 1.0, (0.0,))
    assert welch_test([0.5, 0.5], [0.25, 0.25, 0.25]) == TTest(0.25, 0.0, 0.0, (0.0, 0.0))
    assert paired_test([0.5], [0.25]) == TTest(0.25, math.inf, 1.0)


def test_welch_finds_what_a_textbook_finds_of_samples_of_other_sizes_and_deviations() -> None:
    ours = [27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19.0, 21.7, 21.4]
    theirs = [27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 30.5, 22.4]
    test = welch_test(ours, theirs[:10])
    variances = [np.var(ours, ddof=1) / 15, np.var(theirs[:10], ddof=1) / 10]
    freedom = sum(variances) ** 2 / (variances[0] ** 2 / 14 + variances[1] ** 2 / 9)
    quantile = 2.074  # of Student's t with 22 degrees of freedom
    assert freedom == pytest.approx(22, abs=0.5)
    assert test.mean == pytest.approx(np.mean(ours) - np.mean(theirs[:10]))
    assert test.half_width == pytest.approx(quantile * math.sqrt(sum(variances)), rel=2e-3)
    assert 0.01 < test.p < 0.05


@pytest.mark.parametrize(("effect", "paired", "unpaired"), [(0.2, 199, 394), (0.5, 34, 64), (0.8, 15, 26)])
def test_as_many_seeds_are_needed_as_the_tables_of_cohen_say(
    effect: float, paired: int, unpaired: int
) -> None:
    assert seeds_needed(effect, [1.0]) == paired
    assert seeds_needed(effect / 100, [0.01, 0.01]) == unpaired


def test_seeds_that_are_needed_grow_with_the_deviation_up_to_what_is_told() -> None:
    assert seeds_needed(0.002, [0.0]) == seeds_needed(0.002, [0.0, 0.0]) == 2
    assert seeds_needed(0.002, [0.5]) is None
    mixed = seeds_needed(0.5, [0.5, math.sqrt(1.75)])  # together as two of 1; the wider one has most freedom
    assert mixed is not None
    assert 64 <= mixed < 68


def test_of_many_comparisons_of_nets_that_do_not_differ_95_of_100_tables_say_so() -> None:
    errors = np.random.default_rng(0).normal(1, 0.2, (300, 18, 10))
    tables = [[paired_test(row.tolist(), first.tolist()) for row in rest] for first, *rest in errors]
    alone = np.mean([any(test.p < 0.05 for test in table) for table in tables])
    together = np.mean(["differs" in verdicts(table) for table in tables])
    assert together < 0.08 < 0.3 < alone


def test_holm_multiplies_the_smallest_by_their_number_and_keeps_the_order() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


def test_nets_are_paired_over_the_seeds_at_which_neither_diverged_and_fixed_pairs_count_for_nothing() -> None:
    ours = [Run(seed, 0.0, seed / 10, all_test_error=seed / 20) for seed in range(4)]
    theirs = [Run(seed, 0.0, seed / 5, all_test_error=seed / 40) for seed in (3, 2, 1, 0)]
    ours[1] = replace(ours[1], diverged=True)
    theirs[0] = replace(theirs[0], diverged=True)
    compared = compare_runs(ours, theirs)
    assert compared
    assert (compared.metric, compared.counts, compared.paired) == ("all_test_error", (2, 2), True)
    assert compared.test == paired_test([0.0, 0.1], [0.0, 0.05])
    fixed = [replace(run, all_test_error=None, fixed_pairs_error=0.5) for run in theirs]
    compared = compare_runs(ours, fixed)
    assert compared
    assert compared.metric == "test_error"
    assert compared.test == paired_test([0.0, 0.2], [0.0, 0.4])


def test_nets_with_fewer_than_two_common_seeds_are_two_samples() -> None:
    ours, theirs = ([Run(seed, 0.0, 0.1 + seed / 100) for seed in seeds] for seeds in ((0, 1, 2), (2, 3)))
    compared = compare_runs(ours, theirs)
    assert compared
    assert (compared.counts, compared.paired) == ((3, 2), False)
    errors = [[run.test_error for run in runs] for runs in (ours, theirs)]
    assert compared.test == welch_test(*errors)
    assert compare_runs(ours, theirs[:1]) is None
