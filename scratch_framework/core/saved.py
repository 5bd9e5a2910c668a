"""What a forward pass leaves for its backward pass, and the proof that it still holds.

A derivative is that of one forward pass, at the numbers of that pass. If a number is changed in place before
the backward pass, or the module runs forward a second time, the result is the gradient of something else.
torch counts the changes of every tensor (``_version``), and we count the passes of every module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from scratch_framework.core.aliases import Memory
    from scratch_framework.core.parameter import Parameter

MARK = "forward_passes"  # the attribute by which a tensor tells whose output it is


class Saved:
    """The memory of one forward pass through one module."""

    settled = False  # whether its backward pass has begun, or somebody has taken it out to keep it

    def __init__(
        self, memory: Memory, parameters: list[Parameter], output: Tensor, number: int, lost_another: bool
    ) -> None:
        """Note what must not change.

        Args:
            memory: What the module keeps.
            parameters: The module's own.
            output: What it computed.
            number: Which of the module's forward passes this is.
            lost_another: Whether the pass before it was not settled. In evaluation this is usual; but a
                second backward pass would be meant for the one that is lost.
        """
        self.memory, self.number, self.lost_another = memory, number, lost_another
        self.shape, self.dtype = tuple(output.shape), output.dtype
        self.values = [(parameter, parameter.value) for parameter in parameters]
        self.versions = versions([memory, *(value for _, value in self.values)])

    def is_unchanged(self) -> bool:
        """Whether memory and parameters hold the numbers of the forward pass."""
        same = [parameter.value is value for parameter, value in self.values]
        return all(same) and are_unchanged(self.versions)


def versions(kept: Memory) -> list[tuple[Tensor, int]]:
    """Every tensor in nested lists, tuples and dicts, with the number of times that it was changed.

    In inference mode torch does not count, and tensors made there are left out.
    """
    found, ahead = [], [kept]
    while ahead:
        one = ahead.pop()
        if hasattr(one, "is_inference"):
            if not one.is_inference():
                found.append((one, one._version))
        elif isinstance(one, (list, tuple)):
            ahead.extend(one)
        elif isinstance(one, dict):
            ahead.extend(one.values())
    return found


def are_unchanged(pairs: list[tuple[Tensor, int]]) -> bool:
    """Whether no tensor was changed since `versions` found them."""
    return all(tensor._version == count for tensor, count in pairs)


def mark(tensor: Tensor, passes: dict[int, int]) -> Tensor:
    """Write on a tensor which forward passes it is the output of, or the gradient of the output.

    Args:
        tensor: The output, or the gradient.
        passes: Numbers of forward passes by the ids of the modules. A module may return its input as it is,
            so a tensor can be the output of several.

    Returns:
        The tensor.
    """
    vars(tensor)[MARK] = (passes, None if tensor.is_inference() else tensor._version)
    return tensor


def marks(tensor: Tensor) -> dict[int, int]:
    """What `mark` wrote, unless the tensor was changed since."""
    passes, count = vars(tensor).get(MARK, ({}, None))
    return passes if count is None or count == tensor._version else {}
