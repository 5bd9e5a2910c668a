"""Files and folders of a command's output; a file is written whole or not at all."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any

from lightning_modules.command.cli import CommandError
from lightning_modules.command.settings_file import to_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


TEMPORARY = ".tmp"
MOST_BYTES = 200  # of a name: file systems allow 255, and names are made longer


def choose_folder(log_dir: str | Path, name: str | None) -> Path:
    """The folder of a study, which is not made; without a name it gets a unique one.

    Raises:
        CommandError: The name is no plain one.
    """
    name = f"{datetime.now():%Y%m%d-%H%M%S}-{token_hex(2)}" if name is None else name
    if not name or Path(name).name != name or name == ".." or not name.isprintable() or name != name.strip():
        raise CommandError(f"name must be a plain folder name, got {name!r}")
    if (size := len(name.encode())) > MOST_BYTES:
        raise CommandError(f"name must be of at most {MOST_BYTES} bytes, got {size}: {name[:20]}...")
    return Path(log_dir) / name


def make_folder(folder: Path, anew: bool = True, flag: str = "log_dir") -> None:
    """Make a study's folder; `anew` refuses one that exists, `flag` is what an error advises to change.

    Raises:
        CommandError: There is one of this name, or it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=not anew)
    except FileExistsError as error:
        for path in (folder, *folder.parents):
            if path.is_symlink() and not path.exists():
                missing = f"{path} is a link to {path.readlink()}, which is not there"
                raise CommandError(f"{missing}; make it, or choose another {flag}") from error
        raise CommandError(f"{folder} exists; choose another name or remove it") from error
    except OSError as error:
        raise CommandError(
            f"{folder} cannot be made: {error.strerror}; choose another {flag}, or make it writable"
        ) from error


def make_run_folder(folder: Path, model: str, config: Mapping[str, Any]) -> Path:
    """Make the folder that is one run in TensorBoard, if it is not there, and write its settings into it."""
    run_folder = folder / model
    run_folder.mkdir(exist_ok=True)
    atomic_write(run_folder / "config.yaml", to_yaml(config))
    return run_folder


def check_folder(folder: Path, flag: str = "out") -> None:
    """Refuse a folder that can neither be made nor written to, before anything is computed for it.

    Nothing is made: where another argument is refused after this one, nothing is left behind.

    Raises:
        CommandError: It is a file, a link to nowhere, or one that this user may not make or write to.
    """
    path, what = folder.absolute(), "made"
    try:
        there = next(place for place in (path, *path.parents) if place.is_symlink() or place.exists())
        what = "written to" if there == path else what
        if there.is_dir():
            TemporaryFile(dir=there).close()
        else:
            make_folder(folder, anew=False, flag=flag)  # says why not
    except OSError as error:
        raise CommandError(
            f"{folder} cannot be {what}: {error.strerror}; choose another {flag}, or make it writable"
        ) from error


def check_new_folder(folder: Path, flag: str = "log_dir") -> None:
    """Refuse a folder that is there already, or cannot be made, before anything takes time; nothing is made.

    Raises:
        CommandError: As `make_folder` will.
    """
    if os.path.lexists(folder):
        make_folder(folder)  # says that it exists
    check_folder(folder, flag)


def check_file(path: Path, flag: str = "out") -> None:
    """Refuse a file that cannot be written, before anything is computed for it; nothing is made.

    Raises:
        CommandError: It is something else than a file, its name is too long, or its folder is refused.
    """
    check_folder(path.parent, flag)
    if path.is_dir():
        raise CommandError(f"{path} cannot be written: it is a folder; name a file in it")
    try:
        _refuse_device(path)
        with suppress(FileNotFoundError):  # as it should be
            _temporary(path).stat()  # of a name that is too long another error
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}; choose another {flag}") from error


def atomic_write(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all, also when the program is killed meanwhile."""
    with atomic_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """A file to write, which replaces the old one once it is whole on the disk, whatever ends the program.

    Yields:
        What to write to.

    Raises:
        OSError: It cannot be written; the message names it.
    """
    if not path.name:  # such as `.`
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    _refuse_device(path)
    temporary = _temporary(path)
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:  # writing knows no name
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        with suppress(OSError):  # of a disk that is read-only by now
            temporary.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    """What is written first; another machine, or a worker that outlived its main process, has another one."""
    return path.with_name(f"{path.name}.{token_hex(4)}{TEMPORARY}")


def _refuse_device(path: Path) -> None:
    """Refuse to replace a device such as /dev/null, or a pipe, by a file."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "it is a device or a pipe, not a file", str(path))


def clear_torn(folder: Path) -> None:
    """Remove what a killed program was about to write."""
    for temporary in folder.rglob(f"*{TEMPORARY}"):
        temporary.unlink(missing_ok=True)
