"""The ink on a page: dark or light, in any colour, under any light.

A pixel is compared with the ground around it, so that neither a phone's dark corners nor the shadow of a hand
is taken for ink.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import filters

Pixels = NDArray[np.float64]
Mask = NDArray[np.bool_]

WINDOW = 65  # pixels of the page: wider than a stroke, narrower than a shadow
FAINT = 0.04  # of black to white: less contrast than this is no ink
NOISE = 4.0  # times the noise that ink must stand out, beside that
DIM = 0.2  # of white: darker paper is taken to be as light as this


class NothingShownError(ValueError):
    """A picture without ink."""


def find_ink(page: Pixels) -> Pixels:
    """How much ink there is on a page (H, W, C) in 0..1: (H, W) from 0, the ground.

    Raises:
        NothingShownError: There is none, or it is too faint.
    """
    contrast = most_contrast(page)
    grey = _framed(contrast)
    dark = ground_is_light(grey)
    light = ndimage.gaussian_filter(-grey if dark else grey, 0.5)
    inner = slice(WINDOW, -WINDOW)
    ink = (light - ndimage.grey_opening(light, (WINDOW, WINDOW)))[inner, inner].clip(0)
    noise = np.median(np.abs(np.diff(contrast, axis=1))) if contrast.shape[1] > 1 else 0.0
    strength, needed = ndimage.gaussian_filter(ink, 1).max() - np.median(ink), FAINT + NOISE * noise
    if strength < needed:
        raise NothingShownError(
            f"it shows no digit, or too faint a one: its contrast is {strength:.1%} of black to white,"
            f" {needed:.1%} are needed"
        )
    if dark:  # the part of the light that ink takes away is the same in a shadow
        ink /= ndimage.grey_closing(page.mean(2), (WINDOW, WINDOW)).clip(DIM)
    return ink


def most_contrast(page: Pixels) -> Pixels:
    """Mix the colours of a page (H, W, C) in 0..1 to the shade (H, W) that differs most from place to place.

    Of black on white it is the brightness; of red ink on an equally bright green page it is red minus green.
    """
    detail = page - ndimage.uniform_filter(page, (WINDOW, WINDOW, 0))
    spread = np.einsum("hwc,hwd->cd", detail, detail)
    mixture = np.linalg.eigh(spread).eigenvectors[:, -1]
    mixture /= np.abs(mixture).sum() * (-1 if mixture.sum() < 0 else 1)
    return page @ mixture


def _framed(grey: Pixels) -> Pixels:
    """Continue the ground by `WINDOW` pixels on each side, without the strokes that touch the border."""
    grey = np.pad(grey, 1, mode="edge")
    for side in (grey[0], grey[-1], grey[:, 0], grey[:, -1]):
        side[:] = ndimage.median_filter(side, WINDOW, mode="nearest")
    return np.pad(grey, WINDOW - 1, mode="edge")


def ground_is_light(grey: Pixels) -> bool:
    """Whether ink is darker than what is around it.

    Strokes are thin: where there is contrast, more pixels are ground than ink. If the ground is light, most
    pixels are therefore nearer to the brightest one around them than to the darkest. The edge of a shadow has
    as many pixels on either side. The slow change towards dark corners has not; so the same is asked once
    more of the page without slow changes, where faint ink counts for more.
    """
    grey = ndimage.gaussian_filter(grey, 1)
    return _lightness(grey) + _lightness(grey - ndimage.uniform_filter(grey, 2 * WINDOW)) > 0


def _lightness(grey: Pixels) -> float:
    """From -1 to 1: how much nearer pixels are to the brightest around them than to the darkest."""
    high, low = ndimage.maximum_filter(grey, WINDOW), ndimage.minimum_filter(grey, WINDOW)
    contrast = high - low
    total = float((contrast**3).sum())
    return float((contrast**2 * (2 * grey - high - low)).sum()) / total if total else 0.0


def find_strokes(ink: Pixels) -> Mask:
    """Which pixels of the ink (H, W) are of strokes; some are.

    Lines that cross the whole page are printed on it; where they are paler than the ink they are left out.
    """
    strokes = ink > _threshold(ink)
    for _ in range(2):
        darker = strokes & (ink > _threshold(ink[strokes]))
        if not (_crosses(strokes) and darker.any()):
            break
        strokes = darker
    return strokes


def _threshold(ink: Pixels) -> float:
    """What divides dark from pale; of ink that is equal but for rounding, the darkest."""
    return float(filters.threshold_otsu(ink) if np.ptp(ink) > 1e-6 else ink.max())


def _crosses(strokes: Mask) -> bool:
    """Whether a stroke goes from border to border."""
    boxes = ndimage.find_objects(ndimage.label(strokes, np.ones((3, 3)))[0])
    return any(
        part.start == 0 and part.stop == size
        for box in boxes
        for part, size in zip(box, strokes.shape, strict=True)
    )
