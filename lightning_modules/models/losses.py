"""Losses, each for R replicas and pair by pair or batch by batch.

A batch may hold V views of its N pairs, one after the other; labels are of the pairs alone.
"""

import math

from torch import Tensor
from torch.nn import functional as F

from lightning_modules.replicas.layers import wide


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
    flat = wide(logits).flatten(0, -2)
    losses = F.cross_entropy(flat, labels, reduction="none", label_smoothing=label_smoothing)
    return losses.view(views, *target.shape).mean(0)


def unevenness(digits: Tensor, one_language: bool = True) -> Tensor:
    """How far a batch's latent digits are from being all equally frequent.

    It is the log of their number, minus the entropy of the mean posterior. Without it, a net that no label
    tells the digits may do with fewer than ten.

    Args:
        digits: (N, R, 2, C), logits.
        one_language: Whether a latent digit is the same for first and second digits. Else each side is
            measured by itself: two uneven sides could look even together.

    Returns:
        (R,), 0 where all are equally frequent; of two sides the mean.
    """
    posteriors = wide(digits).softmax(-1)
    mean = posteriors.mean((0, 2)).unsqueeze(1) if one_language else posteriors.mean(0)  # (R, 1 or 2, C)
    return math.log(digits.shape[-1]) + (mean * mean.clamp(min=1e-30).log()).sum(-1).mean(-1)


def disagreement(digits: Tensor) -> Tensor:
    """Cross entropy of two views' latent digits, each with the other as its target.

    Args:
        digits: (2 * N, R, 2, C), logits of the first view, then of the second.

    Returns:
        (R,), the mean over digits.
    """
    digits = wide(digits)
    (p, q), (log_p, log_q) = digits.softmax(-1).chunk(2), digits.log_softmax(-1).chunk(2)
    return -((p * log_q + q * log_p).sum(-1) / 2).mean((0, 2))
