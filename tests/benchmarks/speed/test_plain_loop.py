"""The reference of the speed benchmarks does the whole work, and its operations are counted right."""

import pytest

from benchmarks.speed.agreement import prove_agreement
from benchmarks.speed.plain_loop import PlainRun, step_flops
from datamodules import DigitPairs
from lightning_modules.models.registry import MODULES


@pytest.mark.parametrize("model", MODULES)
def test_the_plain_loop_learns_validates_and_tests(model: str) -> None:
    data = DigitPairs(train_pairs=200, val_pairs=50, test_pairs=100, seed=3)
    data.setup()
    run = PlainRun(model, data, 3).fit(6)
    assert run.train_error < 0.35
    assert run.val_error is not None
    assert {0 <= error <= 1 for error in (run.val_error, run.test_error)} == {True}


def test_operations_of_a_step_are_those_that_one_counts_by_hand() -> None:
    """Multiply and add are two; backward twice the forward, but for the slope at the images."""
    first = 2 * 9 * 2 * 32 * 144
    rest = 2 * (9 * 32 * 64 * 16 + 256 * 200 + 200 * 2)
    assert step_flops("cnn", 50) == 50 * (2 * first + 3 * rest)


@pytest.mark.parametrize("model", MODULES)
def test_our_contestants_compute_what_the_plain_loop_computes(model: str) -> None:
    prove_agreement(model)


def test_contestants_that_compute_something_else_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    loss = PlainRun.loss
    monkeypatch.setattr(PlainRun, "loss", lambda self, *batch: loss(self, *batch) * (1 + 1e-6))
    with pytest.raises(RuntimeError, match=r"losses differ by .* from the reference's"):
        prove_agreement("cnn")
