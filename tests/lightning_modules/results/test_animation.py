"""A moving picture has its frames, their times, and starts again."""

from collections.abc import Iterator
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from lightning_modules.results.animation import write_animation


def numbered(count: int) -> Iterator[Figure]:
    for number in range(count):
        figure = Figure(figsize=(2, 1))
        figure.text(0.5, 0.5, str(number))
        yield figure


def test_every_figure_is_a_frame_for_its_time_and_the_last_is_followed_by_the_first(tmp_path: Path) -> None:
    write_animation(tmp_path / "moving.gif", numbered(3), [0.5, 0.2, 2.0], dpi=50)
    with Image.open(tmp_path / "moving.gif") as moving:
        assert (moving.format, moving.size, moving.info["loop"]) == ("GIF", (100, 50), 0)
        times = []
        for frame in range(getattr(moving, "n_frames", 1)):
            moving.seek(frame)
            times.append(moving.info["duration"])
    assert times == [500, 200, 2000]
