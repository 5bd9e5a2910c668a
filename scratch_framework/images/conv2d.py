"""Convolution: one small linear layer that looks at an image window by window, the same weights everywhere.

    y_oij = b_o + sum_cuv W_ocuv x_c,si+u-p,sj+v-p

    x: (N, C, H, W)   W: (O, C, k, k)   y: (N, O, H', W')   s: stride   p: padding, where x is 0

A window is k x k numbers of each of C channels. Written one below the other they are a column, and with all
windows of all images side by side the convolution is one product of two matrices (im2col, or unfolding):

                                      H' W' N windows
                                 +------------------------+
                         C k k   |  |                     |     columns
                                 |  window                |
                                 |  |                     |
                                 +------------------------+
             C k k
         +-----------+           +------------------------+
      O  |  weights  |        O  |  *                     |     output: * = weights of one output channel
         +-----------+           +------------------------+             times one window

Where a window lies matters less to the rows than which image it is of: points come last, so that neighbours
in memory are the same pixel of the next image. Then the columns are copied in long runs, the output comes out
as the next layer wants it, and pooling, normalisation and activations keep that order by themselves. Shapes
do not tell: they are torch's, and the order in memory is only strides. With R replicas every tensor has R
first, and one batched product does the work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import empty

from scratch_framework.core import init
from scratch_framework.core.module import Module
from scratch_framework.core.parameter import Parameter
from scratch_framework.images.patches import check_room, kernel_offsets, patches

if TYPE_CHECKING:
    from torch import Tensor

    from scratch_framework.core.aliases import Device, DType, Generator


class Conv2d(Module):
    """Cross-correlation with square windows, drawn by torch's rule U(-1/sqrt(C k k), 1/sqrt(C k k)).

    Shapes: (N, C, H, W) to (N, O, H', W'); with replicas (R, N, C, H, W) to (R, N, O, H', W'), or
    (N, C, H, W) shared by all. H' = (H + 2 padding - k) // stride + 1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        *,
        bias: bool = True,
        replicas: int | None = None,
        input_grad: bool = True,
        device: Device = None,
        dtype: DType = None,
        generator: Generator = None,
    ) -> None:
        """Draw a layer.

        Args:
            in_channels: Channels C of the input.
            out_channels: Channels O of the output.
            kernel_size: Side k of a window.
            stride: From one window to the next.
            padding: Rows and columns of zeros around the image.
            bias: Whether to add b.
            replicas: R layers at once; None is one layer, without the leading dimension.
            input_grad: Whether `backward` computes dL/dx. A net's first layer may spare itself the work: no
                layer below asks for it.
            device: Where the parameters live.
            dtype: Their type.
            generator: Source of the draws.
        """
        sizes = {"in_channels": in_channels, "out_channels": out_channels, "kernel_size": kernel_size}
        for name, size in (sizes | {"stride": stride, "replicas": replicas}).items():
            if size is not None and size < 1:
                raise ValueError(f"{name} must be at least 1, got {size}")
        if padding < 0:
            raise ValueError(f"padding must be at least 0, got {padding}")
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, kernel_size
        self.stride, self.padding, self.replicas, self.input_grad = stride, padding, replicas, input_grad
        lead = () if replicas is None else (replicas,)
        weight = empty(*lead, out_channels, in_channels, kernel_size, kernel_size, device=device, dtype=dtype)
        self.weight = Parameter(weight, replicas)
        self.bias = Parameter(weight.new_empty(*lead, out_channels), replicas) if bias else None
        self.reset_parameters(generator)

    def reset_parameters(self, generator: Generator = None) -> None:
        """Draw weight and bias anew by torch's default rule.

        Args:
            generator: Source of the draws.
        """
        bias = self.bias.value if self.bias else None
        init.default_(self.weight.value, bias, generator, self.replicas)

    def forward(self, x: Tensor) -> Tensor:
        """Compute y = W columns + b."""
        self._check(x)
        view = patches(self._points_last(x), self.kernel_size, self.stride)  # (..., N, C, H', W', k, k)
        view = view.movedim((-6, -4, -3), (-1, -3, -2))  # (..., C, k, k, H', W', N)
        columns = view.flatten(-3).flatten(-4, -2)  # (..., C k k, H' W' N): here numbers are copied
        y = self.weight.value.flatten(-3).matmul(columns)  # (..., O, H' W' N)
        if self.bias is not None:
            y.add_(self.bias.value.unsqueeze(-1))
        y = y.unflatten(-1, view.shape[-3:]).movedim(-1, -4)  # (..., N, O, H', W')
        return self.save_for_backward((columns, x.shape), y)

    def backward(self, grad_output: Tensor) -> Tensor:
        """Differentiate Y = W X + b, given G = dL/dY, (O, H' W' N), and X the columns, (C k k, H' W' N).

        Seen as matrices this is a linear layer whose points are the windows, and so are its gradients:

            dL/dW = G X^T      (O, C k k): a weight meets every window of every image, hence the sum
            dL/db = G 1        (O,)
            dL/dX = W^T G      (C k k, H' W' N): what each window hears

        A pixel lies in up to k k windows, at another place (u, v) of each, and gets the sum of what it hears
        in all of them (`_fold`). An image shared by R replicas sums over them too.
        """
        columns, shape = self.saved(grad_output)
        grad = grad_output.movedim(-4, -1).flatten(-3)  # (..., O, H' W' N)
        self.weight.grad.add_(grad.matmul(columns.mT).view(self.weight.grad.shape))
        if self.bias is not None:
            self.bias.grad.add_(grad.sum(-1))
        if not self.input_grad:
            return grad_output.new_full((), float("nan")).expand(shape)  # not 0: whoever uses it shall see
        grad_columns = self.weight.value.flatten(-3).mT.matmul(grad)  # (..., C k k, H' W' N)
        grad_input = self._fold(grad_columns, grad_output.shape, shape[-2:])
        return grad_input if grad_input.shape == shape else grad_input.sum(0)  # sum: shared by replicas

    def _points_last(self, x: Tensor) -> Tensor:
        """Lay points of (..., N, C, H, W) last in memory, unless they lie so, and zeros around images."""
        image, edge = x.movedim(-4, -1).contiguous(), self.padding  # (..., C, H, W, N)
        if edge:
            (*lead, height, width, points), inner = image.shape, image
            image = inner.new_zeros(*lead, height + 2 * edge, width + 2 * edge, points)
            image[..., edge:-edge, edge:-edge, :] = inner
        return image.movedim(-1, -4)

    def _fold(self, grad_columns: Tensor, output: tuple[int, ...], size: tuple[int, ...]) -> Tensor:
        """Add up what all windows hear of each pixel: the way back from columns to images.

        Args:
            grad_columns: (..., C k k, H' W' N).
            output: Shape (..., N, O, H', W') of the layer's output.
            size: H and W.

        Returns:
            (..., N, C, H, W).
        """
        (*lead, points, _, down, across), (height, width), edge = output, size, self.padding
        heard = grad_columns.view(*lead, self.in_channels, -1, down, across, points).movedim(-1, -5)
        image = (*lead, self.in_channels, height + 2 * edge, width + 2 * edge, points)
        grad = grad_columns.new_zeros(image).movedim(-1, -4)  # (..., N, C, H, W), zeros around them included
        for place, part in zip(
            kernel_offsets(grad, self.kernel_size, self.stride), heard.unbind(-3), strict=True
        ):
            place.add_(part)  # (..., N, C, H', W')
        return grad[..., edge : edge + height, edge : edge + width]

    def _check(self, x: Tensor) -> None:
        weight, shape = self.weight.value, tuple(x.shape)
        lead = "" if self.replicas is None else f"{self.replicas}, "
        shared = "" if self.replicas is None else f" or (N, {self.in_channels}, H, W)"
        fits = len(shape) == 4 or (len(shape) == 5 and shape[0] == self.replicas)
        if not fits or shape[-3] != self.in_channels:
            raise ValueError(
                f"Conv2d: the input must have shape ({lead}N, {self.in_channels}, H, W){shared} for a weight"
                f" of shape {tuple(weight.shape)}, got {shape}"
            )
        check_room("Conv2d", (shape[-2] + 2 * self.padding, shape[-1] + 2 * self.padding), self.kernel_size)
        if x.dtype != weight.dtype:
            raise ValueError(f"Conv2d: the input must have the weight's dtype {weight.dtype}, got {x.dtype}")

    def extra_repr(self) -> str:
        """The arguments, as torch prints them."""
        side, step, edge = self.kernel_size, self.stride, self.padding
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={(side, side)}, stride={(step, step)}"
        text += f", padding={(edge, edge)}" if edge else ""
        text += "" if self.bias is not None else ", bias=False"
        return text if self.replicas is None else f"{text}, replicas={self.replicas}"
