"""Convolution: one small linear layer for all patches of an image, with the same weights everywhere.

    y_oij = b_o + sum_cuv W_ocuv x_c,si+u-p,sj+v-p

    x: (N, C, H, W)   W: (O, C, k, k)   y: (N, O, H', W')   s: stride   p: padding, where x is 0

A patch is k x k numbers of each of C channels. Written one below the other they are a column, and with all
patches of all images side by side the convolution is one product of two matrices (im2col, or unfolding):

                                      H' W' N patches
                                 +------------------------+
                         C k k   |  |                     |     columns
                                 |  patch                 |
                                 |  |                     |
                                 +------------------------+
             C k k
         +-----------+           +------------------------+
      O  |  weights  |        O  |  *                     |     output: * = weights of one output channel
         +-----------+           +------------------------+             times one patch

The batch dimension is innermost in memory (CHWN), so columns are copied in runs of W' N numbers. The output
has the order that the next layer works fastest in, and pooling, normalisation and activations keep it. Shapes
stay torch's: the order in memory is only strides. With R replicas every tensor has R first, and one batched
product computes all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import empty

from scratch_framework.core import init
from scratch_framework.core.broadcasting import unbroadcast
from scratch_framework.core.checks import check_at_least, check_shape
from scratch_framework.core.module import Module
from scratch_framework.core.parameter import Parameter
from scratch_framework.images.patches import check_room, kernel_offsets, patches

if TYPE_CHECKING:
    from torch import Generator, Tensor, device, dtype


class Conv2d(Module):
    """Cross-correlation with square kernels, drawn by torch's rule U(-1/sqrt(C k k), 1/sqrt(C k k)).

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
        device: device | str | None = None,
        dtype: dtype | None = None,
        generator: Generator | None = None,
    ) -> None:
        """Draw a layer.

        Args:
            in_channels: Channels C of the input.
            out_channels: Channels O of the output.
            kernel_size: Side k of a patch.
            stride: From one patch to the next.
            padding: Rows and columns of zeros around the image.
            bias: Whether to add b.
            replicas: R layers at once; None is one layer, without the leading dimension.
            input_grad: Whether `backward` computes dL/dx. A net's first layer may leave it out: no layer
                below needs it.
            device: Where the parameters live.
            dtype: Their type.
            generator: Source of the draws.
        """
        sizes = {"in_channels": in_channels, "out_channels": out_channels, "kernel_size": kernel_size}
        check_at_least(1, **sizes, stride=stride, replicas=replicas)
        check_at_least(0, padding=padding)
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, kernel_size
        self.stride, self.padding, self.replicas, self.input_grad = stride, padding, replicas, input_grad
        lead = () if replicas is None else (replicas,)
        weight = empty(*lead, out_channels, in_channels, kernel_size, kernel_size, device=device, dtype=dtype)
        self.weight = Parameter(weight, replicas)
        self.bias = Parameter(weight.new_empty(*lead, out_channels), replicas) if bias else None
        single = ("N", in_channels, "H", "W")
        self.inputs = [single] if replicas is None else [(replicas, *single), single]
        self.reset_parameters(generator)

    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draw weight and bias anew by torch's default rule."""
        bias = self.bias.value if self.bias else None
        init.default_(self.weight.value, bias, generator, self.replicas)

    def forward(self, x: Tensor) -> Tensor:
        """Compute y = W columns + b."""
        check_shape(self, "input", x, *self.inputs, weight=self.weight.value)
        check_room("Conv2d", tuple(size + 2 * self.padding for size in x.shape[-2:]), self.kernel_size)
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

        Seen as matrices this is a linear layer whose points are the patches, and so are its gradients:

            dL/dW = G X^T      (O, C k k): a weight meets every patch of every image, hence the sum
            dL/db = G 1        (O,)
            dL/dX = W^T G      (C k k, H' W' N): the gradient of each patch

        A pixel lies in up to k k patches, at another offset (u, v) of each, and its gradient is the sum of
        its gradients in all of them (`_fold`). That of an image that R replicas share sums over them too.
        """
        columns, shape = self.saved(grad_output)
        grad = grad_output.movedim(-4, -1).flatten(-3)  # (..., O, H' W' N)
        self.weight.grad.add_(grad.matmul(columns.mT).view(self.weight.grad.shape))
        if self.bias is not None:
            self.bias.grad.add_(grad.sum(-1))
        if not self.input_grad:
            return grad_output.new_full((), float("nan")).expand(shape)  # NaN, so that a mistaken use shows
        grad_columns = self.weight.value.flatten(-3).mT.matmul(grad)  # (..., C k k, H' W' N)
        grad_input = self._fold(grad_columns, grad_output.shape, shape[-2:])
        return unbroadcast(grad_input, shape)

    def _points_last(self, x: Tensor) -> Tensor:
        """Lay points of (..., N, C, H, W) last in memory, unless they lie so, and zeros around images."""
        image, edge = x.movedim(-4, -1).contiguous(), self.padding  # (..., C, H, W, N)
        if edge:
            (*lead, height, width, points), inner = image.shape, image
            image = inner.new_zeros(*lead, height + 2 * edge, width + 2 * edge, points)
            image[..., edge:-edge, edge:-edge, :] = inner
        return image.movedim(-1, -4)

    def _fold(self, grad_columns: Tensor, output: tuple[int, ...], size: tuple[int, ...]) -> Tensor:
        """Add up the gradients of each pixel in all patches: the way back from columns to images.

        Args:
            grad_columns: (..., C k k, H' W' N).
            output: Shape (..., N, O, H', W') of the layer's output.
            size: H and W.

        Returns:
            (..., N, C, H, W).
        """
        (*lead, points, _, down, across), (height, width), edge = output, size, self.padding
        patch_grads = grad_columns.view(*lead, self.in_channels, -1, down, across, points).movedim(-1, -5)
        image = (*lead, self.in_channels, height + 2 * edge, width + 2 * edge, points)
        grad = grad_columns.new_zeros(image).movedim(-1, -4)  # (..., N, C, H, W), zeros around them included
        views = kernel_offsets(grad, self.kernel_size, self.stride)
        for view, patch_grad in zip(views, patch_grads.unbind(-3), strict=True):
            view.add_(patch_grad)  # (..., N, C, H', W')
        return grad[..., edge : edge + height, edge : edge + width]

    def extra_repr(self) -> str:
        """The arguments, as torch prints them."""
        side, step, edge = self.kernel_size, self.stride, self.padding
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={(side, side)}, stride={(step, step)}"
        text += f", padding={(edge, edge)}" if edge else ""
        text += "" if self.bias is not None else ", bias=False"
        return text if self.replicas is None else f"{text}, replicas={self.replicas}"
