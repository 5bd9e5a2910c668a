"""Random streams of R replicas: initial weights and dropout masks, each replica's from its own seed."""

import random
from collections.abc import Sequence

from torch import nn

from lightning_modules.replicas.dropout import Dropout


def derive_seed(seed: int, purpose: str) -> int:
    """Derive the seed of one purpose's random stream, by a hash: streams of neighbouring seeds are unrelated.

    Args:
        seed: Seed of the replica.
        purpose: Name of what the stream is for.

    Returns:
        A seed for `torch.Generator.manual_seed`.
    """
    return random.Random(f"{purpose} {seed}").getrandbits(32)  # torch's generators see no more


def reseed(network: nn.Module, seeds: Sequence[int], epoch: int, rank: int = 0) -> None:
    """Start the dropout streams of one epoch, a function of seed and epoch: no checkpoint has to hold them.

    Args:
        network: R replicas; its dropout layers are set.
        seeds: R seeds.
        epoch: Number of the epoch.
        rank: Number of this process: each drops other values.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, Dropout)]
    for number, layer in enumerate(layers):
        branches = layer.replicas // len(seeds)  # several where a replica has more than one trunk
        names = [f"dropout {number} {epoch} {rank}" + f" {k}" * (k > 0) for k in range(branches)]
        if layer.first_seed is None or layer.draws_for_all:
            layer.first_seed = seeds[0]
        device_seed = derive_seed(layer.first_seed, names[0])
        layer.seed([derive_seed(seed, name) for seed in seeds for name in names], device_seed)


def copy_streams(source: nn.Module, target: nn.Module) -> None:
    """Make dropout layers draw as those of another form of the same replicas would go on to draw.

    Args:
        source: R replicas.
        target: The same, in the other form.
    """
    both = [[layer for layer in net.modules() if isinstance(layer, Dropout)] for net in (source, target)]
    for old, new in zip(*both, strict=True):
        new.seed(old.seeds, old.device_seed)
        new.calls, new.first_seed = old.calls, old.first_seed
