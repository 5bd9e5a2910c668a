"""Targets that are classes: in which dimension they lie, how much each class counts, and which points do not.

The formulas of `cross_entropy` see one row of numbers for each point, classes last: (..., C). This file
brings all shapes that torch takes to that form and back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scratch_framework.core.checks import check_dtype, check_shape
from scratch_framework.core.criterion import Criterion
from scratch_framework.core.saved import mark

if TYPE_CHECKING:
    from torch import Tensor


class ClassCriterion(Criterion):
    """Base of the losses of classes.

    Shapes: x (N, C) and target (N,); or x (N, C, d1, ...) and target (N, d1, ...), where every pixel has a
    class of its own; or x (C,) and one class (). With replicas R stands in front of x; the target may have
    it too, or be the same for all.
    """

    takes_probabilities = False  # whether the target may also be probabilities in the shape of x

    def __init__(
        self,
        weight: Tensor | None = None,
        *,
        ignore_index: int = -100,
        reduction: str = "mean",
        replicas: int | None = None,
    ) -> None:
        """Choose what counts.

        Args:
            weight: How much each class counts, (C,): larger for rare ones. The mean divides by the sum of the
                weights of the points' classes.
            ignore_index: The class of points that do not count.
            reduction: ``mean``, ``sum`` or ``none``.
            replicas: R, when the first dimension of x counts replicas.
        """
        super().__init__(reduction=reduction, replicas=replicas)
        self.weight, self.ignore_index = weight, ignore_index

    def shares(self, x: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Check x and target, and say how much each class counts for each point.

        Returns:
            x with its classes last, (..., C); the shares q, (..., C); and the weights of the points, (...),
            by which the mean divides, or None where each counts once.
        """
        self.check_prediction(x)
        check_shape(self, "scores", x, (*self.lead, "N", "C", "..."), *([] if self.lead else [("C",)]))
        self.dim = min(len(self.lead) + 1, x.dim() - 1)
        scores = x.movedim(self.dim, -1)  # (..., C)
        classes, weight = scores.shape[-1], self.weight
        if weight is not None:
            check_shape(self, "weight", weight, (classes,))
            check_dtype(self, "weight", weight, "prediction", x)
        if (
            self.takes_probabilities
            and target.is_floating_point()
            and target.dim() >= x.dim() - len(self.lead)
        ):
            check_dtype(self, "target", target, "prediction", x)
            q = self.smoothed(self.broadcast_target(target, tuple(x.shape)).movedim(self.dim, -1))
            return scores, q if weight is None else q * weight, None
        target, counts = self.match_classes(target, scores)
        q = self.smoothed(scores.new_zeros(scores.shape).scatter_(-1, target.unsqueeze(-1), 1))
        points = None if weight is None else weight.take(target)
        q = q if weight is None else q * weight
        if counts is None:
            return scores, q, points
        return scores, q * counts.unsqueeze(-1), counts.to(x) if points is None else points * counts

    def match_classes(self, target: Tensor, scores: Tensor) -> tuple[Tensor, Tensor | None]:
        """Check classes; return them, 0 where they do not count, and whether they count, None if all do."""
        name, classes = type(self).__name__, scores.shape[-1]
        if target.is_floating_point() or target.is_complex():
            raise ValueError(f"{name}: the target must hold classes as integers, got {target.dtype}")
        target = self.broadcast_target(target.long(), tuple(scores.shape[:-1]))
        low, high = (int(bound) for bound in target.aminmax())
        counts = None
        if low <= self.ignore_index <= high:
            counts = target != self.ignore_index
            target = target.where(counts, 0)
            low, high = (int(bound) for bound in target.aminmax())
        if low < 0 or high >= classes:
            raise ValueError(
                f"{name}: the target must lie in 0..{classes - 1}, got {low if low < 0 else high}"
            )
        return target, counts

    def smoothed(self, target: Tensor) -> Tensor:
        """The shares of the classes before they are weighted: the target's own."""
        return target

    def scale_gradient(self, slopes: Tensor, grad_output: Tensor | None) -> Tensor:
        """End `backward` as the base does, for slopes (..., C), and move the classes to where x has them."""
        return mark(super().scale_gradient(slopes, grad_output).movedim(-1, self.dim), self._passes)
