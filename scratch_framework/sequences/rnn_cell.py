"""A recurrent cell: reads a sequence one input at a time, and hands what it has seen on as a hidden state.

    h' = tanh(x W_ih^T + b_ih + h W_hh^T + b_hh)       x: (N, in)   h, h': (N, hidden)

    x_1        x_2        x_3
     |          |          |
    cell - h_1 cell - h_2 cell - h_3        one cell, the same weights at each time

A module keeps only its latest forward pass. So a loop over time takes each pass out, and on the way back
gives it in again; the gradient of a state is the sum of that through the loss and that through the next time:

    for x in xs:
        h = cell(x, h)
        passes.append(cell.saved_passes())
    for grad, one in zip(reversed(grads), reversed(passes)):   # dL/dh_t through the losses at time t
        cell.restore(one)
        grad_x = cell.backward(grad if later is None else grad + later)
        later = cell.grad_hidden
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import empty

from scratch_framework.core.argument_types import check_count, check_tensors, lead_of
from scratch_framework.core.checks import check_choice, check_shape
from scratch_framework.core.module import Module
from scratch_framework.core.parameter import Parameter

if TYPE_CHECKING:
    from torch import Generator, Tensor, device, dtype

    from scratch_framework.core.checks import Pattern


class RNNCell(Module):
    """h' = tanh(x W_ih^T + b_ih + h W_hh^T + b_hh), drawn by torch's rule U(-1/sqrt(hidden), 1/sqrt(hidden)).

    Shapes: (N, in) and (N, hidden) to (N, hidden), or all without N; with replicas R stands in front.
    """

    grad_hidden: Tensor  # dL/dh, of the latest backward pass

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        *,
        replicas: int | None = None,
        device: device | str | None = None,
        dtype: dtype | None = None,
        generator: Generator | None = None,
    ) -> None:
        """Draw a cell.

        Args:
            input_size: Numbers of each input.
            hidden_size: Numbers of the state.
            bias: Whether to add b_ih and b_hh. One would do; torch has both.
            nonlinearity: ``tanh`` or ``relu``.
            replicas: R cells at once; None is one cell, without the leading dimension.
            device: Where the parameters live.
            dtype: Their type.
            generator: Source of the draws.
        """
        check_count(1, input_size=input_size, hidden_size=hidden_size)
        check_choice("nonlinearity", nonlinearity, ("tanh", "relu"))
        self.input_size, self.hidden_size, self.replicas = input_size, hidden_size, replicas
        self.nonlinearity, self.lead = nonlinearity, lead_of(replicas)
        self.inputs: list[Pattern] = [(*self.lead, "N", input_size), *([] if self.lead else [(input_size,)])]
        bound, shape = 1 / math.sqrt(hidden_size), (*self.lead, hidden_size)

        def drawn(*sizes: int) -> Parameter:
            value = empty(*sizes, device=device, dtype=dtype)
            return Parameter(value.uniform_(-bound, bound, generator=generator), replicas)

        self.weight_ih, self.weight_hh = drawn(*shape, input_size), drawn(*shape, hidden_size)
        self.bias_ih = drawn(*shape) if bias else None
        self.bias_hh = drawn(*shape) if bias else None

    def __call__(self, x: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Call `forward`."""
        check_tensors(type(self).__name__, input=x, **({} if hidden is None else {"state": hidden}))
        return self.forward(x, hidden)

    def forward(self, x: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Compute h' of an input and the state h; None is the state 0, with which a sequence begins."""
        check_shape(self, "input", x, *self.inputs, weight=self.weight_ih.value)
        if hidden is None:
            hidden = x.new_zeros(*x.shape[:-1], self.hidden_size)
        check_shape(self, "state", hidden, (*x.shape[:-1], self.hidden_size), weight=self.weight_hh.value)
        y = rows(x).matmul(self.weight_ih.value.mT) + rows(hidden).matmul(self.weight_hh.value.mT)
        for bias in (self.bias_ih, self.bias_hh):
            if bias is not None:
                y.add_(bias.value.unsqueeze(-2))
        y = (y.tanh() if self.nonlinearity == "tanh" else y.clamp(min=0)).view(hidden.shape)
        return self.save_for_backward((x, hidden, y), y)

    def backward(self, grad_output: Tensor) -> Tensor:
        """Differentiate h' = f(a), a = x W_ih^T + b_ih + h W_hh^T + b_hh, given dL/dh'.

        Through the activation dL/da = dL/dh' f', with f' = 1 - h'^2 for tanh, and for ReLU 1 where h' > 0,
        else 0. From there x and h are inputs of a linear layer each:

            dL/dW_ih = (dL/da)^T x     dL/dW_hh = (dL/da)^T h     dL/db = sum_n dL/da_n     dL/dx = dL/da W_ih

        and dL/dh = dL/da W_hh (`grad_hidden`), which is part of dL/dh' of the time before.
        """
        x, hidden, y = self.saved(grad_output)
        grad = grad_output * (1 - y * y) if self.nonlinearity == "tanh" else grad_output.where(y > 0, 0)
        grads = rows(grad)  # (..., N, hidden)
        self.weight_ih.grad.add_(grads.mT.matmul(rows(x)))
        self.weight_hh.grad.add_(grads.mT.matmul(rows(hidden)))
        for bias in (self.bias_ih, self.bias_hh):
            if bias is not None:
                bias.grad.add_(grads.sum(-2))
        self.grad_hidden = grads.matmul(self.weight_hh.value).view(hidden.shape)
        return grads.matmul(self.weight_ih.value).view(x.shape)

    def extra_repr(self) -> str:
        """The arguments, as torch prints them."""
        text = f"{self.input_size}, {self.hidden_size}"
        text += "" if self.bias_ih is not None else ", bias=False"
        text += "" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity}"
        return text if self.replicas is None else f"{text}, replicas={self.replicas}"


def rows(points: Tensor) -> Tensor:
    """View one point as a batch of one."""
    return points if points.dim() > 1 else points.unsqueeze(0)
