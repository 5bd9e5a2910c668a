"""A picture of a handwritten digit, brought to MNIST's form as MNIST was made.

Dark ink on light paper or the reverse, any size, a photo with shadows: the ink is told from the ground,
cropped, fitted into a box of 20x20 pixels, and put into 28x28 with its centre of mass in the middle (LeCun et
al. 1998, "Gradient-based learning applied to document recognition", section III.A). The embedded MNIST is of
means of 2x2 pixels of that.
"""

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from scipy import ndimage
from skimage import filters, measure, morphology, transform

from lightning_modules.cli import CommandError

Pixels = NDArray[np.float64]

WORKING = 112  # pixels of the longer side at which ink is looked for
BOX, SIDE = 20, 28  # pixels
GROUND = 45  # pixels: wider than a stroke, narrower than a shadow
FAINT = 0.15  # of black to white: less contrast than this is no ink
SPECK = 0.05  # parts of less than this share of the largest are dirt
STROKE = 0.1  # width of MNIST's strokes, as a share of the box


def read_digit(path: Path) -> NDArray[np.float32]:
    """Read a picture of one digit.

    Args:
        path: An image file.

    Returns:
        (14, 14) in 0..255, light ink on black.

    Raises:
        CommandError: It is no image, or shows nothing.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                grey = brightness(image)
    except UnidentifiedImageError as error:
        raise CommandError(f"{path} is no image that can be read; give a PNG, JPEG, ...") from error
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # of many kinds: every format's reader has its own
        raise CommandError(f"{path} is no image that can be read: {error}") from error
    try:
        return as_mnist(grey)
    except ValueError as error:
        raise CommandError(f"{path}: {error}") from error


def brightness(image: Image.Image) -> Pixels:
    """How light a picture is, upright; what is transparent is white.

    Args:
        image: An opened image; reading its pixels may raise what Pillow raises of damaged files.

    Returns:
        (H, W) in 0..1.

    Raises:
        ValueError: Pixels are no numbers.
    """
    image.load()
    upright = ImageOps.exif_transpose(image)
    if upright.mode in ("I", "F") or upright.mode.startswith("I;16"):
        values = np.asarray(upright, np.float64)
        if not np.isfinite(values).all():
            raise ValueError("it has pixels that are no numbers")
        span = np.ptp(values)
        values = (values - values.min()) / span if span else np.zeros_like(values)
        upright = Image.fromarray((255 * values).astype(np.uint8))
    if upright.has_transparency_data:
        upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright.convert("RGBA"))
    return np.asarray(upright.convert("L"), np.float64) / 255


def as_mnist(grey: Pixels) -> NDArray[np.float32]:
    """Bring a picture of one digit to the form of the embedded MNIST.

    Args:
        grey: (H, W) in 0..1.

    Returns:
        (14, 14) in 0..255, light ink on black.

    Raises:
        ValueError: It shows nothing.
    """
    digit = _crop(_ink(_fit(grey, WORKING)))
    small = _fit(digit, BOX)
    centred = _centre(small / small.max())
    return (255 * centred.reshape(SIDE // 2, 2, SIDE // 2, 2).mean((1, 3))).astype(np.float32)


def _fit(image: Pixels, side: int) -> Pixels:
    """Scale (H, W) so that the longer side has so many pixels."""
    scale = side / max(image.shape)
    height, width = (max(1, round(scale * size)) for size in image.shape)
    return transform.resize(image, (height, width), order=1, anti_aliasing=scale < 1)


def _ink(grey: Pixels) -> Pixels:
    """How much ink there is, (H, W) from 0, whichever of ink and ground is darker, shadows taken away."""
    edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    light = 1 - grey if np.median(edge) > grey.mean() else grey
    ink = ndimage.white_tophat(light, (GROUND, GROUND))
    if np.ptp(ink) < FAINT:
        raise ValueError("it shows no digit: its pixels are all alike")
    return ink


def _crop(ink: Pixels) -> Pixels:
    """The digit alone, its strokes as wide as MNIST's at least."""
    mask = ink > filters.threshold_otsu(ink)
    labels = measure.label(mask, connectivity=2)
    sizes = np.bincount(labels.ravel())[1:]
    mask &= np.isin(labels, 1 + np.flatnonzero(sizes >= SPECK * sizes.max()))
    near = morphology.dilation(mask, morphology.disk(2))  # the soft edges of strokes are ink, too
    full = np.percentile(ink[mask], 50)
    digit = np.where(near, (ink / full).clip(0, 1), 0)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = max(np.ptp(rows), np.ptp(columns)) + 1
    width = 2 * mask.sum() / max(1.0, measure.perimeter(mask, neighborhood=8))
    grow = round((STROKE * box - width) / 2)
    if grow > 0:
        digit = morphology.dilation(np.pad(digit, grow), morphology.disk(grow))
        mask = digit > 0.5
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _centre(digit: Pixels) -> Pixels:
    """Put a digit into (28, 28), its centre of mass in the middle as far as pixels and frame allow."""
    frame = np.zeros((SIDE, SIDE))
    corner = [
        int(np.clip(round(SIDE / 2 - 0.5 - mass), 0, SIDE - size))
        for mass, size in zip(ndimage.center_of_mass(digit), digit.shape, strict=True)
    ]
    frame[corner[0] : corner[0] + digit.shape[0], corner[1] : corner[1] + digit.shape[1]] = digit
    return frame
