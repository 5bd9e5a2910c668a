"""How two digits enter a network: as channels of one image, with a trunk each, or with one trunk for both."""

from typing import Any

import torch
from torch import Tensor, nn

from lightning_modules.command.options import DEFAULTS, Branches, NetworkOptions
from lightning_modules.networks.heads import HEADS, Exact
from lightning_modules.networks.paper import Outputs, PaperCNN, PaperSiamese, without_digits
from lightning_modules.networks.trunks import make_trunk
from lightning_modules.replicas.fused.sequential import Sequential
from lightning_modules.replicas.layers import Dropout


class EarlyFusion(nn.Module):
    """One trunk whose input has two channels: nothing says that they are two digits."""

    def __init__(self, trunk: Sequential, replicas: int) -> None:
        """Keep the parts.

        Args:
            trunk: From (N, 2R, 14, 14) to (N, 2R).
            replicas: Number of replicas R.
        """
        super().__init__()
        self.trunk, self.replicas = trunk, replicas

    def forward(self, pairs: Tensor) -> Outputs:
        """Compare the digits of pairs (N, 2R, 14, 14)."""
        return without_digits(self.trunk(pairs).unflatten(1, (self.replicas, 2)))


class SeparateTrunks(nn.Module):
    """A trunk for first digits, another for second ones: 2R trunks, in the order of the images.

    They share no weight. With turns, which trunk reads which digit of a pair is drawn anew in every training
    step (the head still gets first digits first), so that each sees all digits, and both learn one language.
    """

    def __init__(self, trunk: Sequential, head: nn.Module, replicas: int, turns: bool = False) -> None:
        """Keep the parts.

        Args:
            trunk: From (N, 2R, 14, 14) to (N, 2R * F).
            head: From (N, R, 2, F) to (N, R, 2).
            replicas: Number of replicas R.
            turns: Whether trunks take turns in training.
        """
        super().__init__()
        self.trunk, self.head, self.replicas = trunk, head, replicas
        self.coin = Dropout(0.5, replicas) if turns else None  # each replica's own, and never in evaluation

    def forward(self, pairs: Tensor) -> Outputs:
        """Compare the digits of pairs (N, 2R, 14, 14)."""
        if self.coin is None or not self.training:
            digits = self.trunk(pairs).unflatten(1, (self.replicas, 2, -1))  # (N, R, 2, F)
            return Outputs(self.head(digits), digits)
        straight = self.coin(pairs.new_ones(len(pairs), self.replicas)) > 0  # (N, R)
        images = _turn(pairs.unflatten(1, (self.replicas, 2)), straight).flatten(1, 2)
        digits = _turn(self.trunk(images).unflatten(1, (self.replicas, 2, -1)), straight)
        return Outputs(self.head(digits), digits)


def _turn(x: Tensor, straight: Tensor) -> Tensor:
    """Exchange first and second of (N, R, 2, ...) but where they are to stay, (N, R)."""
    return torch.where(straight.view(*straight.shape, *[1] * (x.dim() - 2)), x, x.flip(2))


class SharedTrunk(nn.Module):
    """One trunk for both digits, which sees them as 2N images."""

    def __init__(self, trunk: Sequential, head: nn.Module, replicas: int, calls: int = 1) -> None:
        """Keep the parts.

        Args:
            trunk: From (2N, R, 14, 14) to (2N, R * F).
            head: From (N, R, 2, F) to (N, R, 2).
            replicas: Number of replicas R.
            calls: 1 normalises all 2N images together, 2 first digits and second ones apart.
        """
        super().__init__()
        self.trunk, self.head, self.replicas, self.calls = trunk, head, replicas, calls

    def forward(self, pairs: Tensor) -> Outputs:
        """Compare the digits of pairs (N, 2R, 14, 14)."""
        images = pairs.unflatten(1, (self.replicas, 2)).movedim(2, 0).flatten(0, 1)  # (2N, R, 14, 14)
        digits = self.trunk(images, calls=self.calls)  # (2N, R * F)
        digits = digits.unflatten(0, (2, -1)).unflatten(-1, (self.replicas, -1)).movedim(0, 2)  # (N, R, 2, F)
        return Outputs(self.head(digits), digits)


def make_network(replicas: int, branches: Branches, labelled: bool, options: NetworkOptions) -> nn.Module:
    """Build a network; with no options it is the paper's.

    Args:
        replicas: Number of replicas R.
        branches: How digits enter.
        labelled: Whether the trunk is told the digits, and so must have ten outputs.
        options: What is not the paper's.

    Returns:
        From (N, 2R, 14, 14) to `Outputs`.

    Raises:
        ValueError: The parts do not go together.
    """
    settings: dict[str, Any] = DEFAULTS | {
        name: value for name, value in options.items() if value is not None
    }
    trunk, name, width, pool = (settings[key] for key in ("trunk", "head", "width", "pool"))
    if labelled and branches == "early":
        raise ValueError("branches must be separate or shared where nets are told the digits, got early")
    if trunk == "paper" and branches == "early":
        return PaperCNN(replicas)
    if trunk == name == "paper" and branches == "shared":
        return PaperSiamese(replicas)
    if branches == "early":
        return EarlyFusion(make_trunk(trunk, 2, 2, replicas, width, pool), replicas)
    head, features = HEADS[name]
    if labelled and features != 10:
        raise ValueError(f"head must take ten outputs a digit where they are told the digits, got {name}")
    if not labelled and name == "argmax":
        raise ValueError("head argmax has no gradient; without digit losses nothing would be learnt")
    separate = branches == "separate"
    comparing = Exact(replicas, settings["temperature"]) if name == "exact" else head(replicas)
    body = make_trunk(trunk, 1, features, replicas * (2 if separate else 1), width, pool)
    if separate:
        return SeparateTrunks(body, comparing, replicas, settings["turns"])
    # As in `PaperSiamese`, so that the paper's trunk under another head is another head and nothing else.
    return SharedTrunk(body, comparing, replicas, calls=2 if trunk == "paper" else 1)
