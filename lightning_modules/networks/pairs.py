"""How two digits enter a network: as channels of one image, with a trunk each, or with one trunk for both.

Each `forward` leaves the size of dimension 1 open, so that `replicate` can put R replicas there: images of
pairs are (N, 2 * C, H, W), or (N, R * 2 * C, H, W), and the outputs (N, 2) or (N, R * 2).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from lightning_modules.command.options import Branches, Pool, Trunk
from lightning_modules.networks import heads
from lightning_modules.networks.trunks import make_trunk
from lightning_modules.replicas.convert import Replicas
from lightning_modules.replicas.fused.sequential import Sequential
from lightning_modules.replicas.registry import widen


class Outputs(NamedTuple):
    """A network's outputs for N pairs."""

    pair: Tensor  # (N, 2) logits of "first > second" and "first <= second"; of R replicas (N, R, 2)
    digits: Tensor | None = None  # (N, 2, F) the trunk's features of each of the two digits; (N, R, 2, F)


class EarlyFusion(nn.Module):
    """One CNN whose input has two channels: nothing says that they are two digits (paper, section 1.2.1)."""

    head = None  # the CNN compares by itself

    def __init__(self, cnn: Sequential) -> None:
        """Take the CNN.

        Args:
            cnn: From (N, 2 * C, H, W) to (N, 2).
        """
        super().__init__()
        self.cnn = cnn

    def forward(self, pairs: Tensor) -> Outputs:
        """Compare the digits of pairs (N, 2 * C, H, W).

        Under `torch.jit.trace`, which takes no None, the outputs are a tuple of the logits alone.
        """
        pair = self.cnn(pairs)
        tracing = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        return cast("Outputs", (pair,)) if tracing else Outputs(pair)


class SeparateTrunks(nn.Module):
    """A trunk for first digits, another for second ones, side by side in one module.

    They share no weight. With `swap_trunks`, a coin decides for each pair of each training step which trunk
    reads which digit (the head still gets first digits first). So each trunk sees all digits, and an output
    means the same digit in both.
    """

    def __init__(
        self, trunk: nn.Module, head: heads.Head, swap_trunks: bool = False, channels: int = 1
    ) -> None:
        """Put the net together.

        Args:
            trunk: Two trunks side by side, from (N, 2 * C, H, W) to (N, 2 * F).
            head: From (N, 2, F) to (N, 2).
            swap_trunks: Whether the trunks are swapped at random in training.
            channels: Channels C of a digit.
        """
        super().__init__()
        self.trunk, self.head, self.channels = trunk, head, channels
        self.coin = nn.Dropout(0.5) if swap_trunks else None  # for each pair; in evaluation it is not tossed

    def forward(self, pairs: Tensor) -> Outputs:
        """Compare the digits of pairs (N, 2 * C, H, W)."""
        images = pairs.unflatten(1, (-1, 2, self.channels))  # (N, 1, 2, C, H, W), or R in place of 1
        is_swapped = None
        if self.coin is not None and self.training:
            is_swapped = self.coin(pairs.new_ones(images.shape[:2])) == 0  # (N, 1)
            images = _swap(images, is_swapped)
        digits = self.trunk(images.flatten(1, 3)).unflatten(1, (-1, 2, self.head.features))  # (N, 1, 2, F)
        if is_swapped is not None:
            digits = _swap(digits, is_swapped)
        digits = digits.flatten(1, 2)
        return Outputs(self.head(digits), digits)


def _swap(x: Tensor, is_swapped: Tensor) -> Tensor:
    """Exchange first and second of (N, R, 2, ...) where (N, R) says so."""
    return torch.where(is_swapped.view(*is_swapped.shape, *[1] * (x.dim() - 2)), x.flip(2), x)


class SharedTrunk(nn.Module):
    """One trunk for both digits, which sees them as 2N images: a siamese network (Bromley et al. 1993).

    With the paper's trunk and head it is the network of figure 1.4 (sections 1.2.2 and 1.2.3).
    """

    def __init__(self, trunk: Sequential, head: heads.Head, calls: int = 1, channels: int = 1) -> None:
        """Put the net together.

        Args:
            trunk: From (2N, C, H, W) to (2N, F).
            head: From (N, 2, F) to (N, 2).
            calls: 1 normalises all 2N images together, 2 first digits and second digits apart.
            channels: Channels C of a digit.
        """
        super().__init__()
        self.trunk, self.head, self.calls, self.channels = trunk, head, calls, channels

    def forward(self, pairs: Tensor) -> Outputs:
        """Compare the digits of pairs (N, 2 * C, H, W)."""
        both = pairs.unflatten(1, (-1, 2, self.channels)).movedim(
            2, 0
        )  # (2, N, 1, C, H, W), or R in place of 1
        digits = self.trunk(both.flatten(2, 3).flatten(0, 1), calls=self.calls)  # (2N, F)
        digits = digits.unflatten(0, (2, -1)).unflatten(-1, (-1, self.head.features))  # (2, N, 1, F)
        digits = digits.movedim(0, 2).flatten(1, 2)  # (N, 2, F)
        return Outputs(self.head(digits), digits)


