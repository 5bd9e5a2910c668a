"""The linear layer: every output is a weighted sum of all inputs, plus a bias.

    y = x W^T + b        x: (N, in)   W: (out, in)   b: (out,)   y: (N, out)

The weight is stored as torch stores it, one row for each output. With R replicas every tensor gains a leading
dimension, and one batched product (``baddbmm``) computes R layers that know nothing of each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import empty

from scratch_framework.core import init
from scratch_framework.core.module import Module
from scratch_framework.core.parameter import Parameter

if TYPE_CHECKING:
    from torch import Tensor

    from scratch_framework.core.aliases import Device, DType, Generator


class Linear(Module):
    """y = x W^T + b, drawn by torch's rule U(-1/sqrt(in), 1/sqrt(in)); `init` has others.

    Shapes: (..., in) to (..., out); with replicas (R, N, in) to (R, N, out), or (N, in) shared by all.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        replicas: int | None = None,
        *,
        device: Device = None,
        dtype: DType = None,
        generator: Generator = None,
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
        sizes = {"in_features": in_features, "out_features": out_features, "replicas": replicas}
        for name, size in sizes.items():
            if size is not None and size < 1:
                raise ValueError(f"{name} must be at least 1, got {size}")
        self.in_features, self.out_features, self.replicas = in_features, out_features, replicas
        lead = () if replicas is None else (replicas,)
        weight = empty(*lead, out_features, in_features, device=device, dtype=dtype)
        self.weight = Parameter(weight, replicas)
        self.bias = Parameter(weight.new_empty(*lead, out_features), replicas) if bias else None
        self.reset_parameters(generator)

    def reset_parameters(self, generator: Generator = None) -> None:
        """Draw weight and bias anew by torch's default rule.

        Args:
            generator: Source of the draws.
        """
        bias = self.bias.value if self.bias else None
        init.default_(self.weight.value, bias, generator, self.replicas)

    def forward(self, x: Tensor) -> Tensor:
        """Compute y = x W^T + b."""
        self._check(x)
        weight_t = self.weight.value.mT  # (in, out), or (R, in, out)
        if self.bias is None:
            y = x.matmul(weight_t)
        elif self.replicas is None:
            y = x.matmul(weight_t).add_(self.bias.value)  # (..., out)
        else:
            rows = x.expand(self.replicas, -1, -1)  # (R, N, in)
            y = self.bias.value.unsqueeze(1).baddbmm(rows, weight_t)  # (R, N, out)
        return self.save_for_backward(x, y)

    def backward(self, grad_output: Tensor) -> Tensor:
        """Differentiate y_nj = sum_i W_ji x_ni + b_j, given G = dL/dy of shape (N, out).

        Each formula sums over every path from the parameter (or input) to the loss:

            dL/dW_ji = sum_n G_nj dy_nj/dW_ji = sum_n G_nj x_ni     that is  G^T x    (out, in)
            dL/db_j  = sum_n G_nj dy_nj/db_j  = sum_n G_nj          that is  G^T 1    (out,)
            dL/dx_ni = sum_j G_nj dy_nj/dx_ni = sum_j G_nj W_ji     that is  G W      (N, in)

        W and b serve all N points of the batch, hence their sums over n; an input feeds all outputs, hence
        its sum over j. An input shared by R replicas feeds R nets and sums over them too.
        """
        x = self.saved(grad_output)
        if self.replicas is None:
            rows, grads = x.reshape(-1, self.in_features), grad_output.reshape(-1, self.out_features)
            self.weight.grad.addmm_(grads.mT, rows)  # (out, N) (N, in)
        else:
            rows, grads = x.expand(self.replicas, -1, -1), grad_output
            self.weight.grad.baddbmm_(grads.mT, rows)  # (R, out, N) (R, N, in)
        if self.bias is not None:
            self.bias.grad.add_(grads.sum(-2))
        grad_input = grad_output.matmul(self.weight.value)
        return grad_input if grad_input.shape == x.shape else grad_input.sum(0)  # sum: shared by replicas

    def _check(self, x: Tensor) -> None:
        weight, replicas, shape = self.weight.value, self.replicas, tuple(x.shape)
        points = "..." if replicas is None else f"{replicas}, N"
        shared = "" if replicas is None else f" or (N, {self.in_features})"
        leads_fit = replicas is None or len(shape) == 2 or (len(shape) == 3 and shape[0] == replicas)
        if shape[-1:] != (self.in_features,) or not leads_fit:
            raise ValueError(
                f"Linear: the input must have shape ({points}, {self.in_features}){shared} for a weight of"
                f" shape {tuple(weight.shape)}, got {shape}"
            )
        if x.dtype != weight.dtype:
            raise ValueError(f"Linear: the input must have the weight's dtype {weight.dtype}, got {x.dtype}")

    def extra_repr(self) -> str:
        """The arguments, as torch prints them."""
        replicas = "" if self.replicas is None else f", replicas={self.replicas}"
        return (
            f"in_features={self.in_features}, out_features={self.out_features},"
            f" bias={self.bias is not None}{replicas}"
        )
