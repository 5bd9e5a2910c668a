"""Picture files of all kinds are read, or refused by name."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawings import bad_files, page
from PIL import Image

from datamodules import load_digits
from lightning_modules.command.cli import CommandError
from lightning_modules.predict.handwriting import as_mnist, read_digit


@pytest.mark.parametrize(
    ("mode", "ink", "paper"),
    [
        ("RGBA", (255, 255, 255, 255), (255, 255, 255, 0)),
        ("LA", (255, 255), (0, 0)),
        ("RGB", (230, 76, 76), (51, 158, 51)),
        ("RGB", (255, 255, 0), (255, 255, 255)),
        ("F", 0.1, 0.9),
        ("F", -300.0, 700.0),
        ("I", 4000, 100),
        ("RGBA", (0, 0, 0, 255), (0, 0, 0, 0)),
        ("P", 0, 1),
        ("I;16", 60000, 500),
        ("RGB", (20, 20, 90), (250, 240, 200)),
    ],
)
def test_all_kinds_of_images_are_read(mode: str, ink: Any, paper: Any, tmp_path: Path) -> None:
    image = Image.new(mode, (60, 80), paper)
    if mode == "P":
        image.putpalette([10, 10, 10, 255, 255, 255])
    image.paste(ink, (27, 15, 33, 65))
    image.save(tmp_path / "one.tiff")
    seen = read_digit(tmp_path / "one.tiff")
    assert seen[3:11, 5:9].max(1).min() > 100
    assert seen[:, :4].max() == seen[:, 10:].max() == 0


@pytest.mark.parametrize("kind", ["8 bits", "16 bits", "floats"])
def test_a_page_that_is_blank_but_for_noise_shows_no_digit_in_any_format(kind: str, tmp_path: Path) -> None:
    noise = (250 + np.random.default_rng(0).integers(0, 5, (260, 260))).astype(np.uint8)
    whole, share = noise.astype(np.uint16) * 257, noise / np.float32(255)
    values: dict[str, Any] = {"8 bits": noise, "16 bits": whole, "floats": share}
    Image.fromarray(values[kind]).save(tmp_path / "blank.tiff")
    with pytest.raises(CommandError, match="shows no digit"):
        read_digit(tmp_path / "blank.tiff")


def test_hot_pixels_do_not_hide_the_digit_of_a_12_bit_camera(tmp_path: Path) -> None:
    raw = (4000 * page(load_digits(None)[1].images[0].double().numpy())).astype(np.uint16)
    raw[5, 5] = 65535
    Image.fromarray(raw).save(tmp_path / "raw.png")
    np.testing.assert_allclose(read_digit(tmp_path / "raw.png"), as_mnist(raw / 4095), atol=8)


def test_a_photo_of_108_million_pixels_is_read_and_one_of_a_billion_is_not(tmp_path: Path) -> None:
    small = page(load_digits(None)[1].images[0].double().numpy())
    Image.fromarray((255 * small).astype(np.uint8)).resize((12000, 9000)).save(tmp_path / "phone.jpg")
    seen = read_digit(tmp_path / "phone.jpg")
    assert (seen * as_mnist(small)).sum() / np.linalg.norm(seen) / np.linalg.norm(as_mnist(small)) > 0.85
    header = bytearray((tmp_path / "phone.jpg").read_bytes()[:2000])
    start = header.index(b"\xff\xc0") + 5  # height and width, in the frame header
    header[start : start + 4] = struct.pack(">HH", 40000, 25000)
    (tmp_path / "billion.jpg").write_bytes(header)
    with pytest.raises(CommandError, match="1000 million pixels; give at most 250"):
        read_digit(tmp_path / "billion.jpg")


def test_pictures_that_show_nothing_are_named(tmp_path: Path) -> None:
    for name, message in bad_files(tmp_path).items():
        with pytest.raises(CommandError, match=message) as caught:
            read_digit(tmp_path / name)
        assert name in str(caught.value)
