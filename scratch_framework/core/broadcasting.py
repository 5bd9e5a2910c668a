"""Broadcasting: a small tensor is copied along the dimensions that it lacks. The gradient of a copy is a sum.

    forward      b_j is added to y_nj for every point n:      one b_j has N copies
    backward     every copy changes the loss:                 dL/db_j = sum_n dL/dy_nj

The same rule holds for R replicas that share one input: it has R copies, so its gradient sums over replicas.
So one formula serves a single net, R replicas, and R replicas of a shared input: compute the gradient in the
large shape, and let `unbroadcast` add up the copies.

The second mistake in the paper's code is to leave this sum out. Its bias, once of shape (out,), gets a
gradient of shape (N, out), and from then on each row of the batch has a bias of its own
(`experiments.disc.row_bias`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scratch_framework.core.checks import check_dtype

if TYPE_CHECKING:
    from torch import Tensor


def unbroadcast(grad: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Go back from the gradient of all copies to that of the original: add up the copies.

    Args:
        grad: The gradient in the large shape, to which the original was broadcast.
        shape: Shape of the original, which may have fewer dimensions, or 1 in place of a size.

    Returns:
        The gradient in the shape of the original.
    """
    if grad.shape == shape:
        return grad
    extra = grad.dim() - len(shape)
    if extra:
        grad = grad.sum(tuple(range(extra)))
    copied = [dim for dim, sizes in enumerate(zip(shape, grad.shape, strict=True)) if sizes[0] != sizes[1]]
    return grad.sum(copied, keepdim=True) if copied else grad


def append_dimensions(tensor: Tensor, dim: int) -> Tensor:
    """View (R,) as (R, 1, ...), so that it broadcasts over all that belongs to a replica.

    Args:
        tensor: The tensor.
        dim: How many dimensions the result shall have.
    """
    return tensor.reshape([*tensor.shape, *[1] * (dim - tensor.dim())])


def check_broadcast(owner: object, what: str, tensor: Tensor | None, x: Tensor) -> None:
    """Refuse a tensor that cannot be copied to the prediction's shape, or is of another type."""
    if tensor is None:
        return
    name, sizes, shape = type(owner).__name__, tuple(tensor.shape), tuple(x.shape)
    pairs = zip(reversed(sizes), reversed(shape), strict=False)
    if len(sizes) > len(shape) or any(size not in (1, wanted) for size, wanted in pairs):
        raise ValueError(f"{name}: the {what} must broadcast to the prediction's shape {shape}, got {sizes}")
    check_dtype(owner, what, tensor, "prediction", x)
