"""Batch normalisation: every feature gets mean 0 and variance 1 over the batch, then a scale and a shift.

    z = (x - mean) / sqrt(var + eps),   y = w z + b        mean, var, w, b: one for each feature

However the layers below change a feature's size, the layer above gets it with the same mean and variance.
Evaluation must not depend on the other points of the batch: it takes running averages of mean and variance,
gathered while training. Paper: https://arxiv.org/abs/1502.03167
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import empty

from scratch_framework.core.broadcasting import unbroadcast
from scratch_framework.core.checks import check_at_least, check_shape, check_share
from scratch_framework.core.module import Module
from scratch_framework.core.parameter import Buffer, Parameter

if TYPE_CHECKING:
    from torch import Tensor, device, dtype

    from scratch_framework.core.checks import Pattern


class BatchNorm(Module):
    """Base of the two below, which differ in the shapes that they take."""

    inner: tuple[Pattern, ...]  # the dimensions that may stand behind the features

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        *,
        replicas: int | None = None,
        device: device | str | None = None,
        dtype: dtype | None = None,
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
        check_at_least(1, num_features=num_features, replicas=replicas)
        check_at_least(0, eps=eps)
        check_share(momentum=momentum)
        self.num_features, self.eps, self.momentum, self.replicas = num_features, eps, momentum, replicas
        lead = () if replicas is None else (replicas,)
        self.inputs = [(*lead, "N", num_features, *inner) for inner in self.inner]
        zeros = empty(*lead, num_features, device=device, dtype=dtype).zero_()
        self.weight, self.bias = Parameter(zeros + 1, replicas), Parameter(zeros, replicas)
        self.running_mean, self.running_var = Buffer(zeros.clone()), Buffer(zeros + 1)
        self.num_batches_tracked = Buffer(zeros.new_zeros(lead).long())  # torch keeps count too

    def forward(self, x: Tensor) -> Tensor:
        """Compute y = w z + b, by the batch's statistics in training, by the running ones in evaluation."""
        check_shape(self, "input", x, *self.inputs, weight=self.weight.value)
        weight, bias, mean, var = (
            self._before_features(one.value, x)
            for one in (self.weight, self.bias, self.running_mean, self.running_var)
        )
        if self.training:
            count = x.numel() // weight.numel()  # M, numbers of each feature
            if count < 2:
                raise ValueError(
                    f"{type(self).__name__}: training needs more than one number a feature, got shape"
                    f" {tuple(x.shape)}"
                )
            mean = unbroadcast(x, weight.shape) / count
            centred = x - mean
            var = unbroadcast(centred * centred, weight.shape) / count
            self._track(mean, var * (count / (count - 1)))
        else:
            centred = x - mean
        scale = (var + self.eps).rsqrt()
        z = centred.mul_(scale)
        y = bias.addcmul(weight, z)
        return self.save_for_backward((z, scale, self.training), y)

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

        z is unchanged by a shift of x and, but for eps, by a scale: mean z^2 = v / (v + eps). So the gradient
        has no part along the first and, but for eps, none along the second.
        """
        z, scale, training = self.saved(grad_output)
        grad_weight = unbroadcast(grad_output * z, scale.shape)
        grad_bias = unbroadcast(grad_output, scale.shape)
        self.weight.grad.add_(grad_weight.view(self.weight.grad.shape))
        self.bias.grad.add_(grad_bias.view(self.bias.grad.shape))
        scale = scale * self._before_features(self.weight.value, z)
        if not training:
            return grad_output * scale
        count = z.numel() // grad_bias.numel()
        return (grad_output - grad_bias / count).addcmul_(z, grad_weight, value=-1 / count).mul_(scale)

    def _track(self, mean: Tensor, var: Tensor) -> None:
        """Move the running statistics; the variance is that of a sample, by M - 1, as in torch."""
        for running, latest in ((self.running_mean, mean), (self.running_var, var)):
            running.value.lerp_(latest.view(running.value.shape), self.momentum)
        self.num_batches_tracked.value.add_(1)

    def _before_features(self, value: Tensor, x: Tensor) -> Tensor:
        """View one number a feature, (..., C), so that it broadcasts over points and pixels of x."""
        *lead, features = value.shape
        return value.view(*lead, 1, features, *[1] * (x.dim() - len(lead) - 2))

    def extra_repr(self) -> str:
        """The arguments, as torch prints them."""
        replicas = "" if self.replicas is None else f", replicas={self.replicas}"
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine=True,"
            f" track_running_stats=True{replicas}"
        )


class BatchNorm1d(BatchNorm):
    """Of features (N, C) or (N, C, L); with replicas (R, N, C) or (R, N, C, L)."""

    inner = ((), ("L",))


class BatchNorm2d(BatchNorm):
    """Of channels (N, C, H, W), pixels counting as points; with replicas (R, N, C, H, W)."""

    inner = (("H", "W"),)
