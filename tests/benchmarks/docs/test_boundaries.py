"""The moving picture of the disc is one, and is small enough for a page."""

from pathlib import Path

import pytest
from PIL import Image

from benchmarks.docs.boundaries import boundaries


@pytest.mark.slow
def test_the_disc_moves_from_the_untrained_net_to_the_last_epoch(tmp_path: Path) -> None:
    boundaries(max_epochs=2, folder=str(tmp_path))
    assert (tmp_path / "disc-boundaries.png").stat().st_size > 20_000
    assert (tmp_path / "disc.gif").stat().st_size < 2_000_000
    with Image.open(tmp_path / "disc.gif") as moving:
        assert getattr(moving, "n_frames", 1) == 3
