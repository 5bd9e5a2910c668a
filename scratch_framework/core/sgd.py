"""Stochastic gradient descent: step against the gradient of a small batch, and the next, and the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scratch_framework.core.optimizer import Optimizer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from scratch_framework.core.aliases import Rate
    from scratch_framework.core.parameter import Parameter


class SGD(Optimizer):
    """w <- w - lr g, with momentum w <- w - lr v where v gathers past gradients.

    Momentum rolls through noise and along valleys where g alone zigzags; Nesterov's form looks a step
    ahead. This is torch's variant. In the paper's, v <- momentum v - lr g and w <- w + v; the two differ when
    lr changes, as here the new lr acts on past gradients too.
    Paper: https://proceedings.mlr.press/v28/sutskever13.html
    """

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: Rate = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: Rate = 0,
        nesterov: bool = False,
    ) -> None:
        """Choose rates.

        Args:
            params: Parameters, as ``model.parameters()`` gives them.
            lr: Learning rate; one for all or (R,).
            momentum: Share of v that stays from step to step.
            dampening: Share of each gradient that is kept out of v.
            weight_decay: Adds weight_decay * w to the gradient; one for all or (R,).
            nesterov: Whether to look ahead.
        """
        super().__init__(params, lr, weight_decay)
        if not momentum >= 0:
            raise ValueError(f"momentum must be at least 0, got {momentum}")
        if nesterov and (momentum == 0 or dampening != 0):
            raise ValueError(
                f"nesterov needs momentum above 0 and dampening 0, got momentum {momentum} and dampening"
                f" {dampening}"
            )
        self.momentum, self.dampening, self.nesterov = momentum, dampening, nesterov
        self.velocity: list[Tensor | None] = [None for _ in self.params]

    def set_momentum(self, momentum: float) -> None:
        """Change the momentum."""
        self.momentum = momentum

    def step(self) -> None:
        """Move every parameter.

        g <- g + weight_decay w
        v <- momentum v + (1 - dampening) g        (the first v is g itself)
        w <- w - lr v,  or with Nesterov  w <- w - lr (g + momentum v)
        """
        for place, parameter in enumerate(self.params):
            gradient = self.decay(parameter, parameter.grad)
            if self.momentum:
                gradient = self._with_momentum(place, gradient)
            self.descend(parameter, gradient)

    def _with_momentum(self, place: int, gradient: Tensor) -> Tensor:
        velocity = self.velocity[place]
        if velocity is None:
            velocity = self.velocity[place] = gradient.clone()
        else:
            velocity.mul_(self.momentum).add_(gradient, alpha=1 - self.dampening)
        return gradient + self.momentum * velocity if self.nesterov else velocity
