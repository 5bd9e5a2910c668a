"""A criterion measures how wrong a net is: one loss for each point, and one number for the batch.

    L = (1/N) sum_n l_n ("mean"),    L = sum_n l_n ("sum"),    or all l_n ("none")

It is the end of the chain, so its `backward` starts the walk: model.backward(criterion.backward()).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scratch_framework.core.annotations import Checked
from scratch_framework.core.argument_types import check_floats, check_tensors, lead_of
from scratch_framework.core.broadcasting import append_dimensions
from scratch_framework.core.checks import check_choice, check_dtype, check_shape
from scratch_framework.core.saved import are_unchanged, mark, marks, versions

if TYPE_CHECKING:
    from torch import Tensor


class Criterion(Checked):
    """Base of the losses: reduction, and the checks that all of them need.

    With R replicas the prediction is (R, N, ...), the target the same or (N, ...) for all, and the loss (R,):
    each replica's over its own batch, so that its gradient is what it would be alone.
    """

    _saved: tuple[Tensor, ...] | None = None
    _loss: Tensor
    _total: Any = 1  # what the mean divides by
    _versions: list[tuple[Tensor, int]]
    _passes: dict[int, int]  # whose output the prediction was

    def __init__(self, *, reduction: str = "mean", replicas: int | None = None) -> None:
        """Choose the reduction, and R where the first dimension of the prediction counts replicas."""
        check_choice("reduction", reduction, ("mean", "sum", "none"))
        self.reduction, self.replicas = reduction, replicas
        self.lead = lead_of(replicas)  # dimensions before the points

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """Compare a prediction with its target: the loss is a scalar, or (R,), or unreduced."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward")

    def backward(self, grad_output: Tensor | None = None) -> Tensor:
        """Differentiate the latest loss by the prediction: dL/dx, of the prediction's shape.

        Args:
            grad_output: Weight of the loss in what is being minimised, of the loss's shape; 1 by default.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no backward")

    def __call__(self, x: Tensor, target: Tensor) -> Tensor:
        """Call `forward`."""
        check_tensors(type(self).__name__, prediction=x, target=target)
        return self.forward(x, target)

    def reduce(self, losses: Tensor, *saved: Tensor, weights: Tensor | None = None) -> Tensor:
        """End `forward`: reduce the losses l_n, (N, ...) or (R, N, ...), and save what `backward` needs.

        Where points have weights w_n, the l_n contain them, and the mean is sum_n l_n / sum_n w_n.
        """
        if losses.requires_grad:
            raise ValueError(
                f"{type(self).__name__}: prediction and target must not require grad (gradients are computed"
                " here, not by autograd): pass their detach()"
            )
        loss, batch = losses, losses.reshape(*self.lead, -1)  # (N,) or (R, N)
        if self.reduction == "mean":
            self._total = batch.shape[-1] if weights is None else weights.reshape(batch.shape).sum(-1)
            loss = batch.mean(-1) if weights is None else batch.sum(-1) / self._total
        elif self.reduction == "sum":
            loss = batch.sum(-1)
        self._saved, self._loss, self._versions = saved, loss, versions(saved)
        return loss

    def saved(self) -> tuple[Tensor, ...]:
        """Begin `backward`: get what `reduce` saved."""
        if self._saved is None:
            raise RuntimeError(f"{type(self).__name__}: backward before forward; there is no loss yet")
        if not are_unchanged(self._versions):
            raise RuntimeError(
                f"{type(self).__name__}: prediction or target was changed in place after forward; change a"
                " copy, or call backward first"
            )
        return self._saved

    def scale_gradient(self, slopes: Tensor, grad_output: Tensor | None) -> Tensor:
        """End `backward`: dL/dx = dL/dl_n dl_n/dx; dL/dl_n is 1 for the sum, 1/N or 1/sum w_n for the mean.

        ``slopes`` are dl_n/dx, of the prediction's shape; ``grad_output`` is the weight of the loss, or None.
        """
        total = self._total
        if self.reduction == "mean" and isinstance(total, int):
            slopes = slopes / total
        elif self.reduction == "mean":  # where no point counts the total is 0, and so are the slopes
            slopes = slopes / append_dimensions(total.where(total != 0, 1), slopes.dim())
        if grad_output is not None:
            check_tensors(type(self).__name__, grad_output=grad_output)
            wanted, got = tuple(self._loss.shape), tuple(grad_output.shape)
            if got != wanted:
                name = type(self).__name__
                raise ValueError(f"{name}: grad_output must have the loss's shape {wanted}, got {got}")
            slopes = slopes * append_dimensions(grad_output, slopes.dim())
        return mark(slopes, self._passes)

    def check_prediction(self, x: Tensor) -> None:
        """Reject empty, integer or wrongly replicated predictions."""
        check_floats(self, "prediction", x)
        check_shape(self, "prediction", x, (*self.lead, "N", "...") if self.lead else ("...",))
        if x.numel() == 0:
            name, shape = type(self).__name__, tuple(x.shape)
            raise ValueError(f"{name}: the prediction must hold at least one number, got shape {shape}")
        self._passes = marks(x)

    def match(self, x: Tensor, target: Tensor) -> Tensor:
        """Check prediction and target of a loss that compares number with number; return the target."""
        self.check_prediction(x)
        check_dtype(self, "target", target, "prediction", x)
        return self.broadcast_target(target, tuple(x.shape))

    def broadcast_target(self, target: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Give the target the shape that it must have: replicas may share one."""
        check_shape(self, "target", target, shape, *([shape[1:]] if self.lead else []))
        return target.expand(shape)

    def __repr__(self) -> str:
        replicas = "" if self.replicas is None else f", replicas={self.replicas}"
        return f"{type(self).__name__}(reduction={self.reduction!r}{replicas})"
