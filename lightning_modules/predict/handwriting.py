"""A picture of a handwritten digit, brought to MNIST's form as MNIST was made.

Dark ink on light paper or the reverse, any size, a photo with shadows: the ink is told from the ground,
cropped, fitted into a box of 20x20 pixels, and put into 28x28 with its centre of mass in the middle (LeCun et
al. 1998, "Gradient-based learning applied to document recognition", section III.A). The embedded MNIST is of
means of 2x2 pixels of that.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import measure, morphology, transform

from lightning_modules.command.cli import CommandError
from lightning_modules.predict.ink import Mask, Pixels, find_ink, find_strokes
from lightning_modules.predict.pictures import read_picture

WORKING = 160  # pixels of the longer side at which ink is looked for
LOOKS = 4  # at most, each at the part of the picture where the one before found ink
NEAR = 80  # pixels of a digit's longer side: so large it is seen well enough
MARGIN = 0.4  # of a digit's longer side: paper around it, at the next look
BOX, SIDE = 20, 28  # pixels
GAP = 0.1  # of a digit's longer side: parts that are nearer to each other are one
SPECK = 0.05  # parts of less than this share of the largest are dirt
STROKE = 0.1  # width of MNIST's strokes, as a share of the box


def read_digit(path: Path) -> NDArray[np.float32]:
    """Read a picture of one digit as (14, 14) in 0..255, light ink on black."""
    picture = read_picture(path)
    try:
        return as_mnist(picture)
    except ValueError as error:
        raise CommandError(f"{path}: {error}") from error


def as_mnist(picture: Pixels) -> NDArray[np.float32]:
    """Bring one digit's picture, (H, W[, C]) in 0..1, to the form of the embedded MNIST, (14, 14) in 0..255.

    Raises:
        NothingShownError: It shows nothing.
        ValueError: It shows several digits.
    """
    picture = picture.reshape(*picture.shape[:2], -1)
    for _ in range(LOOKS):
        page = _fit(picture, WORKING)
        ink = find_ink(page)
        strokes = one_digit(ink, find_strokes(ink))
        shrunk = max(picture.shape[:2]) / WORKING
        if shrunk <= 1 or _longer_side(strokes) >= NEAR:
            break
        picture = picture[_surroundings(strokes, shrunk)]
    small = _fit(_crop(ink, strokes), BOX)
    centred = _centre(small / small.max())
    return (255 * centred.reshape(SIDE // 2, 2, SIDE // 2, 2).mean((1, 3))).astype(np.float32)


def _fit(image: Pixels, side: int) -> Pixels:
    """Scale (H, W, ...) so that the longer side has so many pixels."""
    scale = side / max(image.shape[:2])
    height, width = (max(1, round(scale * size)) for size in image.shape[:2])
    return transform.resize(image, (height, width, *image.shape[2:]), order=1, anti_aliasing=scale < 1)


def one_digit(ink: Pixels, strokes: Mask) -> Mask:
    """The strokes (H, W) of the digit, without the dirt around it.

    Raises:
        ValueError: There are several digits: parts of about the same height that are far from each other.
    """
    pieces = measure.label(strokes, connectivity=2)
    largest = pieces == np.bincount(pieces[strokes]).argmax()
    reach = max(1.5, GAP * _longer_side(largest) / 2)
    near = ndimage.distance_transform_edt(~strokes) <= reach
    near |= ink > ink[strokes].min() / 2  # a faint line joins them, too
    parts = measure.regionprops(measure.label(near, connectivity=2) * strokes)
    main = max(parts, key=lambda part: part.area)
    heights = [part.bbox[2] - part.bbox[0] for part in parts if part.area >= 2 * SPECK * main.area]
    if (count := sum(2 * height >= main.bbox[2] - main.bbox[0] for height in heights)) > 1:
        raise ValueError(f"it shows {count} digits, or a digit in {count} parts; cut one digit out")
    digit = np.zeros_like(strokes)
    for part in parts:
        if part.area >= SPECK * main.area:
            digit[tuple(part.coords.T)] = True
    return digit


def _extent(strokes: Mask) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(strokes.any(1)), np.flatnonzero(strokes.any(0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _longer_side(strokes: Mask) -> int:
    return max(part.stop - part.start for part in _extent(strokes))


def _surroundings(strokes: Mask, scale: float) -> tuple[slice, slice]:
    """The part of a picture, so many times as large, where the strokes are, with a margin of paper."""
    margin = MARGIN * _longer_side(strokes) + 2
    rows, columns = (
        slice(max(0, int(scale * (part.start - margin))), int(scale * (part.stop + margin)) + 1)
        for part in _extent(strokes)
    )
    return rows, columns


def _crop(ink: Pixels, strokes: Mask) -> Pixels:
    """The digit alone, its strokes as wide as MNIST's at least."""
    near = morphology.dilation(strokes, morphology.disk(2))  # the soft edges of strokes are ink, too
    digit = np.where(near, (ink / np.median(ink[strokes])).clip(0, 1), 0)
    width = strokes.sum() / morphology.skeletonize(strokes).sum()
    grow = round((STROKE * _longer_side(strokes) - width) / 2)
    if grow > 0:
        digit = morphology.dilation(np.pad(digit, grow), morphology.disk(grow))
        strokes = digit > 0.5
    return digit[_extent(strokes)]


def _centre(digit: Pixels) -> Pixels:
    """Put a digit into (28, 28), its centre of mass in the middle as far as pixels and frame allow."""
    frame = np.zeros((SIDE, SIDE))
    corner = [
        int(np.clip(round(SIDE / 2 - 0.5 - mass), 0, SIDE - size))
        for mass, size in zip(ndimage.center_of_mass(digit), digit.shape, strict=True)
    ]
    frame[corner[0] : corner[0] + digit.shape[0], corner[1] : corner[1] + digit.shape[1]] = digit
    return frame
