"""How two digits enter a network: as channels of one image, with a trunk each, or with one trunk for both."""

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from lightning_modules.command.options import Branches, Pool, Trunk
from lightning_modules.networks import heads
from lightning_modules.networks.trunks import make_trunk
from lightning_modules.replicas.dropout import Dropout
from lightning_modules.replicas.fused.sequential import Sequential


class Outputs(NamedTuple):
    """A network's outputs for N pairs."""

    pair: Tensor  # (N, R, 2) logits of "first > second" and "first <= second"
    digits: Tensor | None = None  # (N, R, 2, F) the trunk's features of each of the two digits


class EarlyFusion(nn.Module):
    """One CNN whose input has two channels: nothing says that they are two digits (paper, section 1.2.1)."""

    head = None  # the CNN compares by itself

    def __init__(self, cnn: Sequential, replicas: int) -> None:
        """Put R nets together.

        Args:
            cnn: From (N, 2R, 14, 14) to (N, 2R).
            replicas: Number of replicas R.
        """
        super().__init__()
        self.cnn, self.replicas = cnn, replicas

    def forward(self, pairs: Tensor) -> Outputs:
        """Compare the digits of pairs (N, 2R, 14, 14).

        Under `torch.jit.trace`, which takes no None, the outputs are a tuple of the logits alone.
        """
        pair = self.cnn(pairs).unflatten(1, (self.replicas, 2))
        tracing = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        return cast("Outputs", (pair,)) if tracing else Outputs(pair)


class SeparateTrunks(nn.Module):
    """A trunk for first digits, another for second ones: 2R trunks, in the order of the images.

    They share no weight. With `swap_trunks`, a coin decides for each pair of each training step which trunk
    reads which digit (the head still gets first digits first). So each trunk sees all digits, and an output
    means the same digit in both.
    """

    def __init__(self, trunk: Sequential, head: heads.Head, replicas: int, swap_trunks: bool = False) -> None:
        """Put R nets together.

        Args:
            trunk: From (N, 2R, 14, 14) to (N, 2R * F).
            head: From (N, R, 2, F) to (N, R, 2).
            replicas: Number of replicas R.
            swap_trunks: Whether the trunks are swapped at random in training.
        """
        super().__init__()
        self.trunk, self.head, self.replicas = trunk, head, replicas
        # A coin for each pair of each replica; in evaluation it is not tossed.
        self.coin = Dropout(0.5, replicas) if swap_trunks else None

    def forward(self, pairs: Tensor) -> Outputs:
        """Compare the digits of pairs (N, 2R, 14, 14)."""
        images = pairs.unflatten(1, (self.replicas, 2))
        is_swapped = None
        if self.coin is not None and self.training:
            is_swapped = self.coin(pairs.new_ones(len(pairs), self.replicas)) == 0  # (N, R)
            images = _swap(images, is_swapped)
        digits = self.trunk(images.flatten(1, 2)).unflatten(1, (self.replicas, 2, -1))  # (N, R, 2, F)
        if is_swapped is not None:
            digits = _swap(digits, is_swapped)
        return Outputs(self.head(digits), digits)


def _swap(x: Tensor, is_swapped: Tensor) -> Tensor:
    """Exchange first and second of (N, R, 2, ...) where (N, R) says so."""
    return torch.where(is_swapped.view(*is_swapped.shape, *[1] * (x.dim() - 2)), x.flip(2), x)


class SharedTrunk(nn.Module):
    """One trunk for both digits, which sees them as 2N images: a siamese network (Bromley et al. 1993).

    With the paper's trunk and head it is the network of figure 1.4 (sections 1.2.2 and 1.2.3).
    """

    def __init__(self, trunk: Sequential, head: heads.Head, replicas: int, calls: int = 1) -> None:
        """Put R nets together.

        Args:
            trunk: From (2N, R, 14, 14) to (2N, R * F).
            head: From (N, R, 2, F) to (N, R, 2).
            replicas: Number of replicas R.
            calls: 1 normalises all 2N images together, 2 first digits and second digits apart.
        """
        super().__init__()
        self.trunk, self.head, self.replicas, self.calls = trunk, head, replicas, calls

    def forward(self, pairs: Tensor) -> Outputs:
        """Compare the digits of pairs (N, 2R, 14, 14)."""
        images = pairs.unflatten(1, (self.replicas, 2)).movedim(2, 0).flatten(0, 1)  # (2N, R, 14, 14)
        digits = self.trunk(images, calls=self.calls)  # (2N, R * F)
        digits = digits.unflatten(0, (2, -1)).unflatten(-1, (self.replicas, -1)).movedim(0, 2)  # (N, R, 2, F)
        return Outputs(self.head(digits), digits)


PairNetwork = EarlyFusion | SeparateTrunks | SharedTrunk


def make_network(
    replicas: int,
    branches: Branches = "shared",
    labelled: bool = False,
    *,
    trunk: Trunk = "paper",
    width: int = 32,
    pool: Pool = "flatten",
    head: str = "paper",
    temperature: float = 1.0,
    swap_trunks: bool = False,
) -> PairNetwork:
    """Build a network; by default the paper's.

    Args:
        replicas: Number of replicas R.
        branches: How digits enter: `early`, `separate` or `shared`.
        labelled: Whether digit labels train the trunk, which must then have ten outputs.
        trunk: Name of the trunk.
        width: Channels after the first convolution of the trunks modern and deep.
        pool: How the last map of these trunks becomes features.
        head: Name of the head; with branches early there is none.
        temperature: Digit logits are divided by it, in heads that take it.
        swap_trunks: Whether separate trunks are swapped at random in training.

    Returns:
        From (N, 2R, 14, 14) to `Outputs`.

    Raises:
        ValueError: The parts do not go together.
    """
    if branches == "early":
        if labelled:
            raise ValueError("branches must be separate or shared where nets are told the digits, got early")
        return EarlyFusion(make_trunk(trunk, 2, 2, replicas, width, pool), replicas)
    if head not in heads.HEADS:
        raise ValueError(f"head must be one of {', '.join(heads.HEADS)}, got {head}")
    kind = heads.HEADS[head]
    if labelled and kind.features != 10:
        raise ValueError(f"head must take ten outputs a digit where they are told the digits, got {head}")
    if not labelled and not kind.differentiable:
        raise ValueError(f"head {head} has no gradient; without digit losses nothing would be learnt")
    settings = {"temperature": temperature}
    comparing = kind(replicas, **{name: settings[name] for name in kind.takes})
    if branches == "separate":
        body = make_trunk(trunk, 1, kind.features, 2 * replicas, width, pool)
        return SeparateTrunks(body, comparing, replicas, swap_trunks)
    body = make_trunk(trunk, 1, kind.features, replicas, width, pool)
    # The paper calls its trunk once a digit, so the two digits are normalised apart, whatever the head.
    return SharedTrunk(body, comparing, replicas, calls=2 if trunk == "paper" else 1)
