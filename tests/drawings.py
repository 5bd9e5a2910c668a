"""Pictures of digits: drawn, on a page, before a camera; and files that show none."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from scipy.special import expit
from skimage.transform import resize

Pixels = NDArray[np.float64]


def drawn(digit: Pixels, size: int) -> Pixels:
    """A digit, or several beside each other, the longer side so large."""
    return resize(digit / 255, [size * n // max(digit.shape) for n in digit.shape], order=1)


def page(digit: Pixels, size: int = 150, paper: float = 0.9, ink: float = 0.25) -> Pixels:
    """A digit with crisp strokes, off the middle of a page."""
    up = resize(digit / 255, (size, size), order=3, mode="constant")
    strokes = expit(14 * (ndimage.gaussian_filter(up, size / 60) - 0.4))
    margins = ((20, 220 - size), (120, 200 - size))
    return paper + (ink - paper) * np.pad(strokes, margins).astype(np.float64)


def shot(picture: Pixels, light: Pixels | float = 1.0, noise: float = 0.01) -> Pixels:
    """What a camera makes of a page under some light."""
    blurred = ndimage.gaussian_filter(picture * light, 1)
    return (blurred + np.random.default_rng(0).normal(0, noise, picture.shape)).clip(0, 1)


def save(path: Path, grey: Pixels) -> Path:
    Image.fromarray((255 * grey).round().astype(np.uint8)).save(path)
    return path


def bad_files(folder: Path) -> dict[str, str]:
    """File to a part of what is said about it."""
    (folder / "text.png").write_text("no picture")
    save(folder / "cut.png", np.random.default_rng(0).random((50, 50)))
    (folder / "cut.png").write_bytes((folder / "cut.png").read_bytes()[:300])
    save(folder / "blank.png", np.full((50, 50), 0.7))
    Image.fromarray(np.full((9, 9), np.nan, np.float32)).save(folder / "nan.tiff")
    return {
        "text.png": "no image",
        "cut.png": "cannot be read",
        "blank.png": "shows no digit",
        "nan.tiff": "no numbers",
        "missing.png": "No such file",
    }
