"""Picture files of any kind as arrays of colours."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from lightning_modules.command.cli import CommandError

Pixels = NDArray[np.float64]

LARGEST = 250  # million pixels: phones take 200
ENOUGH = 640  # pixels of the longer side: larger pictures are made smaller before anything is computed
VISIBLE = 0.02  # of black to white


def read_picture(path: Path) -> Pixels:
    """Read a picture as (H, W, 3) in 0..1, upright, at most twice `ENOUGH` pixels a side.

    Raises:
        CommandError: It is no image that can be read.
    """
    try:
        with _pillow_opens_large_ones(), Image.open(path) as image:
            if image.width * image.height > LARGEST * 1e6:
                raise ValueError(
                    f"it has {image.width * image.height / 1e6:.0f} million pixels; give at most {LARGEST}"
                )
            return colours(image)
    except UnidentifiedImageError as error:
        raise CommandError(f"{path} is no image that can be read; give a PNG, JPEG, ...") from error
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # of many kinds: every format's reader has its own
        raise CommandError(f"{path} is no image that can be read: {error}") from error


@contextmanager
def _pillow_opens_large_ones() -> Iterator[None]:
    """In this block Pillow has no limit of its own, which is below a phone's 108 million pixels."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        with warnings.catch_warnings(action="ignore"):  # of odd metadata, which is not what we read
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def colours(image: Image.Image) -> Pixels:
    """The colours of an opened picture, (H, W, 3) in 0..1, upright.

    What is transparent is white; black, if nothing could be seen on white.

    Raises:
        ValueError: Pixels are not numbers.
    """
    image.draft(None, (ENOUGH, ENOUGH))  # a JPEG can be decoded at a part of its size
    image.load()
    image = ImageOps.exif_transpose(image)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = Image.fromarray((255 * _levels(np.asarray(image))).round().astype(np.uint8))
    image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    image = image.reduce(max(1, max(image.size) // ENOUGH))
    if image.mode == "RGB":
        return np.asarray(image, np.float64) / 255
    on_white, on_black = (
        np.asarray(Image.alpha_composite(Image.new("RGBA", image.size, ground), image).convert("RGB"))
        for ground in ("white", "black")
    )
    return (on_white if np.ptp(on_white, (0, 1)).max() > 255 * VISIBLE else on_black) / 255.0


def _levels(values: NDArray[np.generic]) -> NDArray[np.float32]:
    """Values of 16 bits, or floats, in 0..1.

    They are not stretched to their own range: the noise of a blank page would look like ink. White is the
    largest number of as many bits as the values need (12 bits in 16 are usual), and 1 for floats up to 1.
    """
    levels = values.astype(np.float32)
    if not np.isfinite(levels).all():
        raise ValueError("it has pixels that are no numbers")
    low, high = np.percentile(levels, [0.1, 99.9])  # without dead and hot pixels
    levels -= min(low, 0)
    high -= min(low, 0)
    is_share = values.dtype.kind == "f" and high <= 1.0
    white = 1.0 if is_share else 2.0 ** max(8, np.ceil(np.log2(high + 1))) - 1
    return (levels / white).clip(0, 1)
