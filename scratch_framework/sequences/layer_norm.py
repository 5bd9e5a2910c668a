"""Layer normalisation: the features of every point get mean 0 and variance 1, then a scale and a shift.

    z = (x - mean) / sqrt(var + eps),   y = w z + b        mean, var: one a point; w, b: one a feature

What batch normalisation does for a feature over all points, this does for a point over all features. So
points do not depend on each other, and training and evaluation are the same.
Paper: https://arxiv.org/abs/1607.06450
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from torch import empty

from scratch_framework.core.argument_types import check_count, check_floats, lead_of
from scratch_framework.core.broadcasting import unbroadcast
from scratch_framework.core.checks import check_at_least, check_shape
from scratch_framework.core.module import Module
from scratch_framework.core.parameter import Parameter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, device, dtype


class LayerNorm(Module):
    """Normalises over the last dimensions.

    Shapes: (..., *normalized_shape) to the same; with replicas (R, ..., *normalized_shape).
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        replicas: int | None = None,
        device: device | str | None = None,
        dtype: dtype | None = None,
    ) -> None:
        """Start with scale 1 and shift 0.

        Args:
            normalized_shape: Sizes of the last dimensions, the features of a point.
            eps: Keeps the quotient finite where all features are equal.
            elementwise_affine: Whether there are a scale and a shift.
            bias: Whether there is a shift beside the scale.
            replicas: R layers at once; None is one layer, without the leading dimension.
            device: Where the parameters live.
            dtype: Their type.
        """
        shape: tuple[Any, ...] = (
            tuple(normalized_shape) if isinstance(normalized_shape, (tuple, list)) else (normalized_shape,)
        )
        for size in shape:
            check_count(1, normalized_shape=size)
        check_at_least(0, eps=eps)
        self.normalized_shape, self.eps, self.replicas = shape, eps, replicas
        self.lead = lead_of(replicas)
        ones = empty(*self.lead, *shape, device=device, dtype=dtype).fill_(1)
        self.weight = Parameter(ones, replicas) if elementwise_affine else None
        self.bias = Parameter(ones - 1, replicas) if elementwise_affine and bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Compute y = w z + b by the statistics of each point."""
        own = None if self.weight is None else self.weight.value
        check_shape(self, "input", x, (*self.lead, "...", *self.normalized_shape), weight=own)
        check_floats(self, "input", x)
        features = tuple(range(-len(self.normalized_shape), 0))
        centred = x - x.mean(features, keepdim=True)
        var = (centred * centred).mean(features, keepdim=True)
        scale = (var + self.eps).rsqrt()
        z = centred.mul_(scale)
        weight, bias = self._before_points(self.weight, x), self._before_points(self.bias, x)
        y = z if weight is None else z * weight if bias is None else bias.addcmul(weight, z)
        return self.save_for_backward((z, scale), y)

    def backward(self, grad_output: Tensor) -> Tensor:
        """Differentiate y_i = w_i z_i + b_i with z_i = (x_i - m) s, s = 1 / sqrt(v + eps), given g = dL/dy.

        For w and b every point is one input more:

            dL/dw_i = sum_n g_ni z_ni        dL/db_i = sum_n g_ni

        m and v depend on all D features of the point, exactly as in `batch_norm` on all points of a feature:

            dz_i/dx_j = s ([i = j] - 1/D - z_i z_j / D).

        Summed over i, with h_i = g_i w_i = dL/dz_i:

            dL/dx_j = s (h_j - mean_i h_i - z_j mean_i(h_i z_i)).
        """
        z, scale = self.saved(grad_output)
        for parameter, grad in ((self.weight, grad_output * z), (self.bias, grad_output)):
            if parameter is not None:
                views = (*self.lead, *[1] * (z.dim() - parameter.grad.dim()), *self.normalized_shape)
                parameter.grad.add_(unbroadcast(grad, views).view(parameter.grad.shape))
        weight = self._before_points(self.weight, z)
        grad = grad_output if weight is None else grad_output * weight  # h
        count, sizes = math.prod(self.normalized_shape), scale.shape
        means = unbroadcast(grad, sizes) / count, unbroadcast(grad * z, sizes) / count
        return (grad - means[0] - z * means[1]).mul_(scale)

    def _before_points(self, one: Parameter | None, x: Tensor) -> Any:
        """View one number a feature so that it broadcasts over the points of x; or None."""
        if one is None:
            return None
        return one.value.view(*self.lead, *[1] * (x.dim() - one.value.dim()), *self.normalized_shape)

    def extra_repr(self) -> str:
        """The arguments, as torch prints them."""
        affine, replicas = (
            self.weight is not None,
            "" if self.replicas is None else f", replicas={self.replicas}",
        )
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={affine}{replicas}"
