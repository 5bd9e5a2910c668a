"""The comparisons that a net got wrong, read from mistakes.npz in its run folder."""

import base64
import io
import math
import zipfile
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lightning_modules.evaluation.mistakes import DIGITS, Mistakes
from lightning_modules.report.study import Net

TOP = 5  # comparisons that are named
GAP = np.full((14, 1), 128, np.uint8)  # a grey line between the two digits


class MistakesError(Exception):
    """There are no mistakes to show; the message says why."""


@dataclass(frozen=True)
class Cell:
    """All comparisons of a first with a second digit, over all runs."""

    first: int
    second: int
    wrong: int
    pairs: int
    strength: float = 0.0  # its error as a share of the largest one

    @property
    def error(self) -> float | None:
        """Share that is wrong; None without pairs."""
        return self.wrong / self.pairs if self.pairs else None


@dataclass(frozen=True)
class Picture:
    """A pair that a run got wrong."""

    url: str  # data:
    first: int
    second: int
    said: str  # ≤ or >
    sure: float  # the probability of what was said
    seed: int


def relation(pair: Cell | Picture) -> str:
    """The right answer to a pair, ≤ or >.

    Args:
        pair: Of digits.
    """
    return "≤" if pair.first <= pair.second else ">"


def read_mistakes(net: Net) -> Mistakes:
    """The mistakes of a net's runs that did not diverge.

    Args:
        net: The net.

    Raises:
        MistakesError: They were not kept, the file does not fit the results, or all runs diverged.
    """
    path = net.folder / "mistakes.npz"
    if not path.is_file():
        raise MistakesError("no mistakes.npz in the run folder (old, or not of train.py)")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            mistakes = Mistakes(**arrays)
        errors = mistakes.wrong.sum((1, 2)) / mistakes.pairs.sum((1, 2))
        fits = mistakes.pairs.shape == (len(net.runs), DIGITS, DIGITS) and _worst_fit(mistakes)
    except (OSError, ValueError, TypeError, KeyError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise MistakesError(f"the run folder's {path.name} is damaged ({type(error).__name__})") from error
    if not fits or not np.allclose(errors, [run.test_error for run in net.runs], atol=1e-6):
        raise MistakesError(f"the run folder's {path.name} is not of the runs in results.json")
    if not net.results.sound:
        raise MistakesError("all its runs diverged")
    return _of_sound(mistakes, np.array([not run.diverged for run in net.runs]))


def _of_sound(mistakes: Mistakes, sound: NDArray[np.bool_]) -> Mistakes:
    """Those of the runs that did not diverge; runs keep their numbers."""
    shown = sound[mistakes.run]
    worst = {name: getattr(mistakes, name)[shown] for name in ("run", "digits", "log_odds", "images")}
    return replace(mistakes, pairs=mistakes.pairs[sound], wrong=mistakes.wrong[sound], **worst)


def _worst_fit(mistakes: Mistakes) -> bool:
    worst = len(mistakes.run)
    return (
        mistakes.images.shape == (worst, 2, 14, 14)
        and mistakes.images.dtype == np.uint8
        and mistakes.digits.shape == (worst, 2)
        and mistakes.log_odds.shape == (worst,)
        and bool(np.all((mistakes.run >= 0) & (mistakes.run < len(mistakes.pairs))))
    )


def heat_map(mistakes: Mistakes) -> list[list[Cell]]:
    """Rows of first digits, columns of second ones.

    Args:
        mistakes: Of a net.
    """
    wrong, pairs = mistakes.wrong.sum(0), mistakes.pairs.sum(0)
    errors = wrong / np.maximum(pairs, 1)
    strengths = errors / (errors.max() or 1.0)
    return [
        [Cell(a, b, int(wrong[a, b]), int(pairs[a, b]), float(strengths[a, b])) for b in range(DIGITS)]
        for a in range(DIGITS)
    ]


def most_wrong(rows: list[list[Cell]]) -> list[Cell]:
    """The comparisons that most mistakes are of.

    Args:
        rows: A heat map.
    """
    cells = sorted((cell for row in rows for cell in row), key=lambda cell: -cell.wrong)
    return [cell for cell in cells[:TOP] if cell.wrong]


def by_distance(rows: list[list[Cell]]) -> list[float | None]:
    """The error where the two digits are equal, differ by 1, and so on to 9.

    Args:
        rows: A heat map.
    """
    errors: list[float | None] = []
    for distance in range(DIGITS):
        cells = [cell for row in rows for cell in row if abs(cell.first - cell.second) == distance]
        pairs = sum(cell.pairs for cell in cells)
        errors.append(sum(cell.wrong for cell in cells) / pairs if pairs else None)
    return errors


def pictures(net: Net, mistakes: Mistakes) -> list[Picture]:
    """The worst mistakes, the surest first.

    Args:
        net: The net.
        mistakes: Its own.
    """
    worst: Any = zip(mistakes.images, mistakes.digits, mistakes.log_odds, mistakes.run, strict=True)
    return [
        Picture(
            _data_url(np.hstack([images[0], GAP, images[1]])),
            int(digits[0]),
            int(digits[1]),
            "≤" if odds > 0 else ">",
            1 / (1 + math.exp(-abs(float(odds)))),
            net.runs[run].seed,
        )
        for images, digits, odds, run in worst
    ]


def _data_url(image: NDArray[np.uint8]) -> str:
    content = io.BytesIO()
    Image.fromarray(image).save(content, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
