"""Losses, each for R replicas and pair by pair or batch by batch.

A batch may hold V views of its N pairs, one after the other; labels are of the pairs alone.
"""

import math

from torch import Tensor
from torch.nn import functional as F


def cross_entropy(logits: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Cross entropy, element by element; of several views the mean.

    Args:
        logits: (V * N, ..., C).
        target: (N, ...), classes.
        label_smoothing: Share of the target that is spread over all classes.

    Returns:
        (N, ...).
    """
    views = len(logits) // len(target)
    labels = target.repeat(views, *[1] * (target.dim() - 1)).flatten()
    losses = F.cross_entropy(logits.flatten(0, -2), labels, reduction="none", label_smoothing=label_smoothing)
    return losses.view(views, *target.shape).mean(0)


def unevenness(digits: Tensor) -> Tensor:
    """How far a batch's latent digits are from being all equally frequent.

    It is the log of their number, less the entropy of the mean posterior. Without it, a net that no label
    tells the digits may do with fewer than ten.

    Args:
        digits: (N, R, 2, C), logits.

    Returns:
        (R,), 0 where all are equally frequent.
    """
    mean = digits.softmax(-1).mean((0, 2))  # (R, C)
    return math.log(digits.shape[-1]) + (mean * mean.clamp(min=1e-30).log()).sum(-1)


def disagreement(digits: Tensor) -> Tensor:
    """Cross entropy of two views' latent digits, each with the other as its target.

    Args:
        digits: (2 * N, R, 2, C), logits of the first view, then of the second.

    Returns:
        (R,), the mean over digits.
    """
    (p, q), (log_p, log_q) = digits.softmax(-1).chunk(2), digits.log_softmax(-1).chunk(2)
    return -((p * log_q + q * log_p).sum(-1) / 2).mean((0, 2))
