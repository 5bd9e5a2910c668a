"""Products of matrices, by the call into torch that costs the least.

One net multiplies two matrices, R replicas multiply R pairs of them. ``matmul`` takes both, and all else that
can be broadcast, and spends some microseconds on the choice. A small net feels them. It also feels a product
that is written to memory only to be added to something.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scratch_framework.core.broadcasting import unbroadcast

if TYPE_CHECKING:
    from torch import Tensor


def product(a: Tensor, b: Tensor) -> Tensor:
    """Compute a b."""
    return a.bmm(b) if a.dim() == b.dim() == 3 else a.matmul(b)


def add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """Compute total += a b; where the product has copies of the total, they are added up (`unbroadcast`)."""
    if total.dim() == a.dim() == b.dim() == 3:
        total.baddbmm_(a, b)
    elif total.dim() == a.dim() == b.dim() == 2:
        total.addmm_(a, b)
    else:
        total.add_(unbroadcast(a.matmul(b), total.shape))
