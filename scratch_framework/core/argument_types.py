"""Refuse what has the wrong type: a list for a tensor, 3.0 for a count of 3, bytes for numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import empty

if TYPE_CHECKING:
    from torch import Tensor

TENSOR = type(empty(0))


def check_tensors(owner: str, /, **values: object) -> None:
    """Refuse what is no tensor; ``owner`` is the name of the layer or loss that asks."""
    for what, value in values.items():
        if not isinstance(value, TENSOR):
            raise ValueError(f"{owner}: {what} must be a tensor, got {type(value).__name__}")


def check_floats(owner: object, what: str, tensor: Tensor) -> None:
    """Refuse numbers that have no derivative, such as the bytes of an image."""
    if not tensor.is_floating_point():
        name = type(owner).__name__
        raise ValueError(f"{name}: the {what} must hold floating-point numbers, got {tensor.dtype}")


def check_count(minimum: int, **numbers: int | None) -> None:
    """Refuse a number that is not whole, or below the minimum; None is an argument that was left out."""
    for name, number in numbers.items():
        if number is None:
            continue
        if not hasattr(number, "__index__"):
            raise ValueError(f"{name} must be a whole number, got {number!r}")
        if number < minimum:
            raise ValueError(f"{name} must be at least {minimum}, got {number}")
