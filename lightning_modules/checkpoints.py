"""Checkpoints of replicas that were trained in several processes, joined into one file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from lightning_modules.replicas import join_replicas

HPARAMS = ("hyper_parameters", "datamodule_hyper_parameters")


def join_checkpoints(parts: Sequence[Path], path: Path) -> None:
    """Write one Lightning checkpoint that holds the replicas of all parts.

    Args:
        parts: Checkpoints of the same module, in the order of their replicas.
        path: The file to write, whole or not at all.
    """
    checkpoints = [torch.load(part, weights_only=True) for part in parts]
    joined: dict[str, Any] = checkpoints[0] | {
        "state_dict": join_replicas([checkpoint["state_dict"] for checkpoint in checkpoints])
    }
    for key in HPARAMS:
        if key in joined:
            joined[key] = _join_lists([checkpoint[key] for checkpoint in checkpoints])
    temporary = path.with_suffix(".tmp")
    try:
        torch.save(joined, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _join_lists(hparams: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        name: [item for h in hparams for item in h[name]] if isinstance(value, list) else value
        for name, value in hparams[0].items()
    }
