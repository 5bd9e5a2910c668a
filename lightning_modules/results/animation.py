"""Moving pictures: figures one after the other, as a GIF."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from PIL import Image

from lightning_modules.command.atomic_io import atomic_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

MOST_COLOURS = 64  # colours of all frames together


def write_animation(path: Path, figures: Iterable[Figure], seconds: Sequence[float], dpi: int = 80) -> None:
    """Write figures of equal size as a GIF that starts again at its end, whole or not at all.

    All frames have the same colours, so that nothing flickers and what stands still costs no bytes.

    Args:
        path: The file.
        figures: The frames, each drawn and let go before the next.
        seconds: How long each is shown.
        dpi: Pixels per inch of a figure.

    Raises:
        OSError: It cannot be written; the message names it.
    """
    frames = [_pixels(figure, dpi) for figure in figures]
    width, height = frames[0].size
    sheet = Image.new("RGB", (width, height * len(frames)))
    for number, frame in enumerate(frames):
        sheet.paste(frame, (0, number * height))
    sheet = sheet.quantize(MOST_COLOURS, dither=Image.Dither.NONE)
    first, *others = (sheet.crop((0, y, width, y + height)) for y in range(0, sheet.height, height))
    durations = [round(1000 * time) for time in seconds]
    with atomic_file(path) as file:
        first.save(file, "GIF", save_all=True, append_images=others, duration=durations, loop=0)


def _pixels(figure: Figure, dpi: int) -> Image.Image:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi)
    return Image.open(file).convert("RGB")
