"""p-values and their correction, against scipy and worked examples; tests/benchmarks has the intervals."""

import numpy as np
import pytest
from scipy.stats import ttest_rel

from lightning_modules.significance import holm, p_value, paired


@pytest.mark.parametrize("n", [2, 3, 15])
def test_p_is_that_of_scipys_paired_t_test(n: int) -> None:
    random = np.random.default_rng(n)
    ours, reference = random.normal(0.3, 1, n).tolist(), random.normal(0, 1, n).tolist()
    assert p_value(ours, reference) == pytest.approx(ttest_rel(ours, reference).pvalue)


@pytest.mark.parametrize("seed", range(20))
def test_p_is_below_5_percent_exactly_where_the_interval_holds_no_0(seed: int) -> None:
    ours, reference = np.random.default_rng(seed).normal([[0.8], [0.0]], 1, (2, 6)).tolist()
    difference, half_width = paired(ours, reference)
    assert (p_value(ours, reference) < 0.05) == (abs(difference) > half_width)


def test_differences_without_deviation_are_certain_and_no_difference_is_none() -> None:
    assert p_value([0.5, 0.25], [0.25, 0.0]) == 0
    assert p_value([0.5, 0.25], [0.5, 0.25]) == 1


def test_holm_multiplies_the_smallest_by_their_number_and_keeps_the_order() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []
