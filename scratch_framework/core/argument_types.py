"""Refuse what has the wrong type: a list for a tensor, bytes for numbers; and counts that are too small."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import empty

if TYPE_CHECKING:
    from torch import Tensor

NUMBER = empty(0)
TENSOR = type(NUMBER)


def check_tensors(owner: str, /, **values: object) -> None:
    """Refuse what is no tensor, or holds no numbers; ``owner`` is the name of the layer or loss that asks."""
    for what, value in values.items():
        if not isinstance(value, TENSOR):
            raise ValueError(f"{owner}: {what} must be a tensor, got {type(value).__name__}")
        if value.layout != NUMBER.layout or value.is_meta or value.is_complex():
            kind = f"{value.layout} of {value.dtype} on {value.device}"
            raise ValueError(
                f"{owner}: {what} must be a dense tensor (to_dense()) of real numbers, got {kind}"
            )


def check_floats(owner: object, what: str, tensor: Tensor) -> None:
    """Refuse numbers that have no derivative, such as the bytes of an image."""
    if not tensor.is_floating_point():
        name = type(owner).__name__
        raise ValueError(f"{name}: the {what} must hold floating-point numbers, got {tensor.dtype}")


def check_count(minimum: int, **numbers: int | None) -> None:
    """Refuse a number below the minimum; None is an argument that was left out."""
    for name, number in numbers.items():
        if number is not None and number < minimum:
            raise ValueError(f"{name} must be at least {minimum}, got {number}")


def lead_of(replicas: int | None) -> tuple[int, ...]:
    """Check R, and return the dimensions before all others: (R,) of R replicas, () of a single net."""
    check_count(1, replicas=replicas)
    return () if replicas is None else (replicas,)


def check_groups(groups: int, **channels: int) -> None:
    """Refuse channels that cannot be divided into groups."""
    check_count(1, groups=groups, **channels)
    for name, number in channels.items():
        if number % groups:
            raise ValueError(f"{name} must be a multiple of groups {groups}, got {number}")


def first_line(value: object) -> str:
    """How a value is printed, without the lines after the first."""
    return (repr(value).splitlines() or [""])[0]
