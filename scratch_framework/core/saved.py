"""What a forward pass saves for its backward pass, and the proof that it still holds.

A derivative is that of one forward pass, at the numbers of that pass. If a number is changed in place before
the backward pass, or the module runs forward a second time, the result is the gradient of something else.
torch counts the changes of every tensor (``_version``), and we count the passes of every module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scratch_framework.core.argument_types import TENSOR, check_tensors

if TYPE_CHECKING:
    from torch import Tensor

    from scratch_framework.core.parameter import Parameter

MARK = "forward_passes"  # the attribute of a tensor that says which forward passes it is the output of


class ForwardPass:
    """One forward pass of one module: what it saved, and what must not change until the backward pass."""

    settled = False  # whether its backward pass has begun, or somebody has taken it out to keep it

    def __init__(
        self,
        saved: Any,
        parameters: list[Parameter],
        output: Tensor,
        number: int,
        previous: ForwardPass | None,
    ) -> None:
        """Note what must not change.

        Args:
            saved: What the module saved.
            parameters: The module's own.
            output: What it computed.
            number: Which of the module's forward passes this is.
            previous: The pass before, which is lost unless it is settled. In evaluation this is usual; but a
                second backward pass would be meant for the one that is lost.
        """
        self.saved, self.number = saved, number
        self.lost_another = previous is not None and not previous.settled
        self.shape, self.dtype = output.shape, output.dtype
        self.parameters, self.values = parameters, [parameter.value for parameter in parameters]
        self.versions = versions((saved, self.values))

    def check(self, module: object, grad_output: Tensor) -> None:
        """Refuse a backward pass that would be of something else, see `Module.saved`."""
        name = type(module).__name__
        if self.settled and self.lost_another:
            raise RuntimeError(
                f"{name}: a second backward, but of the forward passes before it only the latest is kept: use"
                " a module of its own in each place, or saved_passes() and restore()"
            )
        check_tensors(name, grad_output=grad_output)
        if grad_output.shape != self.shape:
            wanted, got = tuple(self.shape), tuple(grad_output.shape)
            raise ValueError(f"{name}: grad_output must have the output's shape {wanted}, got {got}")
        if grad_output.dtype != self.dtype:
            kinds = f"{self.dtype}, got {grad_output.dtype}"
            raise ValueError(f"{name}: grad_output must have the output's dtype {kinds}")
        if marks(grad_output).get(id(module), self.number) != self.number:
            raise RuntimeError(
                f"{name}: grad_output belongs to an earlier output: forward ran again before backward, and"
                " only the latest pass is kept; call backward first"
            )
        same = [one.value is value for one, value in zip(self.parameters, self.values, strict=True)]
        if not (all(same) and are_unchanged(self.versions)):
            raise RuntimeError(
                f"{name}: a tensor that backward needs (input, output or parameter) was changed in place"
                " after forward; change a copy, or call backward first"
            )
        self.settled = True


def versions(saved: Any) -> list[tuple[Tensor, int]]:
    """Every tensor in nested lists, tuples and dicts, with the number of times that it was changed.

    In inference mode torch does not count, and tensors made there are left out.
    """
    found, rest = [], [saved]
    for one in rest:  # which grows meanwhile
        if isinstance(one, TENSOR):
            if not one.is_inference():
                found.append((one, one._version))
        elif isinstance(one, (tuple, list, dict)):
            rest.extend(one.values() if isinstance(one, dict) else one)
    return found


def are_unchanged(pairs: list[tuple[Tensor, int]]) -> bool:
    """Whether no tensor was changed since `versions` found them."""
    return all([tensor._version == count for tensor, count in pairs])  # noqa: C419  # a list is twice as fast


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
    """The forward passes that `mark` wrote on a tensor, unless it was changed since."""
    passes, count = vars(tensor).get(MARK, ({}, None))
    return passes if count is None or count == tensor._version else {}
