"""Adam and AdamW: a step of about lr for every parameter, however large or small its gradient is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scratch_framework.core.optimizer import Optimizer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from scratch_framework.core.aliases import Rate
    from scratch_framework.core.parameter import Parameter


class Adam(Optimizer):
    """w <- w - lr m / (sqrt(v) + eps): the mean gradient m over its typical size sqrt(v).

    Paper: https://arxiv.org/abs/1412.6980
    """

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: Rate = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: Rate = 0,
    ) -> None:
        """Choose rates.

        Args:
            params: Parameters, as ``model.parameters()`` gives them.
            lr: Learning rate; one for all or (R,).
            betas: Share of m and share of v that stay from step to step, each in [0, 1).
            eps: Keeps the quotient finite where all gradients were 0.
            weight_decay: Adds weight_decay * w to the gradient; one for all or (R,).
        """
        super().__init__(params, lr, weight_decay)
        for place, beta in enumerate(betas):
            if not 0 <= beta < 1:
                raise ValueError(f"betas[{place}] must lie in [0, 1), got {beta}")
        if not eps >= 0:
            raise ValueError(f"eps must be at least 0, got {eps}")
        self.betas, self.eps = betas, eps
        self.steps = 0
        self.means = [parameter.grad.new_zeros(parameter.grad.shape) for parameter in self.params]
        self.squares = [parameter.grad.new_zeros(parameter.grad.shape) for parameter in self.params]

    def set_momentum(self, momentum: float) -> None:
        """Change the first beta, Adam's momentum."""
        self.betas = (momentum, self.betas[1])

    def step(self) -> None:
        """Move every parameter along its gradient g + weight_decay w."""
        self.steps += 1
        for place, parameter in enumerate(self.params):
            gradient = self.decay(parameter, parameter.grad)
            self.descend(parameter, self.direction(place, gradient))

    def direction(self, place: int, gradient: Tensor) -> Tensor:
        """Update the running means and form their quotient.

            m <- beta1 m + (1 - beta1) g
            v <- beta2 v + (1 - beta2) g^2

        Both start at 0 and so are too small at first: if every g were the same, m after t steps would be

            (1 - beta1) (1 + beta1 + ... + beta1^(t-1)) g = (1 - beta1^t) g.

        To divide by 1 - beta1^t mends exactly that; v likewise by 1 - beta2^t. The correction fades with
        time, as both powers go to 0.

        Args:
            place: Which parameter.
            gradient: Its gradient.

        Returns:
            The direction, of the parameter's shape.
        """
        (beta1, beta2), mean, square = self.betas, self.means[place], self.squares[place]
        mean.mul_(beta1).add_(gradient, alpha=1 - beta1)
        square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        size = square.sqrt().div_(math.sqrt(1 - beta2**self.steps)).add_(self.eps)
        return mean.div(size).div_(1 - beta1**self.steps)


class AdamW(Adam):
    """Adam with decay kept out of the quotient: w <- w - lr (m / (sqrt(v) + eps) + weight_decay w).

    In Adam, decay passes through the quotient, so parameters with large gradients hardly decay; here all
    decay at the same pace. Paper: https://arxiv.org/abs/1711.05101
    """

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: Rate = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: Rate = 1e-2,
    ) -> None:
        """Choose rates, as for `Adam`.

        Args:
            params: Parameters, as ``model.parameters()`` gives them.
            lr: Learning rate; one for all or (R,).
            betas: Share of m and share of v that stay from step to step, each in [0, 1).
            eps: Keeps the quotient finite where all gradients were 0.
            weight_decay: Pull to 0, beside the gradient's; one for all or (R,).
        """
        super().__init__(params, lr, betas, eps, weight_decay)

    def step(self) -> None:
        """Move every parameter along Adam's direction plus weight_decay w."""
        self.steps += 1
        for place, parameter in enumerate(self.params):
            direction = self.direction(place, parameter.grad)
            self.descend(parameter, self.decay(parameter, direction))
