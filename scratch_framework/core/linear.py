"""The linear layer: every output is a weighted sum of all inputs, plus a bias.

    y = x W^T + b        x: (N, in)   W: (out, in)   b: (out,)   y: (N, out)

The weight is stored as torch stores it, one row for each output. With R replicas every tensor has one
dimension more in front, and the same formulas compute R layers that know nothing of each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import empty

from scratch_framework.core import init
from scratch_framework.core.argument_types import check_count, lead_of
from scratch_framework.core.broadcasting import unbroadcast
from scratch_framework.core.checks import check_shape
from scratch_framework.core.module import Module
from scratch_framework.core.parameter import Parameter
from scratch_framework.core.products import add_product, product

if TYPE_CHECKING:
    from torch import Generator, Tensor, device, dtype


class Linear(Module):
    """y = x W^T + b, drawn by torch's rule U(-1/sqrt(in), 1/sqrt(in)); `init` has others.

    Shapes: (..., in) to (..., out); with replicas (R, N, in) to (R, N, out), or (N, in) shared by all.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        replicas: int | None = None,
        device: device | str | None = None,
        dtype: dtype | None = None,
        generator: Generator | None = None,
    ) -> None:
        """Draw a layer.

        Args:
            in_features: Inputs of each point.
            out_features: Outputs of each point.
            bias: Whether to add b.
            replicas: R layers at once; None is one layer, without the leading dimension.
            device: Where the parameters live.
            dtype: Their type.
            generator: Source of the draws.
        """
        check_count(1, in_features=in_features, out_features=out_features)
        self.in_features, self.out_features, self.replicas = in_features, out_features, replicas
        lead = lead_of(replicas)
        weight = empty(*lead, out_features, in_features, device=device, dtype=dtype)
        self.weight = Parameter(weight, replicas)
        self.bias = Parameter(weight.new_empty(*lead, out_features), replicas) if bias else None
        self.inputs = (
            [("...", in_features)] if replicas is None else [(replicas, "N", in_features), ("N", in_features)]
        )
        self.reset_parameters(generator)

    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draw weight and bias anew by torch's default rule."""
        bias = self.bias.value if self.bias else None
        init.default_(self.weight.value, bias, generator, self.replicas)

    def forward(self, x: Tensor) -> Tensor:
        """Compute y = x W^T + b."""
        check_shape(self, "input", x, *self.inputs, weight=self.weight.value)
        y = product(x, self.weight.value.mT)  # (..., N, out)
        if self.bias is not None:
            bias = self.bias.value  # (out,) or (R, out)
            y.add_(bias if bias.dim() == 1 else bias.unsqueeze(-2))
        return self.save_for_backward(x, y)

    def backward(self, grad_output: Tensor) -> Tensor:
        """Differentiate y_nj = sum_i W_ji x_ni + b_j, given G = dL/dy of shape (N, out).

        Each formula sums over every path from the parameter (or input) to the loss:

            dL/dW_ji = sum_n G_nj dy_nj/dW_ji = sum_n G_nj x_ni     that is  G^T x    (out, in)
            dL/db_j  = sum_n G_nj dy_nj/db_j  = sum_n G_nj          that is  G^T 1    (out,)
            dL/dx_ni = sum_j G_nj dy_nj/dx_ni = sum_j G_nj W_ji     that is  G W      (N, in)

        W and b serve all N points of the batch, hence their sums over n. To leave out the one in dL/db is the
        mistake in the paper's code. An input feeds all outputs, hence its sum over j. An input that R
        replicas share feeds R nets, and its gradient sums over them too (`unbroadcast`).
        """
        x = self.saved(grad_output)
        rows, grads = (x, grad_output) if x.dim() > 1 else (x.unsqueeze(0), grad_output.unsqueeze(0))
        add_product(self.weight.grad, grads.mT, rows)
        if self.bias is not None:
            self.bias.grad.add_(unbroadcast(grads.sum(-2), self.bias.grad.shape))
        return unbroadcast(product(grad_output, self.weight.value), x.shape)

    def extra_repr(self) -> str:
        """The arguments, as torch prints them."""
        replicas = "" if self.replicas is None else f", replicas={self.replicas}"
        return (
            f"in_features={self.in_features}, out_features={self.out_features},"
            f" bias={self.bias is not None}{replicas}"
        )
