"""Checkpoints: written whole or not at all; those of several processes joined into one file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from lightning_modules.cli import CommandError
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
    _write_whole(joined, path)


def keep_checkpoint(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Write the checkpoint of an experiment whose results are written already.

    Args:
        checkpoint: What it holds.
        path: The file, written whole or not at all.

    Raises:
        CommandError: It cannot be written.
    """
    try:
        _write_whole(checkpoint, path)
    except (OSError, RuntimeError) as error:  # torch.save raises the latter where a disk is full
        raise CommandError(f"{path} could not be written: {error}; the results are kept") from error


def _write_whole(checkpoint: Mapping[str, Any], path: Path) -> None:
    temporary = path.with_suffix(".tmp")
    try:
        torch.save(checkpoint, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _join_lists(hparams: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        name: [item for h in hparams for item in h[name]] if isinstance(value, list) else value
        for name, value in hparams[0].items()
    }
