"""A chain of modules: the output of each is the input of the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scratch_framework.core.checks import check_once
from scratch_framework.core.module_list import ModuleList

if TYPE_CHECKING:
    from torch import Tensor

    from scratch_framework.core.module import Module


class Sequential(ModuleList):
    """Modules run one after the other.

    Every place needs a module of its own, activations too: a module saves only its latest forward pass, so
    the backward pass of one that stands in two places would differentiate at the wrong input.
    """

    def __init__(self, *modules: Module) -> None:
        """Chain modules.

        Args:
            *modules: At least one, in the order of the forward pass.
        """
        if not modules:
            raise ValueError("Sequential must hold at least one module, got none")
        super().__init__(modules)
        check_once("Sequential", "module", list(self.modules()))

    def forward(self, x: Tensor) -> Tensor:
        """Compute y = f_n(... f_2(f_1(x)))."""
        for module in self.chain:
            x = module.forward(x)
        return x

    def backward(self, grad_output: Tensor) -> Tensor:
        """Walk the chain backward.

        With x_0 = x and x_k = f_k(x_{k-1}), the chain rule reads

            dL/dx_{k-1} = dL/dx_k dx_k/dx_{k-1},

        so the gradient that module k returns is the one that module k - 1 is given.
        """
        for module in reversed(self.chain):
            grad_output = module.backward(grad_output)
        return grad_output
