"""How a metric is measured and where it is shown. The metrics themselves are the fields of `Run` in runs.py.

results.json, the table of train.py, TensorBoard and the report are all made of these fields.
"""

from collections.abc import Callable
from dataclasses import MISSING, dataclass, field
from typing import Any

import torch
from torch import Tensor

METRIC = "metric"  # key of a field's metadata


@dataclass(frozen=True)
class Answers:
    """The answers of R nets to N pairs each, and the right ones."""

    pair: Tensor  # (N, R, 2), logits of "first > second" and "first <= second"
    target: Tensor  # (N, R), 1 where first <= second
    digits: Tensor | None = None  # (N, R, 2, 10), logits; None where no label tells the digits
    classes: Tensor | None = None  # (N, R, 2), the digits

    @property
    def probability(self) -> Tensor:
        """The probability of "first <= second", (N, R)."""
        return self.pair.float().softmax(-1)[..., 1]


@dataclass(frozen=True)
class Metric:
    """A metric of a run, in [0, 1], shown in percent."""

    label: str  # heads its column in the report
    # A value a pair, (N, R) or (N, R, ...), of models that have it; None: evaluate.py measures it otherwise.
    values: Callable[[Answers], Tensor | None] | None = None
    over_pairs: Callable[[Tensor], Tensor] | None = None  # from the values of one run; None: their mean
    stages: tuple[str, ...] = ("train", "val", "test")  # in which it is measured
    always: bool = False  # whether every run has it
    row: str = ""  # heads its row in the table of train.py, below the model's; empty: it has none
    remark: str = ""  # what a reader of the table and the report should know of it


def metric(label: str, always: bool = False, **how: Any) -> Any:
    """A field of `Run`, with other fields of `Metric`; None, by default, where a run has no such metric."""
    default = MISSING if always else None
    return field(default=default, metadata={METRIC: Metric(label, always=always, **how)})


def error(answers: Answers) -> Tensor:
    """Whether a pair is compared wrongly, (N, R)."""
    return answers.pair.argmax(-1) != answers.target


def digit_error(answers: Answers) -> Tensor | None:
    """The share of a pair's two digits that are misread, (N, R); None where no label tells the digits."""
    if answers.digits is None or answers.classes is None:
        return None
    return (answers.digits.argmax(-1) != answers.classes).float().mean(-1)


def probability_and_target(answers: Answers) -> Tensor:
    """The probability of "first <= second", and 1 where it is so, (N, R, 2)."""
    return torch.stack([answers.probability, answers.target.float()], -1)


def calibration_error(values: Tensor) -> Tensor:
    """Expected calibration error over 15 bins: how far probabilities lie from frequencies (Guo et al. 2017).

    Args:
        values: (N, 2), probability and target of the pairs of one run.

    Returns:
        A scalar.
    """
    # Not above: the experiments of the framework from scratch import this file, and not torchmetrics.
    from torchmetrics.functional.classification import binary_calibration_error

    probability, target = values.T.contiguous()  # torch warns of numbers that lie apart in memory
    return binary_calibration_error(probability, target.long(), n_bins=15, validate_args=False)
