"""Provenance of a study's results: versions of libraries, our own code, and the digits."""

from __future__ import annotations

import hashlib
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

# Libraries that compute results: another version may round differently.
COMPUTING = ("torch", "pytorch-lightning", "torchmetrics", "numpy", "numba", "llvmlite")
PACKAGES = (*COMPUTING, "tensorboard", "digit-duel")

ROOT = Path(__file__).parents[2]  # of a checkout, or where the packages are installed
STUDY = ("train.py", "datamodules", "lightning_modules")
READERS = (
    "lightning_modules/demo/",
    "lightning_modules/report/",
)  # they show the results of studies, and train nothing


class Digits(Protocol):
    """Labelled digits of one split."""

    images: Tensor
    labels: Tensor


class DigitData(Protocol):
    """A data module after its `setup`."""

    train_digits: Digits
    test_digits: Digits


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str | None]:
    """The versions of Python and of packages.

    Args:
        packages: Their names.

    Returns:
        Name to version; None where a package is not installed.
    """
    return {"python": platform.python_version()} | {name: _version(name) for name in packages}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # run from a folder, not installed
        return None


def code_digests(places: Sequence[str] = STUDY) -> dict[str, str]:
    """The source code that computes, wherever it is installed and however its lines end.

    Args:
        places: Files, and folders with all folders in them, below the folder of our packages.

    Returns:
        File to the start of its SHA-256.
    """
    paths = [path for place in places for path in (ROOT / place, *sorted((ROOT / place).rglob("*.py")))]
    files = {path.relative_to(ROOT).as_posix(): path for path in paths if path.is_file()}
    return {
        name: hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()[:16]
        for name, path in files.items()
        if not name.startswith(READERS)
    }


def data_digest(data: DigitData) -> str:
    """The digits, wherever they lie.

    Args:
        data: Has loaded them.

    Returns:
        SHA-256 of all images and labels.
    """
    digest = hashlib.sha256()
    for digits in (data.train_digits, data.test_digits):
        for tensor in (digits.images, digits.labels):
            digest.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.contiguous().cpu().numpy().data)
    return digest.hexdigest()
