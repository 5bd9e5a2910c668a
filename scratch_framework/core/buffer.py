"""A buffer: numbers that a module keeps from batch to batch, though no gradient ever moves them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class Buffer:
    """A value that belongs to the module's state_dict, as a running mean does.

    The module changes it in place; optimisers never see it.
    """

    def __init__(self, value: Tensor) -> None:
        """Wrap a value.

        Args:
            value: The numbers, kept as they are, not copied.
        """
        self.value = value

    def __repr__(self) -> str:
        return f"Buffer(shape={tuple(self.value.shape)}, dtype={self.value.dtype})"
