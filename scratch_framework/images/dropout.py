"""Dropout: while training, a random part of the numbers is set to 0, so that no unit can rely on another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import empty

from scratch_framework.core.argument_types import check_floats
from scratch_framework.core.checks import check_shape, check_share
from scratch_framework.core.left_out import IN_PLACE, leaves_out
from scratch_framework.core.module import Module
from scratch_framework.images.layout import Layout

if TYPE_CHECKING:
    from torch import Generator, Tensor

INT64, INT32, FLOAT32 = empty(0).long().dtype, empty(0).int().dtype, empty(0).float().dtype


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
        scale = 1 / (keep or 1.0)  # p = 1 keeps nothing: 0, not 0 / 0
        if isinstance(self.generator, Sequence):
            check_shape(self, "input", x, (len(self.generator), "..."))  # a replica for each generator
            mask = decide(x, keep, self.generator, scale)
        else:
            mask = x.clone().bernoulli_(keep, generator=self.generator).mul_(scale)  # in x's order in memory
        return self.save_for_backward(mask, x * mask)

    def backward(self, grad_output: Tensor) -> Tensor:
        """dL/dx = m dL/dy: dropped numbers get no gradient, the others theirs times 1 / (1 - p)."""
        mask = self.saved(grad_output)
        return grad_output * mask

    def extra_repr(self) -> str:
        """The probability, as torch prints it."""
        return f"p={self.p}"


def decide(like: Tensor, share: float, generators: Sequence[Generator], one: float = 1.0) -> Tensor:
    """Draw ones, or another number in their place, with the probability ``share``, to 2^-32, and else zeros.

    A draw of 64 bits is two whole numbers of 32 bits. Each is below share * 2^32 with this probability. For
    many numbers that takes two thirds of the time of uniform ones.

    Args:
        like: A tensor (R, ...), whose shape, type and order in memory the result has.
        share: Probability of a one.
        generators: Source of each replica's draws, which are what it would draw alone.
        one: The number to write in place of 1.
    """
    first = like[0]
    count = first.numel()
    bits = like.new_empty((len(generators), -(-count // 2)), dtype=INT64)
    for row, generator in zip(bits.unbind(), generators, strict=True):
        row.random_(-(2**63), None, generator=generator)
    numbers = bits.view(INT32).narrow(1, 0, count)  # (R, count), from -2^31 to 2^31 - 1
    bound = round(share * 2**32) - 2**31
    ones = numbers.lt_(bound) if bound < 2**31 else numbers.fill_(1)
    mask = Layout(first).view(ones)
    if like.dtype == FLOAT32:  # in place: 0 or 1 times the bits of a number are those of 0.0 or of the number
        return mask.mul_(like.new_full((), one).view(INT32)).view(FLOAT32)
    return mask.to(like).mul_(one)
