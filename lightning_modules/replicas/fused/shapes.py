"""Which convolutions the loops know, and which images go with one."""

from torch import Tensor, nn


def is_dense(conv: nn.Conv2d) -> bool:
    """Whether it has a square kernel that moves by one pixel, and a frame of zeros narrower than it."""
    (side, width), known = conv.kernel_size, conv.padding in ("same", "valid")
    if (side, conv.stride, conv.dilation, conv.padding_mode) != (width, (1, 1), (1, 1), "zeros"):
        return False
    if conv.padding == "same" and side % 2 == 0:  # one side would have a wider frame
        return False
    return known or (conv.padding[0] == conv.padding[1] and padding_of(conv) < side)


def padding_of(conv: nn.Conv2d) -> int:
    """Zeros around the images of a convolution that is dense."""
    named = {"same": conv.kernel_size[0] // 2, "valid": 0}
    return named[conv.padding] if isinstance(conv.padding, str) else int(conv.padding[0])


def fits(conv: nn.Conv2d, x: Tensor, replicas: int, smallest: int) -> bool:
    """Whether x has the channels of a convolution, and with its padding at least so many rows and columns."""
    shape = (x.shape[-1] * replicas, *x.shape[2:4]) if replicas else x.shape[1:]
    known = len(shape) == 3 and x.dim() == (5 if replicas else 4) and shape[0] == conv.in_channels
    return known and min(shape[1:]) + 2 * padding_of(conv) >= smallest


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
