"""Which convolutions the loops know, and which images go with one."""

from torch import Tensor, nn


def is_dense(conv: nn.Conv2d) -> bool:
    """Whether it has a square kernel that moves by one pixel, and a frame of zeros narrower than it."""
    side, padding = conv.kernel_size[0], conv.padding[0]
    settings = (conv.kernel_size, conv.stride, conv.dilation, conv.padding, conv.padding_mode)
    plain = settings == ((side, side), (1, 1), (1, 1), (padding, padding), "zeros")
    return plain and isinstance(padding, int) and padding < side


def fits(conv: nn.Conv2d, x: Tensor, replicas: int, smallest: int) -> bool:
    """Whether x has the channels of a convolution, and with its padding at least so many rows and columns."""
    shape = (x.shape[-1] * replicas, *x.shape[2:4]) if replicas else x.shape[1:]
    known = len(shape) == 3 and x.dim() == (5 if replicas else 4) and shape[0] == conv.in_channels
    return known and min(shape[1:]) + 2 * int(conv.padding[0]) >= smallest


def fitting_bias(
    x: Tensor, weight: Tensor, bias: Tensor | None, sizes: tuple[int, int], fits: bool
) -> Tensor:
    """The bias, or zeros; what does not fit images of (replicas, inputs), or is said not to, is refused."""
    (rows, *shape), (replicas, inputs) = weight.shape, sizes
    bias = weight.new_zeros(rows) if bias is None else bias
    fits &= shape == [inputs, shape[-1], shape[-1]] and bias.shape == (rows,) and rows % replicas == 0
    if not fits or not x.dtype == weight.dtype == bias.dtype:
        raise ValueError(f"images {tuple(x.shape)} do not fit weights {tuple(weight.shape)}")
    return bias
