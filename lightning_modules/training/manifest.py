"""Manifest of a study (study.json): what it was begun with. It is resumed with the same, or refused."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytorch_lightning as pl
import torch
from filelock import FileLock, Timeout
from llvmlite.binding import get_host_cpu_features, get_host_cpu_name

from lightning_modules.command.atomic_io import atomic_write, clear_torn, make_folder
from lightning_modules.command.cli import CommandError
from lightning_modules.command.file_format import FORMAT, KEY, refuse_other_format
from lightning_modules.results.provenance import COMPUTING, code_digests, versions
from lightning_modules.training.precision import INSTRUCTIONS

MANIFEST, LOCK = "study.json", ".lock"
# Flags that change no result of a study that was begun: where it lies, how many processes share its shards.
FREE = ("log_dir", "workers", "checkpoint_every")
# Flags that stand for an entry of the manifest: the device, the number of processes, the digits.
BY_EFFECT = ("accelerator", "devices", "num_nodes", "data_dir")
PATIENCE = 600.0  # seconds that a rank waits for rank 0
ANEW = "start it anew under another name"


@dataclass(frozen=True)
class Manifest:
    """What a study was begun with."""

    command: str
    config: Mapping[str, Any]  # flags by name
    device: str  # that computes; other processors round otherwise
    processes: int  # that Lightning runs
    shards: Mapping[str, list[int]]  # model to the number of runs in each shard; rounding depends on it
    data: str  # digest of the digits
    code: Mapping[str, str] = field(default_factory=code_digests)  # file to its digest
    versions: Mapping[str, str | None] = field(default_factory=partial(versions, COMPUTING))
    study: str = field(default_factory=lambda: token_hex(8))  # of this one study
    format: str = FORMAT


def device_name(trainer: pl.Trainer) -> str:
    """Name the processor and its instructions, or the GPU.

    Torch chooses its loops by the widest vectors, its matrix products also by the model of processor and the
    instructions for bfloat16; numba fuses a multiplication with an addition as that model does.
    """
    device = trainer.strategy.root_device
    backend = torch.backends.cuda if device.type == "cuda" else torch.backends.mkldnn
    products = backend.matmul.fp32_precision  # of float32; torch.set_float32_matmul_precision sets it
    rounded = "" if products in ("none", "ieee") else f", float32 products in {products}"
    if device.type == "cuda":
        return f"cuda {torch.cuda.get_device_name(device)}{rounded}"
    features = get_host_cpu_features()
    extras = [name for name in INSTRUCTIONS if features.get(name)]
    kind = [device.type, torch.backends.cpu.get_cpu_capability(), get_host_cpu_name(), *extras]
    return " ".join(kind) + rounded


def check_begun(folder: Path) -> None:
    """Refuse a folder that is not there to be resumed."""
    if not folder.is_dir():
        raise CommandError(f"there is no study {folder} to resume; leave --resume out to begin it")


@contextmanager
def open_study(folder: Path, now: Manifest, resume: bool, shared: bool = False) -> Iterator[Manifest]:
    """Begin a study, or resume it; no other process can in this block.

    Args:
        folder: The study's.
        now: What it is begun with, or was.
        resume: Whether it must have been begun before.
        shared: Whether ranks of torchrun or SLURM share it. Then this job, `now.study`, may have begun it
            before it was restarted.

    Yields:
        What it was begun with.

    Raises:
        CommandError: It cannot begin, or be resumed.
        OSError: The folder cannot be written.
    """
    if not resume:
        make_folder(folder, anew=not shared or _is_foreign(folder, now))
    else:
        check_begun(folder)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise CommandError(
            f"{folder}: another process works on this study; wait for it, or end it"
        ) from error
    try:
        yield _begun(folder, now, shared)
        if shared:  # only now: other ranks were writing
            clear_torn(folder)
    finally:
        lock.release()


def join_study(folder: Path, now: Manifest, resume: bool) -> Manifest:
    """What rank 0 of the same job has begun the study with, as soon as it has.

    Raises:
        CommandError: It is the study of another job, or cannot be resumed, or rank 0 does not begin it.
    """
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if not resume:  # refuses what rank 0 refuses
            make_folder(folder, anew=_is_foreign(folder, now))
        if (folder / MANIFEST).exists():
            return _read_same(folder, now)
        time.sleep(0.1)
    raise CommandError(f"{folder}: rank 0 has not begun this study within {PATIENCE:.0f} s")


def _is_foreign(folder: Path, now: Manifest) -> bool:
    """Whether a folder holds anything but a study of this job."""
    names = _names(folder)
    return _read(folder / MANIFEST).study != now.study if MANIFEST in names else _holds_more(names)


def _names(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir()] if folder.is_dir() else []


def _holds_more(names: Sequence[str]) -> bool:
    """Whether a folder with these files holds more than a study that is just being begun."""
    return any(name != LOCK and not name.startswith(MANIFEST) for name in names)


def _begun(folder: Path, now: Manifest, shared: bool) -> Manifest:
    """The manifest in a folder; written first, where the study has not begun."""
    path = folder / MANIFEST
    if not path.exists():
        if _holds_more(_names(folder)):
            raise CommandError(f"{folder} holds no {MANIFEST}, so that its study cannot be resumed")
        atomic_write(path, json.dumps(asdict(now), indent=1) + "\n")
    begun = _read_same(folder, now)
    if not shared:
        clear_torn(folder)
    return begun


def _read_same(folder: Path, now: Manifest) -> Manifest:
    """What a study was begun with, which must be what decides its results now."""
    path = folder / MANIFEST
    begun = _read(path)
    _check_same(begun, now)
    if _runs(begun) != _runs(now):
        raise CommandError(f"{path} is damaged, so that its study cannot be resumed: shards")
    return begun


def _runs(manifest: Manifest) -> dict[str, int]:
    return {model: sum(sizes) for model, sizes in manifest.shards.items()}


def _read(path: Path) -> Manifest:
    """The manifest in a file, whose entries are of the right types."""
    damaged = f"{path} is damaged, so that its study cannot be resumed"
    try:
        content = dict(json.loads(path.read_text()))
        refuse_other_format(path, content.get(KEY))
        if missing := [entry.name for entry in fields(Manifest) if entry.name not in content]:
            raise CommandError(
                f"{path} is of an older version of this program, which did not record {', '.join(missing)};"
                f" its study cannot be resumed: {ANEW}"
            )
        manifest = Manifest(**content)
    except (ValueError, TypeError) as error:
        raise CommandError(f"{damaged}: {error}; {ANEW}") from error
    kinds: dict[str, type] = dict.fromkeys(("command", "device", "data", "study", "format"), str)
    kinds["processes"] = int
    wrong = [name for name, value in vars(manifest).items() if not isinstance(value, kinds.get(name, dict))]
    if not wrong and not all(map(_are_sizes, manifest.shards.values())):
        wrong = ["shards"]
    if wrong:
        raise CommandError(f"{damaged}: {wrong[0]}; {ANEW}")
    return manifest


def _are_sizes(runs: Any) -> bool:
    return isinstance(runs, list) and all(type(count) is int and count > 0 for count in runs)


def _check_same(begun: Manifest, now: Manifest) -> None:
    """Refuse to resume where the results would not be those of one study."""
    _check_machine(begun, now)
    _check_code(begun.code, now.code)
    if begun.data != now.data:
        before, here = (_shown(manifest.config.get("data_dir")) for manifest in (begun, now))
        raise CommandError(
            f"--data_dir was {before} when the study was begun, is now {here}, and holds other digits; resume"
            f" with the same digits, or {ANEW}"
        )
    for flag in now.config:
        if flag not in (*FREE, *BY_EFFECT) and begun.config.get(flag) != now.config[flag]:
            before, here = (_shown(manifest.config.get(flag)) for manifest in (begun, now))
            advice = "resume with the same flags"
            if flag == "precision":  # it is resolved, so that the flags may be the same
                advice = f"left out, it is chosen for the processor at hand; resume with --precision {before}"
            raise CommandError(f"--{flag} was {before} when the study was begun, is now {here}; {advice}")


def _check_machine(begun: Manifest, now: Manifest) -> None:
    names = dict.fromkeys([*now.versions, *begun.versions])
    for what, before, here, advice in (
        ("device", begun.device, now.device, "resume on such a device, --accelerator chooses one, or "),
        ("processes", begun.processes, now.processes, "only a study of one process can be resumed: "),
        *((name, begun.versions.get(name), now.versions.get(name), "install that, or ") for name in names),
    ):
        if before != here:
            raise CommandError(
                f"the study was begun with {what} {before}, here is {here}, whose results may differ;"
                f" {advice}{ANEW}"
            )


def _check_code(begun: Mapping[str, str], now: Mapping[str, str]) -> None:
    if changed := sorted(name for name in {*begun, *now} if begun.get(name) != now.get(name)):
        named = ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")
        raise CommandError(
            f"the code has changed since the study was begun, and its results may have: {named}; resume with"
            f" the code that began it, or {ANEW}"
        )


def _shown(value: Any) -> str:
    return "left out" if value is None else str(value)
