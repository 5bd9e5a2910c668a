"""Batch normalisation: every feature gets mean 0 and variance 1 over the batch, then a scale and a shift.

    z = (x - mean) / sqrt(var + eps),   y = w z + b        mean, var, w, b: one for each feature

Whatever the layers below do to the size of a feature, the layer above finds it as it was used to. Evaluation
must not depend on who else is in the batch: it takes running averages of mean and variance, gathered while
training. Paper: https://arxiv.org/abs/1502.03167
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import empty

from scratch_framework.core.buffer import Buffer
from scratch_framework.core.module import Module
from scratch_framework.core.parameter import Parameter

if TYPE_CHECKING:
    from torch import Tensor

    from scratch_framework.core.aliases import Device, DType


class BatchNorm(Module):
    """What the two below share; they differ in the shapes that they take."""

    inner: tuple[int, ...]  # how many dimensions may stand behind the features

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        *,
        replicas: int | None = None,
        device: Device = None,
        dtype: DType = None,
    ) -> None:
        """Start with scale 1, shift 0, and running statistics of mean 0 and variance 1.

        Args:
            num_features: Features C.
            eps: Keeps the quotient finite where all inputs are equal.
            momentum: Share of each batch in the running statistics.
            replicas: R layers at once; None is one layer, without the leading dimension.
            device: Where the parameters live.
            dtype: Their type.
        """
        for name, size in (("num_features", num_features), ("replicas", replicas)):
            if size is not None and size < 1:
                raise ValueError(f"{name} must be at least 1, got {size}")
        if not eps >= 0:
            raise ValueError(f"eps must be at least 0, got {eps}")
        if not 0 <= momentum <= 1:
            raise ValueError(f"momentum must lie in [0, 1], got {momentum}")
        self.num_features, self.eps, self.momentum, self.replicas = num_features, eps, momentum, replicas
        lead = () if replicas is None else (replicas,)
        zeros = empty(*lead, num_features, device=device, dtype=dtype).zero_()
        self.weight, self.bias = Parameter(zeros + 1, replicas), Parameter(zeros, replicas)
        self.running_mean, self.running_var = Buffer(zeros.clone()), Buffer(zeros + 1)
        self.num_batches_tracked = Buffer(zeros.new_zeros(lead).long())  # torch keeps count too

    def forward(self, x: Tensor) -> Tensor:
        """Compute y = w z + b, by the batch's statistics in training, by the running ones in evaluation."""
        over = self._check(x)
        if self.training:
            mean = x.mean(over, keepdim=True)
            centred = x - mean
            var = (centred * centred).mean(over, keepdim=True)
            self._track(mean, var, x.numel() // mean.numel())
        else:
            mean, var = self._along(self.running_mean.value, x), self._along(self.running_var.value, x)
            centred = x - mean
        scale = (var + self.eps).rsqrt()
        z = centred.mul_(scale)
        y = self._along(self.bias.value, x).addcmul(self._along(self.weight.value, x), z)
        return self.save_for_backward((z, scale, over, self.training), y)

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

        So the gradient has no part that shifts all x alike, and, but for eps, none that scales them: a shift
        leaves z as it is, and a scale too where eps is 0 (mean z^2 = v / (v + eps)).
        """
        z, scale, over, training = self.saved(grad_output)
        grad_weight = (grad_output * z).sum(over, keepdim=True)
        grad_bias = grad_output.sum(over, keepdim=True)
        self.weight.grad.add_(grad_weight.view(self.weight.grad.shape))
        self.bias.grad.add_(grad_bias.view(self.bias.grad.shape))
        scale = scale * self._along(self.weight.value, z)
        if not training:
            return grad_output * scale
        count = z.numel() // grad_bias.numel()
        return (grad_output - grad_bias / count).addcmul_(z, grad_weight, value=-1 / count).mul_(scale)

    def _track(self, mean: Tensor, var: Tensor, count: int) -> None:
        """Move the running statistics; the variance as of a sample, by M - 1, as torch does."""
        for running, latest in ((self.running_mean, mean), (self.running_var, var * (count / (count - 1)))):
            running.value.lerp_(latest.view(running.value.shape), self.momentum)
        self.num_batches_tracked.value.add_(1)

    def _along(self, value: Tensor, x: Tensor) -> Tensor:
        """Shape one number a feature, (..., C), so that it stands before the features of x."""
        *lead, features = value.shape
        return value.view(*lead, 1, features, *[1] * (x.dim() - len(lead) - 2))

    def _check(self, x: Tensor) -> tuple[int, ...]:
        """Refuse what does not fit, and tell the dimensions that statistics are taken over."""
        shape, first = tuple(x.shape), 0 if self.replicas is None else 1
        dims, name = [2 + first + count for count in self.inner], type(self).__name__
        lead = "" if self.replicas is None else f"{self.replicas}, "
        if (
            len(shape) not in dims
            or shape[first + 1] != self.num_features
            or (first and shape[0] != self.replicas)
        ):
            raise ValueError(
                f"{name}: the input must have shape ({lead}N, {self.num_features}, ...) with"
                f" {' or '.join(map(str, dims))} dimensions, got {shape}"
            )
        if x.dtype != self.weight.value.dtype:
            raise ValueError(
                f"{name}: the input must have the weight's dtype {self.weight.value.dtype}, got {x.dtype}"
            )
        if self.training and x.numel() <= self.weight.value.numel():
            raise ValueError(f"{name}: training needs more than one number a feature, got shape {shape}")
        return (first, *range(first + 2, len(shape)))

    def extra_repr(self) -> str:
        """The arguments, as torch prints them."""
        replicas = "" if self.replicas is None else f", replicas={self.replicas}"
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine=True,"
            f" track_running_stats=True{replicas}"
        )


class BatchNorm1d(BatchNorm):
    """Of features (N, C) or (N, C, L); with replicas (R, N, C) or (R, N, C, L)."""

    inner = (0, 1)


class BatchNorm2d(BatchNorm):
    """Of channels (N, C, H, W), pixels counting as points; with replicas (R, N, C, H, W)."""

    inner = (2,)
