"""A chain of modules: the output of each is the input of the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scratch_framework.module import Module

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor


class Sequential(Module):
    """Modules run one after the other.

    Every place needs a module of its own, activations too: a module remembers only its latest forward pass,
    so the backward pass of one that stands in two places would differentiate at the wrong input.
    """

    def __init__(self, *modules: Module) -> None:
        """Chain modules.

        Args:
            *modules: At least one, in the order of the forward pass.
        """
        if not modules:
            raise ValueError("Sequential must hold at least one module, got none")
        for place, module in enumerate(modules):
            if not isinstance(module, Module):
                raise ValueError(f"Sequential must hold modules, got {module!r} at place {place}")
        self.chain = modules
        self.refuse_repeats()

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Modules of the chain, named 0, 1, 2 and so on."""
        return ((str(place), module) for place, module in enumerate(self.chain))

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

    def __len__(self) -> int:
        return len(self.chain)

    def __getitem__(self, place: int) -> Module:
        return self.chain[place]

    def __iter__(self) -> Iterator[Module]:
        return iter(self.chain)
