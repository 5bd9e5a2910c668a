"""Convolution of signals, such as sounds: a signal is an image of one row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scratch_framework.images.conv2d import Conv
from scratch_framework.images.patches import Window

if TYPE_CHECKING:
    from scratch_framework.images.patches import Pair


class Conv1d(Conv):
    """Convolution along a line, by the formulas of `Conv2d` with a height of 1.

    Shapes: (N, C, L) to (N, O, L'), or (C, L) to (O, L'); with replicas (R, N, C, L) to (R, N, O, L'), or
    (N, C, L) shared by all. The weight is (O, C / groups, k).
    """

    dims = 1

    def window_of(self, kernel_size: Pair, stride: Pair, padding: Pair | str, dilation: Pair) -> Window:
        """Read the arguments that say how patches lie: along the row as they are, across it 1, 1, 0 and 1."""
        return Window.of(
            in_row(kernel_size, 1),
            in_row(stride, 1),
            padding if isinstance(padding, str) else in_row(padding, 0),
            in_row(dilation, 1),
        )


def in_row(value: Pair, across: int) -> Pair:
    """Pair a number, which torch also takes as a tuple of one, with what an image of one row has."""
    return (across, *value) if isinstance(value, (tuple, list)) else (across, value)
