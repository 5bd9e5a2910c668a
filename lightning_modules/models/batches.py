"""Checks of a batch's shapes. Without them torch would often broadcast tensors that do not fit."""

from typing import Any

import torch
from torch import Tensor

SIDE = 14  # pixels

# Images (V * N, 2R, 14, 14) of V views of N pairs, target (N, R), and classes (N, R, 2) where there are any.
Batch = tuple[Tensor, Tensor, Tensor | None]


def as_images(images: Any, replicas: int) -> Tensor:
    """Check the images of pairs.

    Args:
        images: (N, 2R, 14, 14).
        replicas: Number of replicas R.

    Returns:
        The images.

    Raises:
        ValueError: They have another shape or type.
    """
    if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return images  # a trace would warn of each comparison of sizes
    _check_tensor("images", images)
    if tuple(images.shape[1:]) != (2 * replicas, SIDE, SIDE):
        raise ValueError(
            f"images must have shape (N, {2 * replicas}, {SIDE}, {SIDE}), two digits for each of {replicas}"
            f" seeds, got {tuple(images.shape)}; give the data as many seeds as the module"
        )
    return images


def as_batch(batch: Any, replicas: int, labelled: bool, views: bool = False) -> Batch:
    """Check a batch; with one replica, the replica dimension of its labels may be missing.

    Args:
        batch: (images, target) or (images, target, classes).
        replicas: Number of replicas R.
        labelled: Whether classes are needed.
        views: Whether images may be of several views of the pairs.

    Returns:
        Images (V * N, 2R, 14, 14), target (N, R), classes (N, R, 2) or None.

    Raises:
        ValueError: A part is missing, or has another shape or type.
    """
    if not isinstance(batch, tuple | list) or len(batch) not in (2, 3):
        raise ValueError(
            f"a batch must be (images, target) or (images, target, classes), got {type(batch).__name__}"
            + (f" of {len(batch)}" if isinstance(batch, tuple | list) else "")
        )
    images, target, classes = batch if len(batch) == 3 else (*batch, None)
    images = as_images(images, replicas)
    beside = f"beside images of shape {tuple(images.shape)}"
    target = _as_labels("target", target, None, (replicas,), beside)
    pairs = len(target)
    if pairs == 0:
        raise ValueError("a batch must hold at least one pair")
    if len(images) % pairs or (len(images) > pairs and not views):
        raise ValueError(f"images must be {pairs} pairs, as many as the target's, got {len(images)}")
    if classes is not None:
        classes = _as_labels("classes", classes, pairs, (replicas, 2), beside, whole=labelled)
    elif labelled:
        raise ValueError("classes, the digits of each pair, must be in the batch: (images, target, classes)")
    return images, target, classes


def _as_labels(
    name: str, labels: Any, pairs: int | None, shape: tuple[int, ...], beside: str, whole: bool = True
) -> Tensor:
    """Labels (N, *shape)."""
    _check_tensor(name, labels)
    given = tuple(labels.shape)
    if shape[0] == 1 and labels.dim() == len(shape) and given[1:] == shape[1:]:
        labels = labels.unsqueeze(1)
    if tuple(labels.shape[1:]) != shape or labels.dim() == 0 or pairs not in (None, len(labels)):
        rule = f"({pairs or 'N'}, {', '.join(map(str, shape))})"
        raise ValueError(f"{name} must have shape {rule} {beside}, got {given}")
    if not whole:
        return labels
    if labels.is_floating_point() or labels.is_complex():
        raise ValueError(f"{name} must be whole numbers, got {labels.dtype}")
    return labels.long()


def _check_tensor(name: str, value: Any) -> None:
    if not isinstance(value, Tensor):
        raise ValueError(f"{name} must be a tensor, got {type(value).__name__}")
