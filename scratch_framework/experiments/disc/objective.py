"""The objectives of the recipes: a loss, the form of its target, and the logit of a net's outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch
    from torch import Tensor


class Objective(NamedTuple):
    """A loss and what goes with it."""

    criterion: str  # its name in the framework and in torch.nn
    target: Callable[[Tensor, torch.dtype], Tensor]  # from classes (R, N) bool
    logit: Callable[[Tensor], Tensor]  # from outputs (R, N, C) to (R, N): above 0 means inside


def _numbers(inside: Tensor, dtype: torch.dtype) -> Tensor:
    return inside.unsqueeze(-1).to(dtype)  # (R, N, 1), of 0 and 1


def _classes(inside: Tensor, dtype: torch.dtype) -> Tensor:
    return inside.long()  # (R, N)


OBJECTIVES: Mapping[str, Objective] = {
    "mse": Objective("MSELoss", _numbers, lambda outputs: outputs[..., 0] - 0.5),
    "bce": Objective("BCEWithLogitsLoss", _numbers, lambda outputs: outputs[..., 0]),
    "ce": Objective("CrossEntropyLoss", _classes, lambda outputs: outputs[..., 1] - outputs[..., 0]),
}
