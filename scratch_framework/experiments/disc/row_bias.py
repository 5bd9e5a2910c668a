"""The mistake in the paper's code, for study: a linear layer whose bias is kept per row of the batch.

The gradient of a bias is the sum over the batch of dL/dy, because one bias serves all its points (see
`scratch_framework.core.linear`). The authors' code leaves dL/dy unsummed, of shape (N, out), and subtracts it
from a bias of shape (out,): what comes out has shape (N, out), from the first step on. Row n of the batch
then has a bias of its own, which gets gradients from the points in row n only; docs/disc.md has what follows.
"""

import torch
from torch import Tensor

from scratch_framework import Linear, Parameter


class RowBiasLinear(Linear):
    """y_n = W x_n + b_n: R layers whose bias is (R, rows, out); point n of a batch uses row n mod rows."""

    def __init__(
        self, in_features: int, out_features: int, rows: int, replicas: int, dtype: torch.dtype
    ) -> None:
        super().__init__(in_features, out_features, replicas=replicas, dtype=dtype)
        self.bias = Parameter(self.weight.value.new_zeros(replicas, rows, out_features), replicas)

    def forward(self, x: Tensor) -> Tensor:
        assert self.bias is not None
        y = self.bias.value[:, self._rows(x)].baddbmm(x, self.weight.value.mT)  # (R, N, out)
        return self.save_for_backward(x, y)

    def backward(self, grad_output: Tensor) -> Tensor:
        """As `Linear`'s, but for dL/db_n = dL/dy_n: no sum over the batch."""
        assert self.bias is not None
        x = self.saved(grad_output)
        self.weight.grad.baddbmm_(grad_output.mT, x)
        self.bias.grad.index_add_(1, self._rows(x), grad_output)
        return grad_output.matmul(self.weight.value)

    def _rows(self, x: Tensor) -> Tensor:
        assert self.bias is not None
        return torch.arange(x.shape[1]) % self.bias.value.shape[1]  # (N,)
