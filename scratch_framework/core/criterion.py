"""A criterion measures how wrong a net is: one loss for each point, and one number for the batch.

    L = (1/N) sum_n l_n ("mean"),    L = sum_n l_n ("sum"),    or all l_n ("none")

It is the end of the chain, so its `backward` starts the walk: model.backward(criterion.backward()).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scratch_framework.core.saved import are_unchanged, mark, marks, versions

if TYPE_CHECKING:
    from torch import Tensor

REDUCTIONS = ("mean", "sum", "none")


class Criterion:
    """Base of the losses: reductions, replicas and checks.

    With R replicas the prediction is (R, N, ...), the target the same or (N, ...) for all, and the loss (R,):
    each replica's over its own batch, so that its gradient is what it would be alone.
    """

    _memory: tuple[Tensor, ...] | None = None
    _losses: Tensor
    _loss: Tensor
    _versions: list[tuple[Tensor, int]]
    _passes: dict[int, int]  # whose output the prediction was

    def __init__(self, reduction: str = "mean", replicas: int | None = None) -> None:
        """Choose how losses become one.

        Args:
            reduction: ``mean``, ``sum`` or ``none``.
            replicas: R, when the first dimension of the prediction counts replicas.
        """
        if reduction not in REDUCTIONS:
            raise ValueError(f"reduction must be one of {', '.join(REDUCTIONS)}, got {reduction!r}")
        if replicas is not None and replicas < 1:
            raise ValueError(f"replicas must be at least 1, got {replicas}")
        self.reduction, self.replicas = reduction, replicas

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """Compare a prediction with its target.

        Args:
            x: What the net says.
            target: What it should say.

        Returns:
            The loss: a scalar, or (R,) with replicas, or unreduced.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no forward")

    def backward(self, grad_output: Tensor | None = None) -> Tensor:
        """Differentiate the latest loss by the prediction.

        Args:
            grad_output: Weight of the loss in what is being minimised, of the loss's shape; 1 by default.

        Returns:
            dL/dx, of the prediction's shape.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no backward")

    def __call__(self, x: Tensor, target: Tensor) -> Tensor:
        """Call `forward`."""
        return self.forward(x, target)

    def reduce(self, losses: Tensor, *memory: Tensor) -> Tensor:
        """Make one of many losses, and remember what `backward` needs.

        Args:
            losses: l_n, (N, ...) or (R, N, ...).
            *memory: What `recall` shall give back.

        Returns:
            The loss.
        """
        if losses.requires_grad:
            raise ValueError(
                f"{type(self).__name__}: prediction and target must not require grad (gradients are computed"
                " here, not by autograd): pass their detach()"
            )
        if self.reduction == "none":
            loss = losses
        else:
            batch = losses.flatten() if self.replicas is None else losses.flatten(1)  # (N,) or (R, N)
            loss = batch.mean(-1) if self.reduction == "mean" else batch.sum(-1)
        self._memory, self._losses, self._loss = memory, losses, loss
        self._versions = versions(memory)
        return loss

    def saved(self) -> tuple[Tensor, ...]:
        """Give `backward` what `reduce` remembered."""
        if self._memory is None:
            raise RuntimeError(f"{type(self).__name__}: backward before forward; there is no loss yet")
        if not are_unchanged(self._versions):
            raise RuntimeError(
                f"{type(self).__name__}: prediction or target was changed in place after forward; change a"
                " copy, or call backward first"
            )
        return self._memory

    def scale_gradient(self, slopes: Tensor, grad_output: Tensor | None) -> Tensor:
        """Pass from the slope of each loss to that of the reduced one: dL/dx = dL/dl_n dl_n/dx.

        Args:
            slopes: dl_n/dx, of the prediction's shape.
            grad_output: Weight of the loss, or None for 1.

        Returns:
            dL/dx. The mean has dL/dl_n = 1/N, the sum 1.
        """
        if self.reduction == "mean":
            slopes = slopes / (self._losses.numel() // (self.replicas or 1))
        if grad_output is None:
            return mark(slopes, self._passes)
        if grad_output.shape != self._loss.shape:
            raise ValueError(
                f"{type(self).__name__}: grad_output must have the loss's shape {tuple(self._loss.shape)},"
                f" got {tuple(grad_output.shape)}"
            )
        weights = grad_output.reshape(grad_output.shape + (1,) * (slopes.dim() - grad_output.dim()))
        return mark(slopes * weights, self._passes)

    def check_prediction(self, x: Tensor) -> None:
        """Refuse what no loss can judge: no values, whole numbers, another number of replicas."""
        name, shape = type(self).__name__, tuple(x.shape)
        if not x.is_floating_point():
            raise ValueError(f"{name}: the prediction must hold floating-point numbers, got {x.dtype}")
        if self.replicas is not None and (len(shape) < 2 or shape[0] != self.replicas):
            raise ValueError(f"{name}: the prediction must have shape ({self.replicas}, N, ...), got {shape}")
        if x.numel() == 0:
            raise ValueError(f"{name}: the prediction must hold at least one number, got shape {shape}")
        self._passes = marks(x)

    def matched(self, x: Tensor, target: Tensor) -> Tensor:
        """Give the target of a loss that compares number with number, in the prediction's shape."""
        self.check_prediction(x)
        if target.dtype != x.dtype:
            raise ValueError(
                f"{type(self).__name__}: the target must have the prediction's dtype {x.dtype},"
                f" got {target.dtype}"
            )
        return self.broadcast_target(target, tuple(x.shape))

    def broadcast_target(self, target: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Give every replica the target, when they share one.

        Args:
            target: What the net should say.
            shape: The shape that it must have.

        Returns:
            The target in that shape.
        """
        if self.replicas is not None and tuple(target.shape) == shape[1:]:
            return target.expand(shape)
        if tuple(target.shape) != shape:
            raise ValueError(
                f"{type(self).__name__}: the target must have shape {shape}, got {tuple(target.shape)}"
            )
        return target

    def __repr__(self) -> str:
        replicas = "" if self.replicas is None else f", replicas={self.replicas}"
        return f"{type(self).__name__}(reduction={self.reduction!r}{replicas})"
