"""Batch normalisation: every feature gets mean 0 and variance 1 over the batch, then a scale and a shift.

    z = (x - mean) / sqrt(var + eps),   y = w z + b        mean, var, w, b: one for each feature

However the layers below change a feature's size, the layer above gets it with the same mean and variance.
Evaluation must not depend on the other points of the batch: it takes running averages of mean and variance,
gathered while training. Paper: https://arxiv.org/abs/1502.03167
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import empty

from scratch_framework.core.argument_types import check_count, check_floats, lead_of
from scratch_framework.core.broadcasting import append_dimensions
from scratch_framework.core.checks import check_at_least, check_shape, check_share
from scratch_framework.core.module import Module
from scratch_framework.core.parameter import Buffer, Parameter

if TYPE_CHECKING:
    from torch import Tensor, device, dtype

    from scratch_framework.core.checks import Pattern


class BatchNorm(Module):
    """Base of the two below, which differ in the shapes that they take."""

    inner: tuple[Pattern, ...]  # the dimensions that may stand behind the features
    running_mean: Buffer | None = None
    running_var: Buffer | None = None
    num_batches_tracked: Buffer | None = None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        bias: bool = True,
        replicas: int | None = None,
        device: device | str | None = None,
        dtype: dtype | None = None,
    ) -> None:
        """Start with scale 1, shift 0, and running statistics of mean 0 and variance 1.

        Args:
            num_features: Features C.
            eps: Keeps the quotient finite where all inputs are equal.
            momentum: Share of each batch in the running statistics; None makes them means of all batches.
            affine: Whether there are a scale and a shift.
            track_running_stats: Whether to keep running statistics; without them evaluation, too, takes the
                batch's.
            bias: Whether there is a shift beside the scale.
            replicas: R layers at once; None is one layer, without the leading dimension.
            device: Where the parameters live.
            dtype: Their type.
        """
        check_count(1, num_features=num_features)
        check_at_least(0, eps=eps)
        check_share(momentum=0.0 if momentum is None else momentum)
        self.num_features, self.eps, self.momentum, self.replicas = num_features, eps, momentum, replicas
        self.lead = lead_of(replicas)
        self.inputs = [(*self.lead, "N", num_features, *inner) for inner in self.inner]
        zeros = empty(*self.lead, num_features, device=device, dtype=dtype).zero_()
        self.weight = Parameter(zeros + 1, replicas) if affine else None
        self.bias = Parameter(zeros.clone(), replicas) if affine and bias else None
        if track_running_stats:
            self.running_mean, self.running_var = Buffer(zeros.clone()), Buffer(zeros + 1)
            self.num_batches_tracked = Buffer(zeros.new_zeros(self.lead).long())  # torch keeps count too

    def forward(self, x: Tensor) -> Tensor:
        """Compute y = w z + b, by the batch's statistics in training, by the running ones in evaluation."""
        own = self.weight or self.running_mean
        check_shape(self, "input", x, *self.inputs, weight=None if own is None else own.value)
        check_floats(self, "input", x)
        rows = self._rows(x)  # (..., C, M)
        count = rows.shape[-1]
        training = True
        if self.training or self.running_mean is None or self.running_var is None:
            self._check_count(x, count)
            mean = rows.mean(-1)  # (..., C)
            centred = rows - column(mean)
            var = (centred * centred).mean(-1)
            self._track(mean, var, count)
        else:
            training = False
            centred, var = rows - column(self.running_mean.value), self.running_var.value
        scale = (var + self.eps).rsqrt_()
        z = centred.mul_(column(scale))
        y = z if self.weight is None else z * column(self.weight.value)
        y = y if self.bias is None else y.add_(column(self.bias.value))
        return self.save_for_backward((z, scale, training), self._points_back(y, x.shape))

    def backward(self, grad_output: Tensor) -> Tensor:
        """Differentiate y_n = w z_n + b with z_n = (x_n - m) s, s = 1 / sqrt(v + eps), given g = dL/dy.

        The batch has M numbers of a feature. For w and b it is a linear layer with one input:

            dL/dw = sum_n g_n z_n        dL/db = sum_n g_n

        In evaluation m and s are constants: dL/dx_n = w s g_n. In training every x_i moves them too, as

            dm/dx_i = 1/M,    v = mean (x - m)^2:  dv/dx_i = 2 (x_i - m) / M,    ds/dx_i = -s^3 / 2 dv/dx_i,

            dz_n/dx_i = s ([n = i] - 1/M) + (x_n - m) ds/dx_i = s ([n = i] - 1/M - z_n z_i / M).

        That v depends on m too adds nothing to dv/dx_i: dv/dm = -2 mean (x - m) = 0.

        Summed over n, with w g_n = dL/dz_n:

            dL/dx_i = w s (g_i - mean_n g_n - z_i mean_n(g_n z_n)).

        To add a constant to all x does not change z. So the dL/dx_i of a feature add up to 0. To multiply all
        x by a constant does not change z either, but for eps: so z_i dL/dx_i add up to almost 0.
        """
        z, scale, training = self.saved(grad_output)
        grad, share = self._rows(grad_output), 1 / max(z.shape[-1], 1)
        grad_weight, grad_bias = (grad * z).sum(-1), grad.sum(-1)  # (..., C)
        if self.weight is not None:
            self.weight.grad.add_(grad_weight)
            scale = scale * self.weight.value
        if self.bias is not None:
            self.bias.grad.add_(grad_bias)
        if training:
            centred = grad.sub(column(grad_bias), alpha=share)
            grad_input = centred.addcmul_(z, column(grad_weight), value=-share).mul_(column(scale))
        else:
            grad_input = grad * column(scale)
        return self._points_back(grad_input, grad_output.shape)

    def _rows(self, x: Tensor) -> Tensor:
        """The numbers of each feature in a row, (..., C, M); no copy where points lie last (see `conv2d`)."""
        points = len(self.lead)
        return x.movedim(points, -1).flatten(points + 1)

    def _points_back(self, rows: Tensor, shape: tuple[int, ...]) -> Tensor:
        """View rows in the shape of x again."""
        points = len(self.lead)
        return rows.view(*self.lead, *shape[points + 1 :], shape[points]).movedim(-1, points)

    def _check_count(self, x: Tensor, count: int) -> None:
        """Refuse to train on one number a feature, which is its own mean."""
        if count == 1:
            raise ValueError(
                f"{type(self).__name__}: training needs more than one number a feature, got shape"
                f" {tuple(x.shape)}"
            )

    def _track(self, mean: Tensor, var: Tensor, count: int) -> None:
        """Move the running statistics; the variance is that of a sample, by M - 1, as in torch."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        tracked = self.num_batches_tracked.value.add_(1)
        if count == 0:
            return
        for running, latest in (
            (self.running_mean.value, mean),
            (self.running_var.value, var * (count / (count - 1))),
        ):
            if self.momentum is None:  # the mean of all batches so far
                running.lerp_(latest, 1 / append_dimensions(tracked.to(running), running.dim()))
            else:
                running.lerp_(latest, self.momentum)

    def extra_repr(self) -> str:
        """The arguments, as torch prints them."""
        affine, tracked = self.weight is not None, self.running_mean is not None
        text = f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={affine}"
        text += f", track_running_stats={tracked}"
        return text if self.replicas is None else f"{text}, replicas={self.replicas}"


def column(numbers: Tensor) -> Tensor:
    """View one number a feature, (..., C), as (..., C, 1), so that it broadcasts over rows."""
    return numbers.unsqueeze(-1)


class BatchNorm1d(BatchNorm):
    """Of features (N, C) or (N, C, L); with replicas (R, N, C) or (R, N, C, L)."""

    inner = ((), ("L",))


class BatchNorm2d(BatchNorm):
    """Of channels (N, C, H, W), pixels counting as points; with replicas (R, N, C, H, W)."""

    inner = (("H", "W"),)
