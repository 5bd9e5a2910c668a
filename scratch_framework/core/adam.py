"""Adam and AdamW: a step of about lr for every parameter, however large or small its gradient is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scratch_framework.core.checks import check_at_least
from scratch_framework.core.left_out import NO_AUTOGRAD, NO_GRAPH, ONE_BY_ONE, LeftOut, leaves_out
from scratch_framework.core.optim import Optimizer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from scratch_framework.core.parameter import Parameter, Rate


@leaves_out(
    foreach=ONE_BY_ONE,
    fused=ONE_BY_ONE,
    differentiable=NO_AUTOGRAD,
    capturable=NO_GRAPH,
    decoupled_weight_decay=LeftOut(False, "AdamW"),
)
class Adam(Optimizer):
    """w <- w - lr m / (sqrt(v) + eps): the mean gradient m over its typical size sqrt(v).

    Paper: https://arxiv.org/abs/1412.6980
    """

    decoupled = False  # whether decay stays out of the quotient

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: Rate = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: Rate = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        """Choose rates.

        Args:
            params: Parameters, as ``model.parameters()`` gives them.
            lr: Learning rate; one for all or (R,).
            betas: Share of m and share of v that stay from step to step, each in [0, 1).
            eps: Keeps the quotient finite where all gradients were 0.
            weight_decay: Adds weight_decay * w to the gradient; one for all or (R,).
            amsgrad: Divide by the largest v so far, so that a step never grows because gradients become
                small (https://arxiv.org/abs/1904.09237).
            maximize: Go uphill.
        """
        states = ["mean", "square", *(["largest"] if amsgrad else [])]
        super().__init__(params, lr, weight_decay, *states, maximize=maximize)
        check_at_least(0, eps=eps)
        self.betas, self.eps = check_betas(betas), eps

    def set_momentum(self, momentum: float) -> None:
        """Change the first beta, Adam's momentum."""
        self.betas = check_betas((momentum, self.betas[1]))

    def update(self, parameter: Parameter, gradient: Tensor, state: list[Tensor]) -> None:
        """Update the running means and move one parameter along their quotient.

            m <- beta1 m + (1 - beta1) g
            v <- beta2 v + (1 - beta2) g^2

        Both start at 0 and so are too small at first: if every g were the same, m after t steps would be

            (1 - beta1) (1 + beta1 + ... + beta1^(t-1)) g = (1 - beta1^t) g.

        To divide m by C1 = 1 - beta1^t corrects exactly that. So does 1 - beta2^t for v, and its root C2 for
        sqrt(v). The correction fades with time, as both powers go to 0. As one factor s = C2 / C1 it costs
        nothing, because it joins the learning rate:

            (m / C1) / (sqrt(v) / C2 + eps) = s m / (sqrt(v) + C2 eps).
        """
        (beta1, beta2), (mean, square, *largest) = self.betas, state
        if not self.decoupled:
            gradient = self.decayed(parameter, gradient)
        mean.lerp_(gradient, 1 - beta1)
        square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        for most in largest:  # with amsgrad there is one
            square = most.copy_(most.maximum(square))
        root = math.sqrt(1 - beta2**self.steps)
        scale = root / (1 - beta1**self.steps)
        direction = square.sqrt().add_(root * self.eps).reciprocal_().mul_(mean)
        if self.decoupled:
            direction = self.decayed(parameter, direction, 1 / scale)
        self.descend(parameter, direction, scale)


@leaves_out(foreach=ONE_BY_ONE, fused=ONE_BY_ONE, differentiable=NO_AUTOGRAD, capturable=NO_GRAPH)
class AdamW(Adam):
    """Adam with decay kept out of the quotient: w <- w - lr (m / (sqrt(v) + eps) + weight_decay w).

    In Adam, decay passes through the quotient, so parameters with large gradients hardly decay; here all
    decay at the same pace. Paper: https://arxiv.org/abs/1711.05101
    """

    decoupled = True

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: Rate = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: Rate = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        """Choose rates as for `Adam`; here decay is on by default, as in torch."""
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)


def check_betas(betas: tuple[float, float]) -> tuple[float, float]:
    """Refuse a share outside [0, 1): with 1 nothing new would ever count. Returns the two."""
    for place, beta in enumerate(betas):
        if not 0 <= beta < 1:
            raise ValueError(f"betas[{place}] must lie in [0, 1), got {beta}")
    return betas