PairNetwork = EarlyFusion | SeparateTrunks | SharedTrunk


def make_network(
    branches: Branches = "shared",
    labelled: bool = False,
    *,
    trunk: Trunk = "paper",
    width: int = 32,
    pool: Pool = "flatten",
    head: str = "paper",
    temperature: float = 1.0,
    swap_trunks: bool = False,
    classes: int = 10,
    channels: int = 1,
    side: int = 14,
) -> PairNetwork:
    """Build an ordinary network; by default the paper's.

    Args:
        branches: How digits enter: `early`, `separate` or `shared`.
        labelled: Whether digit labels train the trunk, whose outputs must then be the classes.
        trunk: Name of the trunk.
        width: Channels after the first convolution of the trunks modern and deep.
        pool: How the last map of these trunks becomes features.
        head: Name of the head; with branches early there is none.
        temperature: Digit logits are divided by it, in heads that take it.
        swap_trunks: Whether separate trunks are swapped at random in training.
        classes: Number of classes of a digit.
        channels: Channels of a digit's image: 3 for colours.
        side: Its rows and columns.

    Returns:
        From (N, 2 * channels, side, side) to `Outputs`.

    Raises:
        ValueError: The parts do not go together.
    """
    if branches == "early":
        if labelled:
            raise ValueError("branches must be separate or shared where nets are told the digits, got early")
        return EarlyFusion(make_trunk(trunk, 2 * channels, 2, width, pool, side))
    kind = _kind_of_head(head, labelled)
    settings = {name: value for name, value in {"temperature": temperature}.items() if name in kind.takes}
    features = classes if kind.reads_classes else 32
    # The trunk comes first: that is the order in which a seed's initial weights are drawn.
    if branches == "separate":
        trunks = _side_by_side(partial(make_trunk, trunk, channels, features, width, pool, side))
        return SeparateTrunks(trunks, kind(classes, **settings), swap_trunks, channels)
    body = make_trunk(trunk, channels, features, width, pool, side)
    # The paper calls its trunk once a digit, so the two digits are normalised apart, whatever the head.
    return SharedTrunk(body, kind(classes, **settings), 2 if trunk == "paper" else 1, channels)


def _kind_of_head(name: str, labelled: bool) -> type[heads.Head]:
    """The class of a head, which suits nets that are told the digits, or nets that are not."""
    if name not in heads.HEADS:
        raise ValueError(f"head must be one of {', '.join(heads.HEADS)}, got {name}")
    kind = heads.HEADS[name]
    if labelled and not kind.reads_classes:
        raise ValueError(f"head must take ten outputs a digit where they are told the digits, got {name}")
    if not labelled and not kind.differentiable:
        raise ValueError(f"head {name} has no gradient; without digit losses nothing would be learnt")
    return kind


def _side_by_side(make: Callable[[], nn.Module]) -> nn.Module:
    """Two trunks in one module, whose weights are drawn layer by layer."""
    with torch.random.fork_rng(devices=[]):
        both = widen(make(), 2)
    for layer in both.modules():
        reset: Callable[[], None] | None = getattr(layer, "reset_parameters", None)
        if reset is not None:
            reset()
    return both


class PairReplicas(Replicas):
    """R replicas of a network of pairs, each with pairs of its own."""

    is_followed = False  # a whole trunk or head is one `Sequential`
    net: Any  # EarlyFusion, SeparateTrunks or SharedTrunk, with R replicas side by side

    def forward(self, pairs: Tensor) -> Outputs:
        """Compare the digits of pairs (N, R * 2 * C, H, W); outputs are (N, R, 2) and (N, R, 2, F)."""
        outputs: Outputs = self.each(pairs.unflatten(1, (len(self.seeds), -1)))
        return outputs


def make_replicas(seeds: Sequence[int], *args: Any, **options: Any) -> PairReplicas:
    """Build a network for each of R seeds.

    Args:
        seeds: R seeds.
        *args: As `make_network` takes them.
        **options: As `make_network` takes them.

    Raises:
        ValueError: The parts do not go together.
    """
    replicas = PairReplicas(partial(make_network, *args, **options), seeds, "wide")
    replicas.is_proven = True  # by the tests, once for all
    return replicas
