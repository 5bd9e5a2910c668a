"""Checks of what an optimiser is given: parameters, and rates for all replicas or for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scratch_framework.core.annotations import is_iterable
from scratch_framework.core.argument_types import check_tensors, first_line
from scratch_framework.core.checks import check_at_least, check_once

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from scratch_framework.core.parameter import Parameter, Rate


def check_parameters(params: Iterable[Parameter]) -> list[Parameter]:
    """Refuse what an optimiser cannot move: nothing, other objects, a parameter twice. Returns the list."""
    found: list[Any] = list(params) if is_iterable(params) else [params]
    if not found:
        raise ValueError("params must hold at least one parameter, got none")
    for parameter in found:
        if not hasattr(parameter, "broadcast_rate"):
            raise ValueError(f"params must hold parameters (model.parameters()), got {first_line(parameter)}")
    check_once("params", "parameter", found)
    return found


def check_rate(name: str, rate: Rate, params: Sequence[Parameter]) -> None:
    """Refuse a negative rate, and a tensor that is neither one rate nor one for each replica."""
    if isinstance(rate, (int, float)):
        check_at_least(0, **{name: rate})
        return
    check_tensors(name, rate=rate)
    for parameter in params if rate.dim() else ():
        if parameter.replicas is None or tuple(rate.shape) != (parameter.replicas,):
            raise ValueError(
                f"{name} must be a number or hold one for each replica, got shape {tuple(rate.shape)} for"
                f" {parameter.replicas or 'no'} replicas"
            )
    if not bool((rate >= 0).all()):
        raise ValueError(f"{name} must be at least 0 for every replica, got {rate.tolist()}")
