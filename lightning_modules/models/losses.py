"""Losses of R replicas: `cross_entropy` gives a value for each pair, the others one for the batch.

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


def balance_loss(digits: Tensor, one_order: bool = True) -> Tensor:
    """How far the latent digits of a batch are from being equally frequent.

    It is the log of their number minus the entropy of their mean posterior. Without it, a net that is trained
    by comparisons alone may use fewer than ten latent digits.

    Args:
        digits: (N, R, 2, C), logits.
        one_order: Whether first and second digits have the same latent digits. If not, each side is measured
            by itself: two uneven sides could look even together.

    Returns:
        (R,), 0 where all are equally frequent; the mean over two sides.
    """
    posteriors = wide(digits).softmax(-1)
    mean = posteriors.mean((0, 2)).unsqueeze(1) if one_order else posteriors.mean(0)  # (R, 1 or 2, C)
    return math.log(digits.shape[-1]) + (mean * mean.clamp(min=1e-30).log()).sum(-1).mean(-1)


def consistency_loss(digits: Tensor) -> Tensor:
    """Cross entropy of two views' latent digits, each with the other as its target.

    Args:
        digits: (2 * N, R, 2, C), logits of the first view, then of the second.

    Returns:
        (R,), the mean over digits.
    """
    digits = wide(digits)
    (p, q), (log_p, log_q) = digits.softmax(-1).chunk(2), digits.log_softmax(-1).chunk(2)
    return -((p * log_q + q * log_p).sum(-1) / 2).mean((0, 2))
