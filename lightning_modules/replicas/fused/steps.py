"""The steps that a network's layers are computed by: runs of layers that the loops know, and single layers.

Replicas lie apart in memory, (R, N, [H, W,] F), where a step says so, else side by side as layers have them,
(N, R * F, [H, W]).
"""

from itertools import takewhile
from typing import Any

from torch import Tensor, nn

from lightning_modules.replicas.dropout import Dropout
from lightning_modules.replicas.fused.block import Block, find_block
from lightning_modules.replicas.fused.memory import apart, cut, lanes, side_by_side
from lightning_modules.replicas.fused.pool import Pool, is_plain
from lightning_modules.replicas.fused.pooled_convolution import Convolution
from lightning_modules.replicas.fused.product import Product
from lightning_modules.replicas.fused.shapes import is_dense
from lightning_modules.replicas.fused.step import Fused
from lightning_modules.replicas.fused.unpooled_convolution import Unpooled
from lightning_modules.replicas.layers import Linear, Standardise, channels_last

Step = nn.Module | Fused
POOL = Pool()

# Layers whose class says what they compute; a subclass may compute anything.
ANYWHERE = (  # each number by itself
    *(nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid),
    *(nn.Identity, Standardise),
)
POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)  # each channel by itself
NORMS_AND_DROPOUT = (nn.BatchNorm1d, nn.BatchNorm2d, Dropout)
KNOWN = (
    *(*ANYWHERE, *NORMS_AND_DROPOUT),
    *(*POOLS, nn.Conv2d, nn.Flatten, nn.Linear, Linear),
)


def is_of_samples(step: Step) -> bool:
    """Whether a step may be given the samples of several calls at once."""
    if isinstance(step, Fused):
        return True
    if isinstance(step, nn.Flatten) and step.start_dim != 1:
        return False
    return type(step) in KNOWN and not isinstance(step, NORMS_AND_DROPOUT)


def is_rising(layer: nn.Module) -> bool:
    """Whether a layer makes more of more, or at least not less, of each number by itself."""
    if isinstance(layer, nn.LeakyReLU):
        return layer.negative_slope >= 0
    return isinstance(layer, nn.ReLU | nn.Tanh | nn.Sigmoid)


def find_steps(layers: list[nn.Module]) -> list[Step]:
    """The steps that compute layers, one after the other."""
    if not layers:
        return []
    known = list(takewhile(lambda layer: type(layer) in KNOWN, layers[:5]))
    step: Step
    block, count = find_block(known)
    if block:
        return [block, *find_steps(layers[count:])]
    match known:
        case [nn.Conv2d() as conv, rising, nn.MaxPool2d() as pool, *_] if (
            is_rising(rising) and is_plain(pool) and is_dense(conv)
        ):  # of the largest it makes the largest
            return [Convolution(conv), *find_steps([rising, *layers[3:]])]
        case [nn.Conv2d() as conv, nn.MaxPool2d() as pool, *_] if is_plain(pool) and is_dense(conv):
            step, count = Convolution(conv), 2
        case [nn.Conv2d() as conv, *_] if is_dense(conv) and not isinstance((*known, None)[1], nn.MaxPool2d):
            step, count = Unpooled(conv), 1
        case [nn.MaxPool2d() as pool, *_] if is_plain(pool):
            step, count = POOL, 1
        case [Linear() as linear, *_]:
            step, count = Product(linear), 1
        case _:
            step, count = layers[0], 1
    return [step, *find_steps(layers[count:])]


def compute(steps: list[Step], x: Tensor, calls: int) -> Tensor:
    """Compute steps.

    Args:
        steps: All of samples where there are several calls.
        x: (calls * N, R * F, ...).
        calls: Batches that are normalised apart.

    Returns:
        (calls * N, R * F', ...).
    """
    replicas = 0  # that lie apart; 0 while they lie side by side
    first = next((step for step in steps if type(step) not in ANYWHERE), None)
    if x.dim() == 4 and not (isinstance(first, Convolution) and first.takes(x, 0) and first.reads(x)):
        x = channels_last(x)
    filled, fills_zeros = x, False  # x with what may fill its channels up to a row; whether that is zeros
    for number, step in enumerate(steps):
        wanted = _replicas_of(step, steps[:number], steps[number + 1 :], x, replicas)
        if wanted and isinstance(step, Fused) and step.takes(x, replicas):
            if replicas != wanted:
                x = side_by_side(x) if replicas else x
                x = filled = x if step.reads(x) else apart(x, wanted)
            channels = step.features // wanted or x.shape[-1]
            x = filled if fills_zeros or isinstance(step, Block) else x
            filled, replicas = step(x, calls), wanted
            x, fills_zeros = cut(filled, channels), isinstance(step, Block) or (fills_zeros and step == POOL)
        else:
            x, replicas = _by_torch(step, x, replicas, calls)
            filled = x
    return side_by_side(x) if replicas else x


def _replicas_of(step: Step, before: list[Step], after: list[Step], x: Tensor, replicas: int) -> int:
    """How many replicas are to lie apart for a step; 0: none."""
    if not isinstance(step, Fused):
        return 0
    if replicas or step.is_worth_a_layout:
        return step.replicas or replicas
    # To lay replicas apart costs as much as a loop saves, unless the layers after it use that too.
    follower = next((other for other in after if type(other) not in ANYWHERE), None)
    if not isinstance(follower, Fused | nn.Flatten) and type(follower) not in POOLS:
        return 0
    others = (other.replicas for other in (*after, *before) if isinstance(other, Fused))
    count = step.replicas or next(filter(None, others), 0)
    wide = 4 * step.features >= 3 * count * lanes(x)  # what fills a row up is computed too
    return count if count and wide and x.shape[1] % count == 0 else 0


def _by_torch(step: Step, x: Tensor, replicas: int, calls: int) -> tuple[Tensor, int]:
    """What torch's operations make of x, and how many replicas of it lie apart then."""
    layer: Any = step if type(step) in KNOWN else None
    if type(layer) in ANYWHERE:
        return layer(x), replicas
    if replicas and isinstance(layer, nn.Flatten) and (layer.start_dim, layer.end_dim) == (1, -1):
        return x.movedim(-1, 2).flatten(2), replicas  # (R, N, F * H * W)
    if replicas and isinstance(layer, nn.AdaptiveAvgPool2d) and layer.output_size in (1, (1, 1)):
        return x.mean((2, 3), keepdim=True), replicas  # (R, N, 1, 1, F)
    if replicas and type(layer) is Dropout:
        shape = x.shape[1], replicas * x.shape[-1], *x.shape[2:-1]
        mask = layer.mask(x.new_empty(()).expand(shape)) if layer.training else None
        return (x if mask is None else x * apart(mask, replicas)), replicas
    if replicas and isinstance(layer, POOLS) and not getattr(layer, "return_indices", False):
        y = layer(x.flatten(0, 1).movedim(-1, 1))  # (R * N, F, H, W)
        return y.movedim(1, -1).unflatten(0, x.shape[:2]), replicas
    x = side_by_side(x) if replicas else x
    return step.by_torch(x, calls) if isinstance(step, Fused) else step(x), 0
