"""Dropout: while training, a random part of the numbers is set to 0, so that no unit can rely on another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from scratch_framework.core.argument_types import check_floats
from scratch_framework.core.checks import check_shape, check_share
from scratch_framework.core.left_out import IN_PLACE, leaves_out
from scratch_framework.core.module import Module
from scratch_framework.images.coins import coins

if TYPE_CHECKING:
    from torch import Generator, Tensor


@leaves_out(inplace=IN_PLACE)
class Dropout(Module):
    """Each number is dropped with probability p, the others grow by 1 / (1 - p).

    So the mean stays what it was, and evaluation needs no correction: it drops nothing.
    Paper: https://jmlr.org/papers/v15/srivastava14a.html
    """

    def __init__(self, p: float = 0.5, *, generator: Generator | Sequence[Generator] | None = None) -> None:
        """Choose how much to drop.

        Args:
            p: Probability of being dropped, in [0, 1].
            generator: Source of the draws, which are torch's own; or a list of R where the first dimension
                counts replicas, so that each drops what it would drop alone.
        """
        check_share(p=p)
        self.p, self.generator = p, generator

    def forward(self, x: Tensor) -> Tensor:
        """Compute y = m x, with a mask m of 0 and 1 / (1 - p)."""
        if not self.training:
            return self.save_for_backward(x.new_ones(()), x)  # a mask of 1
        check_floats(self, "input", x)
        keep = 1 - self.p
        if isinstance(self.generator, Sequence):
            check_shape(self, "input", x, (len(self.generator), "..."))  # a replica for each generator
            mask = coins(x, keep, self.generator)
        else:
            mask = x.clone().bernoulli_(keep, generator=self.generator)  # in x's order in memory
        mask.mul_(1 / keep if keep else 0.0)  # p = 1 keeps nothing: 0, not 0 / 0
        return self.save_for_backward(mask, x * mask)

    def backward(self, grad_output: Tensor) -> Tensor:
        """dL/dx = m dL/dy: dropped numbers get no gradient, the others theirs times 1 / (1 - p)."""
        mask = self.saved(grad_output)
        return grad_output * mask

    def extra_repr(self) -> str:
        """The probability, as torch prints it."""
        return f"p={self.p}"
