"""What an epoch has reached in its middle, for a checkpoint: dropout's streams and the training metrics.

At an epoch's start both begin anew, so that nothing need be kept.
"""

from collections.abc import Mapping
from typing import Any

from pytorch_lightning.strategies import Strategy
from torch import nn

from lightning_modules.replicas.layers import Dropout
from lightning_modules.replicas.metrics import ReplicaMean


def epoch_state(network: nn.Module, metrics: Mapping[str, ReplicaMean], strategy: Strategy) -> dict[str, Any]:
    """What an epoch has reached.

    Args:
        network: Its dropout layers are in the midst of their streams.
        metrics: Those of training, by name.
        strategy: Adds up their sums over processes.

    Returns:
        Plain numbers and tensors.
    """
    calls = [layer.calls for layer in network.modules() if isinstance(layer, Dropout)]
    sums = {
        name: [strategy.reduce(value.clone(), reduce_op="sum") for value in (metric.total, metric.count)]
        for name, metric in metrics.items()
        if metric.update_called
    }
    return {"calls": calls, "metrics": sums}


def restore_epoch(
    state: Mapping[str, Any], network: nn.Module, metrics: Mapping[str, ReplicaMean], rank: int
) -> None:
    """Go on from what an epoch had reached; the streams must have been started.

    Args:
        state: What `epoch_state` gave.
        network: Its dropout layers are set.
        metrics: Those of training, by name.
        rank: Number of this process: the first one goes on with the sums of all.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, Dropout)]
    for layer, calls in zip(layers, state["calls"], strict=True):
        layer.calls = calls
    for name, (total, count) in state["metrics"].items():
        share = int(rank == 0)
        metrics[name].restore(share * total, share * count)
