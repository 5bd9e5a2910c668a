"""Digits at 14x14: the embedded MNIST by default, the four IDX files of any relative by folder."""

import re
from collections.abc import Container
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from datamodules.idx import read_idx

EMBEDDED = Path(__file__).with_name("mnist14.npz")

# Where torchvision puts the raw files below the folder that it is given.
SUBFOLDERS = ("", "raw", "MNIST/raw", "FashionMNIST/raw", "KMNIST/raw", "QMNIST/raw", "EMNIST/raw")


@dataclass(frozen=True)
class Layout:
    """The four file names of one family of data sets: train images and labels, test images and labels."""

    names: tuple[str, str, str, str]
    transposed: bool = False  # EMNIST stores each image mirrored along its diagonal


LAYOUTS = (
    Layout(  # MNIST, Fashion-MNIST, KMNIST
        (
            "train-images-idx3-ubyte",
            "train-labels-idx1-ubyte",
            "t10k-images-idx3-ubyte",
            "t10k-labels-idx1-ubyte",
        )
    ),
    Layout(
        (
            "qmnist-train-images-idx3-ubyte",
            "qmnist-train-labels-idx2-int",
            "qmnist-test-images-idx3-ubyte",
            "qmnist-test-labels-idx2-int",
        )
    ),
    Layout(
        (
            "emnist-digits-train-images-idx3-ubyte",
            "emnist-digits-train-labels-idx1-ubyte",
            "emnist-digits-test-images-idx3-ubyte",
            "emnist-digits-test-labels-idx1-ubyte",
        ),
        transposed=True,
    ),
)


@dataclass(frozen=True)
class Digits:
    """Labelled digits of one split."""

    images: Tensor  # (n, 14, 14) float32 in 0..255, means of 2x2 pixels
    labels: Tensor  # (n,) int64 in 0..9

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> "Digits":
        """The same digits on another device."""
        return Digits(self.images.to(device), self.labels.to(device))


def load_digits(data_dir: str | Path | None = None) -> tuple[Digits, Digits]:
    """Load the train and the test split.

    Args:
        data_dir: Folder with the four IDX files (raw or .gz) of MNIST, Fashion-MNIST, KMNIST, QMNIST or
            EMNIST-digits, directly, as torchvision lays them (``DIR/MNIST/raw``) or as Kaggle does
            (``train-images.idx3-ubyte``, or a folder of a file's name around it); ``~`` is the home folder.
            None takes the embedded MNIST.

    Returns:
        Train digits, test digits.

    Raises:
        OSError: A file is missing or unreadable; the message names it.
        ValueError: A file breaks a rule; the message names the file and the rule.
    """
    if data_dir is not None and not str(data_dir).strip():
        raise ValueError("data_dir is empty; give the folder of the four IDX files")
    sums = _embedded() if data_dir is None else read_sums(Path(data_dir).expanduser())
    train, test = (
        # A sum of four pixels is at most 1020 and a quarter of it is exact in float32.
        Digits(
            torch.from_numpy(sums[f"{split}_images"].astype(np.float32)).div_(4),
            torch.from_numpy(sums[f"{split}_labels"].astype(np.int64)),
        )
        for split in ("train", "test")
    )
    return train, test


@cache  # unpacked once: a study loads the digits for every program
def _embedded() -> dict[str, np.ndarray]:
    with np.load(EMBEDDED) as arrays:
        return {name: arrays[name] for name in arrays.files}


def read_sums(folder: Path) -> dict[str, np.ndarray]:
    """Read the four IDX files of a folder as the arrays that ``mnist14.npz`` holds.

    Returns:
        ``train_images`` and ``test_images``, (n, 14, 14) uint16, sums of 2x2 pixels; ``train_labels`` and
        ``test_labels``, (n,) uint8.
    """
    layout, paths = find_files(folder)
    arrays = {}
    for split, (images_path, labels_path) in {"train": paths[:2], "test": paths[2:]}.items():
        images, labels = _read_images(images_path), _read_labels(labels_path)
        if len(images) != len(labels):
            raise ValueError(
                f"{labels_path}: {len(labels)} labels for the {len(images)} images of {images_path.name};"
                " there must be one each"
            )
        arrays[f"{split}_images"] = sum_2x2(images.transpose(0, 2, 1) if layout.transposed else images)
        arrays[f"{split}_labels"] = labels
    return arrays


