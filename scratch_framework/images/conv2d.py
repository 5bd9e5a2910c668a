"""Convolution: one small linear layer for all patches of an image, with the same weights everywhere.

    y_oij = b_o + sum_cuv W_ocuv x_c,si+du-p,sj+dv-p

    x: (N, C, H, W)   W: (O, C, k, k)   y: (N, O, H', W')   s: stride   d: dilation   p: padding, where x is 0

A patch is k x k numbers of each of C channels. Written one below the other they are a column, and with all
patches of all images side by side (see `columns`) the convolution is one product of two matrices:

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

The batch dimension is innermost in memory (CHWN), of columns and of the output. The next layer works fastest
in this order, and pooling, normalisation and activations keep it. Shapes stay torch's: the order in memory is
only strides. With R replicas every tensor has R first, and one batched product computes all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import empty

from scratch_framework.core import init
from scratch_framework.core.argument_types import check_groups, lead_of
from scratch_framework.core.broadcasting import unbroadcast
from scratch_framework.core.checks import check_shape
from scratch_framework.core.left_out import LeftOut, leaves_out
from scratch_framework.core.module import Module
from scratch_framework.core.parameter import Parameter
from scratch_framework.core.products import add_product, product
from scratch_framework.images.columns import fold, points_last, unfold
from scratch_framework.images.patches import Window

if TYPE_CHECKING:
    from torch import Generator, Tensor, device, dtype

    from scratch_framework.images.patches import Pair


@leaves_out(padding_mode=LeftOut("zeros", "padding=0 on an input that has the border already"))
class Conv(Module):
    """Base of `Conv2d` and of `Conv1d`, whose signals are images of one row.

    Cross-correlation, drawn by torch's rule U(-1/sqrt(C k k), 1/sqrt(C k k)).
    """

    dims: int  # of an image, 2 or 1

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair | str = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
        *,
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
            kernel_size: Side k of a patch, or height and width; so may be the next three.
            stride: From one patch to the next.
            padding: Rows and columns of zeros around the image; or ``same`` or ``valid``, see `Window`.
            dilation: From one number of a patch to the next.
            groups: Parts of the channels that are convolved apart, each with O / groups outputs of its own.
            bias: Whether to add b.
            replicas: R layers at once; None is one layer, without the leading dimension.
            input_grad: Whether `backward` computes dL/dx. A net's first layer may leave it out: no layer
                below needs it.
            device: Where the parameters live.
            dtype: Their type.
            generator: Source of the draws.
        """
        check_groups(groups, in_channels=in_channels, out_channels=out_channels)
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.replicas, self.input_grad = replicas, input_grad
        self.window = self.window_of(kernel_size, stride, padding, dilation)
        self.padding = padding if isinstance(padding, str) else self.window.border[2 - self.dims :]
        lead, kernel = lead_of(replicas), self.window.kernel_size[-self.dims :]
        weight = empty(*lead, out_channels, in_channels // groups, *kernel, device=device, dtype=dtype)
        self.weight = Parameter(weight, replicas)
        self.bias = Parameter(weight.new_empty(*lead, out_channels), replicas) if bias else None
        single = (in_channels, "H", "W") if self.dims == 2 else (in_channels, "L")
        self.inputs = [(*lead, "N", *single), single if replicas is None else ("N", *single)]
        self.reset_parameters(generator)

    def window_of(self, kernel_size: Pair, stride: Pair, padding: Pair | str, dilation: Pair) -> Window:
        """Read the arguments that say how patches lie."""
        return Window.of(kernel_size, stride, padding, dilation)

    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draw weight and bias anew by torch's default rule."""
        bias = self.bias.value if self.bias else None
        init.default_(self.weight.value, bias, generator, self.replicas)

    def forward(self, x: Tensor) -> Tensor:
        """Compute y = W columns + b."""
        check_shape(self, "input", x, *self.inputs, weight=self.weight.value)
        images = points_last(self._images(x))  # (..., N, C, H, W)
        self.window.check_room(type(self).__name__, images.shape)
        columns = self._by_group(unfold(images, self.window))  # (..., C k k, H' W' N)
        y = product(self._rows(), columns)  # (..., O, H' W' N)
        if self.groups > 1:
            y = y.flatten(-3, -2)
        if self.bias is not None:
            y.add_(self.bias.value.unsqueeze(-1))
        size = self.window.output(images.shape)
        y = y.view(*y.shape[:-1], *size, images.shape[-4]).movedim(-1, -4)  # (..., N, O, H', W')
        y = y.squeeze(-2) if self.dims == 1 else y
        saved = columns if self.input_grad else images  # of the first layer: images are there anyway
        return self.save_for_backward((saved, x.shape), y if x.dim() > self.dims + 1 else y.squeeze(0))

    def backward(self, grad_output: Tensor) -> Tensor:
        """Differentiate Y = W X + b, given G = dL/dY, (O, H' W' N), and X the columns, (C k k, H' W' N).

        Seen as matrices this is a linear layer whose points are the patches, and so are its gradients:

            dL/dW = (X G^T)^T  (O, C k k): a weight meets every patch of every image, hence the sum
            dL/db = G 1        (O,)
            dL/dX = W^T G      (C k k, H' W' N): the gradient of each patch

        A pixel lies in up to k k patches, at another offset (u, v) of each, and its gradient is the sum of
        its gradients in all of them (`fold`). That of an image that R replicas share sums over them too.
        Groups are several such layers side by side: every matrix gains a dimension in front.
        (X G^T)^T equals G X^T. Where a patch has fewer numbers than there are outputs, the library that
        multiplies matrices is up to twice as fast with the first.
        """
        saved, shape = self.saved(grad_output)
        columns = saved if self.input_grad else self._by_group(unfold(saved, self.window))
        grads = self._images(grad_output)
        grad = grads.movedim(-4, -1).flatten(-3)  # (..., O, H' W' N)
        if self.bias is not None:
            self.bias.grad.add_(grad.sum(-1))
        grad = self._by_group(grad)
        outputs, numbers = grad.shape[-2], columns.shape[-2]  # O, and C k k
        weight_grad = self.weight.grad.view(*grad.shape[:-2], outputs, numbers)
        if numbers > outputs:
            add_product(weight_grad, grad, columns.mT)
        else:
            weight_grad.add_(product(columns, grad.mT).mT)
        if not self.input_grad:
            return grad_output.new_full((), float("nan")).expand(shape)  # NaN, so that a mistaken use shows
        grad_columns = product(self._rows().mT, grad)  # (..., C k k, H' W' N)
        size = shape[-2:] if self.dims == 2 else (1, shape[-1])
        grad_input = fold(grad_columns, self.window, (*grads.shape[:-3], self.in_channels, *size))
        return unbroadcast(grad_input.squeeze(-2) if self.dims == 1 else grad_input, shape)

    def _images(self, x: Tensor) -> Tensor:
        """View signals as images of one row, and what has no batch dimension as a batch of one."""
        images = x.unsqueeze(-2) if self.dims == 1 else x
        return images if images.dim() > 3 else images.unsqueeze(0)

    def _rows(self) -> Tensor:
        """View the weights as a matrix, (..., O, C k k)."""
        return self._by_group(self.weight.value.flatten(-1 - self.dims))

    def _by_group(self, matrix: Tensor) -> Tensor:
        """View the rows of a matrix group by group."""
        return matrix if self.groups == 1 else matrix.unflatten(-2, (self.groups, -1))

    def extra_repr(self) -> str:
        """The arguments, as torch prints them."""
        window, last = self.window, slice(2 - self.dims, None)
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={window.kernel_size[last]}"
        text += f", stride={window.stride[last]}"
        text += f", padding={self.padding}" if any(self.padding) else ""
        text += f", dilation={window.dilation[last]}" if window.dilation != (1, 1) else ""
        text += f", groups={self.groups}" if self.groups > 1 else ""
        text += "" if self.bias is not None else ", bias=False"
        return text if self.replicas is None else f"{text}, replicas={self.replicas}"


class Conv2d(Conv):
    """Convolution of images.

    Shapes: (N, C, H, W) to (N, O, H', W'), or (C, H, W) to (O, H', W'); with replicas (R, N, C, H, W) to
    (R, N, O, H', W'), or (N, C, H, W) shared by all. H' = (H + 2 p - d (k - 1) - 1) // s + 1.
    """

    dims = 2
