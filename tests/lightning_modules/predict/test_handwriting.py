"""A picture is brought to MNIST's form, whatever the light, the pen and the paper."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from drawings import Pixels, drawn, page, shot
from PIL import Image
from scipy import ndimage
from scipy.special import expit
from skimage import morphology

from datamodules import load_digits
from lightning_modules.models.loading import load_model
from lightning_modules.predict.handwriting import as_mnist
from lightning_modules.predict.ink import NothingShownError, find_strokes


def thin(digit: Pixels, paper: float = 0.9, ink: float = 0.25) -> Pixels:
    core = morphology.skeletonize(page(digit, paper=0, ink=1) > 0.5)
    line = morphology.dilation(core, morphology.disk(2)).astype(np.float64)
    return paper + (ink - paper) * ndimage.gaussian_filter(line, 1)


Y, X = np.meshgrid(np.linspace(-1, 1, 240), np.linspace(-1, 1, 320), indexing="ij")


def vignette(strength: float) -> Pixels:
    return 1 - strength * (X**2 + Y**2) / 2


def slope(strength: float, angle: float) -> Pixels:
    return 1 - strength * (1 + (X * np.cos(angle) + Y * np.sin(angle)) / np.sqrt(2)) / 2


def shadow(strength: float, angle: float) -> Pixels:
    return 1 - strength * expit((X * np.cos(angle) + Y * np.sin(angle)) / 0.03)


def under(light: Pixels) -> Callable[[Pixels], Pixels]:
    return lambda digit: shot(page(digit), light)


def grid(strength: float) -> Pixels:
    """The light that the lines of squared paper leave, a little aslant."""
    y, x = np.indices(X.shape)
    across, along = x + 0.05 * y, y - 0.05 * x
    lines = (across % 28 < 1.5) | (along % 28 < 1.5)
    return 1 - strength * lines.astype(np.float64)


def compressed(picture: Pixels) -> Pixels:
    file = io.BytesIO()
    Image.fromarray((255 * picture).astype(np.uint8)).save(file, "jpeg", quality=20)
    return np.asarray(Image.open(file), np.float64) / 255


def cut_at_the_top(digit: Pixels) -> Pixels:
    picture = page(digit, size=200)
    return picture[np.flatnonzero((picture < 0.5).any(1))[0] :]


SIGHTS: dict[str, Callable[[Pixels], Pixels]] = {
    "as it is": lambda digit: digit / 255,
    "large": lambda digit: drawn(digit, 300),
    "dark on light": lambda digit: 1 - drawn(digit, 60),
    "on a wide page": lambda digit: np.pad(1 - drawn(digit, 60), ((20, 20), (90, 30)), constant_values=1),
    "small": lambda digit: shot(page(digit, size=40), vignette(0.3)),
    "noisy": lambda digit: shot(page(digit), vignette(0.3), noise=0.1),
    "compressed": lambda digit: compressed(shot(page(digit), vignette(0.3))),
    "thin": lambda digit: shot(thin(digit), vignette(0.2)),
    "pencil": lambda digit: shot(thin(digit, paper=0.98, ink=0.84), vignette(0.2)),
    "faint": lambda digit: shot(page(digit, paper=0.98, ink=0.84), slope(0.3, 1)),
    "squared paper": lambda digit: shot(page(digit), vignette(0.2) * grid(0.3)),
    "touching the border": lambda digit: shot(cut_at_the_top(digit)),
    "dotted": lambda digit: shot(np.where(np.indices(X.shape).sum(0) % 8 < 4, page(digit), 0.9)),
    "chalk": lambda digit: shot(page(digit, paper=0.15, ink=0.85), vignette(0.5)),
    "chalk in a slope": lambda digit: shot(page(digit, paper=0.15, ink=0.85), slope(0.5, 4)),
    "red on green": lambda digit: page(digit)[..., None] * [-1, 0.3, 0] + [0.95, 0.4, 0.3],
    **{f"vignette {s}": under(vignette(s)) for s in (0.1, 0.2, 0.35, 0.5)},
    **{f"slope from {angle}": under(slope(0.6, angle)) for angle in (0, 2, 4)},
    **{f"shadow from {angle}": under(shadow(0.4, angle)) for angle in (1, 3, 5)},
}


@pytest.mark.parametrize("sight", SIGHTS)
def test_a_digit_is_read_as_itself_however_it_is_shown(sight: str, checkpoint: Path) -> None:
    model = load_model(checkpoint).replica(0).eval()
    test = load_digits(None)[1].images[:8]
    seen = torch.from_numpy(np.stack([as_mnist(SIGHTS[sight](digit)) for digit in test.double().numpy()]))
    assert seen.min() == 0
    assert seen.max() <= 255
    plain, shown = (
        model.network(digits.unsqueeze(1).expand(-1, 2, -1, -1)).digits[:, 0, 0].argmax(-1)
        for digits in (test.float(), seen)
    )
    assert (shown != plain).sum() <= 1


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.1])
@pytest.mark.parametrize("paper", [0.1, 0.5, 0.95])
def test_a_page_without_ink_shows_no_digit(paper: float, noise: float) -> None:
    for light in (vignette(0.4), slope(0.6, 1), shadow(0.4, 2)):
        with pytest.raises(NothingShownError, match="no digit"):
            as_mnist(shot(np.full(X.shape, paper), light, noise))


def test_ink_that_is_equal_but_for_rounding_is_one_stroke() -> None:
    ink = np.zeros((20, 20))
    ink[:, 8:11] = 0.7
    ink[3, 9] = np.nextafter(0.7, 1)
    assert (find_strokes(ink) == (ink > 0)).all()


@pytest.mark.parametrize("axis", [0, 1])
def test_two_digits_in_a_picture_are_said_and_not_squeezed_into_one(axis: int) -> None:
    digits = load_digits(None)[1].images[:20].double().numpy()
    for first, second in zip(digits[::2], digits[1::2], strict=True):
        both = 1 - np.pad(drawn(np.concatenate([first, second], axis), 200), 30)
        with pytest.raises(ValueError, match="shows 2 digits"):
            as_mnist(both)


def test_a_digit_of_several_strokes_is_one_digit() -> None:
    five = np.ones((120, 100))
    five[20:28, 40:75] = 0  # the bar, apart from the rest
    five[24:60, 30:37] = 0
    five[60:68, 30:65] = five[68:95, 60:68] = five[95:103, 25:65] = 0
    assert as_mnist(five)[2:5, 7:10].max() > 100
    five[5:7, 5:7] = 0  # and a speck
    assert as_mnist(five)[2:5, 7:10].max() > 100


def test_the_centre_of_mass_is_in_the_middle() -> None:
    page = np.zeros((90, 120))
    page[10:60, 20:30] = page[50:60, 20:60] = 1  # an L
    seen = as_mnist(page)
    y, x = np.indices(seen.shape)
    assert abs((seen * y).sum() / seen.sum() - 6.5) <= 0.3
    assert abs((seen * x).sum() / seen.sum() - 6.5) <= 0.3
