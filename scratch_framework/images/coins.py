"""Coins: random zeros and ones, four of them from a draw of 64 bits.

A generator draws 32 bits at a time, and a uniform number takes them all. To decide between 0 and 1 by a
probability, 16 are enough: they are one of 65536 numbers, all equally likely.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import empty

from scratch_framework.images.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Generator, Tensor

INT64, INT16 = empty(0).long().dtype, empty(0).short().dtype


def coins(like: Tensor, share: float, generators: Sequence[Generator]) -> Tensor:
    """Draw ones with the probability ``share``, rounded to a 65536th, and else zeros.

    Args:
        like: A tensor (R, ...), whose shape, type and order in memory the coins have.
        share: Probability of a one.
        generators: Source of each replica's draws.

    Returns:
        The coins. A replica's are what it would draw alone.
    """
    count = like[0].numel()
    bits = like.new_empty((len(generators), -(-count // 4)), dtype=INT64)
    for row, generator in zip(bits.unbind(), generators, strict=True):
        row.random_(-(2**63), None, generator=generator)
    numbers = bits.view(INT16).narrow(1, 0, count)  # (R, count), from -32768 to 32767
    return Layout(like[0]).view(numbers).to(like).lt_(round(share * 2**16) - 2**15)
