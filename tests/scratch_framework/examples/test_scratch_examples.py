"""The framework's example programs learn what they are about."""

from pathlib import Path
from types import ModuleType

import pytest
import torch

from scratch_framework.examples import digits, disc, xor


@pytest.mark.parametrize("example", [xor, disc, digits])
def test_an_example_is_a_page(example: ModuleType) -> None:
    assert 25 <= len(Path(str(example.__file__)).read_text().splitlines()) <= 40


def test_xor_is_learned_for_all_four_inputs() -> None:
    assert torch.equal(xor.main().round(), xor.TARGET)


def test_five_nets_learn_the_disc() -> None:
    errors = disc.main()
    assert errors.shape == (5,)
    assert errors.max() < 0.1  # half of the square is inside


def test_the_digits_are_read() -> None:
    assert digits.main() < 0.07  # of ten classes
