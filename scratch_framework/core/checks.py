"""Checks: bad input is refused in one line that names the argument, the rule and the value."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from scratch_framework.core.argument_types import check_tensors

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from torch import Tensor

    from scratch_framework.core.parameter import State

Pattern: TypeAlias = "tuple[int | str, ...]"  # 3 is a size, "N" any size, "..." any number of dimensions


def check_at_least(minimum: int, **numbers: float | None) -> None:
    """Refuse a number below the minimum, and NaN; None is an argument that was left out."""
    for name, number in numbers.items():
        if number is not None and not number >= minimum:
            raise ValueError(f"{name} must be at least {minimum}, got {number}")


def check_share(**numbers: float) -> None:
    """Refuse a number outside [0, 1]."""
    for name, number in numbers.items():
        if not 0 <= number <= 1:
            raise ValueError(f"{name} must lie in [0, 1], got {number}")


def check_above_zero(**numbers: float) -> None:
    """Refuse a number that is not above 0."""
    for name, number in numbers.items():
        if not number > 0:
            raise ValueError(f"{name} must be above 0, got {number}")


def check_choice(name: str, value: str, choices: Collection[str]) -> None:
    """Refuse a value that is not among the choices."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


def check_shape(
    owner: object, what: str, tensor: Tensor, *patterns: Pattern, weight: Tensor | None = None
) -> None:
    """Refuse a tensor whose shape fits none of the patterns, or whose type is not the weight's.

    ``owner`` is the layer or loss that asks, ``what`` the tensor's part in it, such as "input".
    """
    shape = tuple(tensor.shape)
    for pattern in patterns:
        if fits(shape, pattern):
            break
    else:
        wanted = " or ".join(str(pattern).replace("'", "") for pattern in patterns)
        wanted += "" if weight is None else f" for a weight of shape {tuple(weight.shape)}"
        raise ValueError(f"{type(owner).__name__}: the {what} must have shape {wanted}, got {shape}")
    if weight is not None:
        check_dtype(owner, what, tensor, "weight", weight)


def fits(shape: tuple[int, ...], pattern: Pattern) -> bool:
    """Whether a shape has a pattern's dimensions and sizes."""
    if "..." in pattern:
        start = pattern.index("...")
        free = ("",) * (len(shape) - len(pattern) + 1)
        pattern = (*pattern[:start], *free, *pattern[start + 1 :])
    if len(shape) != len(pattern):
        return False
    for size, wanted in zip(shape, pattern, strict=True):  # a loop, as `all` takes twice as long
        if wanted != size and not isinstance(wanted, str):
            return False
    return True


def check_dtype(owner: object, what: str, tensor: Tensor, other: str, like: Tensor) -> None:
    """Refuse a tensor of another type than one that it meets, or on another device."""
    name = type(owner).__name__
    if tensor.dtype != like.dtype:
        raise ValueError(f"{name}: the {what} must have the {other}'s dtype {like.dtype}, got {tensor.dtype}")
    if tensor.device != like.device:
        raise ValueError(
            f"{name}: the {what} must be on the {other}'s device {like.device}, got {tensor.device}"
        )


def check_once(holder: str, kind: str, items: Sequence[object]) -> None:
    """Refuse an object that stands in two places."""
    if len({id(item) for item in items}) < len(items):
        twice = next(item for item in items if sum(other is item for other in items) > 1)
        raise ValueError(f"{holder} must hold every {kind} once, got this {twice!r} twice")


def check_names(what: str, state: object) -> None:
    """Refuse what holds nothing by name."""
    if not hasattr(state, "keys"):
        raise ValueError(f"{what} must hold tensors by name, got {type(state).__name__}")


def check_state(own: State, state_dict: Mapping[str, Tensor]) -> None:
    """Refuse a state_dict that has not a module's own names and shapes."""
    check_names("state_dict", state_dict)
    if missing := [name for name in own if name not in state_dict]:
        raise ValueError(f"state_dict must hold every parameter and buffer, missing: {', '.join(missing)}")
    if unexpected := [name for name in state_dict if name not in own]:
        raise ValueError(f"state_dict must hold no other names, got: {', '.join(unexpected)}")
    for name, value in own.items():
        check_tensors("state_dict", **{name: state_dict[name]})
        wanted, got = tuple(value.shape), tuple(state_dict[name].shape)
        if got != wanted:
            raise ValueError(f"state_dict: {name} must have shape {wanted}, got {got}")


def check_weight(weight: Tensor, replicas: int | None, bias: Tensor | None) -> tuple[int, ...]:
    """Refuse a weight that is not (out, in, *kernel) of one layer or R; return out, in and the kernel."""
    shape = tuple(weight.shape)
    own = shape if replicas is None else shape[1:]
    if len(own) < 2 or (replicas is not None and shape[0] != replicas):
        wanted = "out, in, *kernel" if replicas is None else f"{replicas}, out, in, *kernel"
        raise ValueError(f"a weight must have shape ({wanted}) with replicas={replicas}, got {shape}")
    expected = shape[: len(shape) - len(own) + 1]
    if bias is not None and tuple(bias.shape) != expected:
        raise ValueError(
            f"the bias of a weight {shape} with replicas={replicas} must have shape {expected}, got"
            f" {tuple(bias.shape)}; say replicas=R where the first dimension counts replicas"
        )
    return own
