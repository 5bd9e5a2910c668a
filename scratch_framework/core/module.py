"""A module: a piece of a net that computes its output going forward and passes gradients going backward.

A net is a chain of functions y = f(x; w) that ends in one number, the loss L. Training needs the derivative
of L by every parameter w. The chain rule finds them all in one walk from the end to the start:

    each module is given  dL/dy, the gradient of the loss by its output,
    it adds               dL/dw = dL/dy dy/dw  to the gradient of its parameters,
    and it returns        dL/dx = dL/dy dy/dx, which is the dL/dy of the module before it.

Autograd records the forward pass and derives this walk by itself. Here each module spells it out: `forward`
saves what the derivatives need, `backward` uses it. So `backward` belongs to the latest `forward`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scratch_framework.core.argument_types import check_tensors
from scratch_framework.core.parameter import Parameter
from scratch_framework.core.saved import ForwardPass, mark, marks
from scratch_framework.core.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


class Module(Tree):
    """Base of all layers and nets. A subclass writes `forward` and `backward`."""

    _latest: ForwardPass | None = None
    _passes = 0  # forward passes so far

    def forward(self, x: Tensor) -> Tensor:
        """Compute the output, and save what `backward` needs."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward")

    def backward(self, grad_output: Tensor) -> Tensor:
        """Add dL/dw to each parameter's gradient, given dL/dy.

        Args:
            grad_output: dL/dy, of the shape of the latest output.

        Returns:
            dL/dx, of the shape of the latest input.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no backward")

    def __call__(self, x: Tensor) -> Tensor:
        """Call `forward`."""
        check_tensors(type(self).__name__, input=x)
        return self.forward(x)

    def save_for_backward(self, saved: Any, output: Tensor) -> Tensor:
        """End `forward`: save what `backward` needs.

        Args:
            saved: What the derivative is computed from: a tensor, or nested tuples and lists of tensors.
            output: The module's output; `saved` checks the gradient's shape and dtype against it.

        Returns:
            The output.
        """
        if output.requires_grad:
            raise ValueError(
                f"{type(self).__name__}: the input must not require grad (gradients are computed here, not by"
                " autograd): pass its detach()"
            )
        self._passes += 1
        parameters = [value for value in vars(self).values() if isinstance(value, Parameter)]
        self._latest = ForwardPass(saved, parameters, output, self._passes, self._latest)
        return mark(output, marks(output) | {id(self): self._passes})

    def saved(self, grad_output: Tensor) -> Any:
        """Begin `backward`: get what `forward` saved.

        Args:
            grad_output: The gradient that ``backward`` was given.

        Raises:
            RuntimeError: There was no forward pass; or the gradient is of one before the latest; or what was
                saved, or a parameter, has been changed since.
            ValueError: The gradient has not the output's shape and dtype.
        """
        if self._latest is None:
            raise RuntimeError(
                f"{type(self).__name__}: backward before forward; there is no output to differentiate"
            )
        self._latest.check(self, grad_output)
        return self._latest.saved

    def __getstate__(self) -> dict[str, Any]:
        """What a copy and a pickle hold: all but the latest forward pass, which belongs to this module."""
        return {name: value for name, value in vars(self).items() if name != "_latest"}

    def saved_passes(self) -> dict[Module, ForwardPass | None]:
        """The latest forward pass of this module and of all inside it.

        Whoever applies one module several times takes these after each forward pass, and gives them back
        (`restore`) before the backward pass that belongs to it.
        """
        passes = {module: module._latest for module in self.inner_modules()}
        for one in passes.values():
            if one is not None:
                one.settled = True
        return passes

    def restore(self, passes: Mapping[Module, ForwardPass | None]) -> None:
        """Go back to forward passes that `saved_passes` returned."""
        for module, one in passes.items():
            module._latest = one
