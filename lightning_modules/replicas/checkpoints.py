"""Checkpoints: written whole or not at all; those of several programs joined into one file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch

from lightning_modules.command.atomic_io import atomic_file
from lightning_modules.command.cli import CommandError
from lightning_modules.command.interrupts import interrupts_wait
from lightning_modules.replicas.state import join_replicas

ENSEMBLE = "ensemble"  # entry: how many of the nets, in order, are averaged for one run
HPARAMS = ("hyper_parameters", "datamodule_hyper_parameters")


def join_checkpoints(parts: Sequence[Path], path: Path, without: Sequence[str] = ()) -> None:
    """Write one Lightning checkpoint that holds the replicas of all parts.

    Args:
        parts: Checkpoints of the same module, in the order of their replicas.
        path: The file to write, whole or not at all.
        without: Entries to leave out.

    Raises:
        OSError: The file cannot be written.
        ValueError: A part is damaged.
    """
    checkpoints = [read_checkpoint(part) for part in parts]  # to the CPU: a GPU need not hold them all again
    joined: dict[str, Any] = checkpoints[0] | {
        "state_dict": join_replicas([checkpoint["state_dict"] for checkpoint in checkpoints])
    }
    for key in HPARAMS:
        if key in joined:
            joined[key] = _join_lists([checkpoint[key] for checkpoint in checkpoints])
    write_checkpoint({name: entry for name, entry in joined.items() if name not in without}, path)


def save_checkpoint(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Write the checkpoint of an experiment whose results are written already.

    Args:
        checkpoint: Its entries.
        path: The file, written whole or not at all.

    Raises:
        CommandError: It cannot be written.
    """
    try:
        write_checkpoint(checkpoint, path)
    except (OSError, RuntimeError) as error:  # torch.save raises the latter where a disk is full
        raise CommandError(f"{path} could not be written: {error}; the results are kept") from error


def write_checkpoint(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint whole or not at all.

    Args:
        checkpoint: Its entries.
        path: The file.

    Raises:
        OSError: It cannot be written.
    """
    # A Ctrl-C within torch.save comes out as an error of its archive, as if the disk were full.
    with interrupts_wait(), atomic_file(path) as file:
        torch.save(checkpoint, file)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint to the CPU; nothing in the file is executed, and every byte of it is checked.

    Args:
        path: The file.

    Returns:
        Its entries.

    Raises:
        ValueError: The file is not a checkpoint, or it is damaged.
    """
    try:
        with ZipFile(path) as parts:
            damaged = parts.testzip()  # torch does not look at the checksums
        checkpoint = None if damaged else torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of many kinds: pickle's, zipfile's, torch's own
        raise ValueError((str(error) or type(error).__name__).splitlines()[0]) from error
    if not isinstance(checkpoint, dict):
        raise ValueError(f"its part {damaged} is damaged" if damaged else "it holds no dictionary")
    return checkpoint


def _join_lists(hparams: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        name: [item for h in hparams for item in h[name]] if isinstance(value, list) else value
        for name, value in hparams[0].items()
    }