def find_files(folder: Path) -> tuple[Layout, list[Path]]:
    """Find the four files of the one data set in a folder or its torchvision subfolders, and their layout."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; data_dir must hold the four IDX files")
    found = [
        (layout, place, paths)
        for place in (folder / sub for sub in SUBFOLDERS)
        for layout in LAYOUTS
        if any(paths := [_find(place, name) for name in layout.names])
    ]
    if not found:
        names = ", ".join(LAYOUTS[0].names)
        raise FileNotFoundError(
            f"{folder}: none of the four IDX files ({names}; raw or .gz) lies there{_near_misses(folder)}"
        )
    if len(found) > 1:
        places = " and ".join(str(place) for _, place, _ in found)
        raise ValueError(f"{folder}: holds more than one data set ({places}); data_dir must name one")
    layout, place, paths = found[0]
    if missing := [name for name, path in zip(layout.names, paths, strict=True) if path is None]:
        raise FileNotFoundError(
            f"{place / missing[0]}: missing (neither raw nor .gz)"
            + _near_misses(place, known={path.name for path in paths if path})
        )
    return layout, [path for path in paths if path is not None]


def sum_2x2(images: np.ndarray) -> np.ndarray:
    """Sum 2x2 pixels, four times ``avg_pool2d(2)``: (n, 28, 28) uint8 to (n, 14, 14) uint16 in 0..1020."""
    return images.reshape(-1, 14, 2, 14, 2).sum((2, 4), dtype=np.uint16)


def _find(place: Path, name: str) -> Path | None:
    """The file of a name, which may have a dot before ``idx``, ``.gz`` at its end, or a folder around it.

    torchvision keeps the .gz beside the raw file. Several are fine, if they hold the same.
    """
    names = (name, name.replace("-idx", ".idx"))
    files = [
        place / folder / (file + end) for folder in ("", *names) for file in names for end in ("", ".gz")
    ]
    found = [file for file in files if file.is_file()]
    for other in found[1:]:
        if not np.array_equal(read_idx(found[0]), read_idx(other)):
            raise ValueError(f"{other} differs from {found[0]}; data_dir must hold one of the two")
    return found[0] if found else None


def _near_misses(place: Path, known: Container[str] = ()) -> str:
    """What else lies there that its user may have meant."""
    names = sorted(path.name for path in place.iterdir())
    meant = [name for name in names if name not in known and re.search("idx|images|labels", name.lower())]
    return f"; found {', '.join(meant[:8])}: rename or unpack it" if meant else ""


def _read_images(path: Path) -> np.ndarray:
    images = read_idx(path)
    if images.dtype != np.uint8 or images.shape[1:] != (28, 28):
        raise ValueError(f"{path}: images must be n x 28 x 28 bytes, found {images.dtype} {images.shape}")
    if len(images) < 2:
        raise ValueError(f"{path}: {len(images)} images; a pair needs at least 2")
    return images


def _read_labels(path: Path) -> np.ndarray:
    labels = read_idx(path)
    if labels.ndim == 2 and labels.shape[1] == 8:
        labels = labels[:, 0]  # QMNIST: the class, then writer and origin
    if labels.ndim != 1:
        raise ValueError(f"{path}: labels must have one dimension (QMNIST: n x 8), found {labels.shape}")
    if wrong := [int(value) for value in np.unique(labels) if not 0 <= value <= 9]:
        raise ValueError(f"{path}: mislabelled: labels must lie in 0..9, found {wrong[0]}")
    return labels.astype(np.uint8)
