"""What a study was begun with, in its folder, so that it can go on as it was begun, and nothing else can."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytorch_lightning as pl
import torch
from filelock import FileLock, Timeout

from lightning_modules.cli import CommandError
from lightning_modules.folder import clear_torn, make_folder, write_whole
from lightning_modules.results import versions

RECORD, LOCK = "study.json", ".lock"
# Flags that change no figure of a study that was begun: where it lies, how many processes share its programs.
FREE = ("log_dir", "workers", "checkpoint_every")


@dataclass(frozen=True)
class Record:
    """What a study was begun with."""

    command: str
    config: Mapping[str, Any]  # flags by name
    device: str  # what computes; other processors round otherwise
    programs: Mapping[str, list[int]]  # model to the number of runs in each program; rounding depends on it
    versions: Mapping[str, str | None] = field(default_factory=versions)
    study: str = field(default_factory=lambda: token_hex(8))  # of this one study


def device_name(trainer: pl.Trainer) -> str:
    """What computes: the kind of processor, or the GPU.

    Args:
        trainer: As the study will make it.
    """
    device = trainer.strategy.root_device
    if device.type == "cuda":
        return f"cuda {torch.cuda.get_device_name(device)}"
    return f"{device.type} {torch.backends.cpu.get_cpu_capability()}"


@contextmanager
def opened(folder: Path, now: Record, resume: bool) -> Iterator[Record]:
    """Begin a study, or go on with it; no other process can in this block.

    Args:
        folder: Of the study.
        now: What it is begun with, or to go on with.
        resume: Whether to go on.

    Yields:
        What it was begun with.

    Raises:
        CommandError: It cannot begin or go on.
        OSError: The folder cannot be written.
    """
    if not resume:
        make_folder(folder)
    elif not folder.is_dir():
        raise CommandError(f"there is no study {folder} to resume; leave --resume out to begin it")
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise CommandError(
            f"{folder}: another process works on this study; wait for it, or end it"
        ) from error
    try:
        yield _recorded(folder, now)
    finally:
        lock.release()


def _recorded(folder: Path, now: Record) -> Record:
    path = folder / RECORD
    if not path.exists():
        if any(file.name != LOCK and not file.name.startswith(RECORD) for file in folder.iterdir()):
            raise CommandError(f"{folder} holds no {RECORD}, so that its study cannot be resumed")
        write_whole(path, json.dumps(asdict(now), indent=1) + "\n")
    begun = _read(path)
    _check_same(begun, now)
    clear_torn(folder)
    return begun


def _read(path: Path) -> Record:
    try:
        record = Record(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise CommandError(
            f"{path} is damaged, so that its study cannot be resumed: {error}; start it anew"
        ) from error
    for entry in fields(Record):
        kind = {"command": str, "device": str, "study": str}.get(entry.name, dict)
        if not isinstance(getattr(record, entry.name), kind):
            raise CommandError(f"{path} is damaged, so that its study cannot be resumed: {entry.name}")
    return record


def _check_same(begun: Record, now: Record) -> None:
    for flag in now.config:
        if flag not in FREE and begun.config.get(flag) != now.config[flag]:
            raise CommandError(
                f"--{flag} was {_shown(begun.config.get(flag))} when the study was begun, is now"
                f" {_shown(now.config[flag])}; resume with the same flags"
            )
    for what, before, here in (
        ("device", begun.device, now.device),
        *((name, begun.versions.get(name), version) for name, version in now.versions.items()),
    ):
        if before != here:
            raise CommandError(
                f"the study was begun with {what} {before}, here is {here}, whose figures may differ;"
                " resume with the former, or start it anew"
            )


def _shown(value: Any) -> str:
    return "left out" if value is None else str(value)
