"""Which layers compute what a function of torch does: ``F.relu(x)`` is ``nn.ReLU()(x)``."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Function = Callable[..., Any]
Layers = tuple[nn.Module, ...]

# Arguments after the first are those of the layer.
SAME_ARGUMENTS: dict[Function, Callable[..., nn.Module]] = {
    **dict.fromkeys((F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_), nn.ReLU),
    **dict.fromkeys((torch.tanh, Tensor.tanh), nn.Tanh),
    **dict.fromkeys((torch.sigmoid, Tensor.sigmoid), nn.Sigmoid),
    F.leaky_relu: nn.LeakyReLU,
    F.elu: nn.ELU,
    F.gelu: nn.GELU,
    F.silu: nn.SiLU,
    F.max_pool2d: nn.MaxPool2d,
    F.avg_pool2d: nn.AvgPool2d,
    F.adaptive_avg_pool2d: nn.AdaptiveAvgPool2d,
    F.adaptive_max_pool2d: nn.AdaptiveMaxPool2d,
}
FLATTEN = (torch.flatten, Tensor.flatten)
ENDS = ("start_dim", "end_dim")
TO_ROWS: tuple[dict[str, int], ...] = ({"start_dim": 1}, {"start_dim": 1, "end_dim": -1})
VIEWS = (Tensor.view, Tensor.reshape, torch.reshape)
MEAN = (torch.mean, Tensor.mean)


def layers_of(
    function: Function, shape: Callable[[], torch.Size], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Layers:
    """The layers that compute a function of a tensor; none where they are not known.

    Args:
        function: As `__torch_function__` gets it.
        shape: Gives the tensor's shape.
        args: Arguments after the tensor.
        kwargs: Named ones.
    """
    named = {name: value for name, value in kwargs.items() if name != "inplace"}
    if function in SAME_ARGUMENTS:
        try:
            return _made(SAME_ARGUMENTS[function], *args, **named)
        except TypeError:  # a list cannot be hashed; or torch will say what is wrong with an argument
            return ()
    if function in FLATTEN and dict(zip(ENDS, args, strict=False)) | named in TO_ROWS:
        return _made(nn.Flatten)
    if function in VIEWS and not named and len(sizes := _sizes(args)) == 2 and sizes[1] == -1:
        return _made(nn.Flatten) if sizes[0] == shape()[0] else ()
    if function in MEAN and (*args, *named.values()) in (((2, 3),), ([2, 3],)) and len(shape()) == 4:
        return _made(nn.AdaptiveAvgPool2d, 1) + _made(nn.Flatten)
    return ()


def changes(function: Function, kwargs: Mapping[str, Any]) -> bool:
    """Whether a function may change a tensor in place."""
    name = function.__name__
    is_operator = name.startswith("__")
    in_place = name.startswith(("__i", "__set")) if is_operator else name.endswith("_")
    return in_place or bool(kwargs.get("inplace")) or "out" in kwargs


def _sizes(args: Sequence[Any]) -> tuple[Any, ...]:
    """Sizes that are given one by one or as a sequence."""
    return tuple(args[0]) if len(args) == 1 and isinstance(args[0], Sequence) else tuple(args)


@lru_cache(maxsize=256)
def _made(kind: Callable[..., nn.Module], *args: Any, **kwargs: Any) -> Layers:
    return (kind(*args, **kwargs),)
