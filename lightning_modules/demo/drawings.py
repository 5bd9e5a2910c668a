"""Convert the drawings of the page (PNG in base64) to the input of the nets."""

import json
from base64 import b64decode
from collections.abc import Mapping
from functools import lru_cache
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lightning_modules.predict.handwriting import as_mnist
from lightning_modules.predict.ink import NothingShownError
from lightning_modules.predict.pictures import colours

Seen = NDArray[np.float32]  # (14, 14) in 0..255

SIDES = ("left", "right")
LARGEST = 1024  # pixels of a side; those of the page have 280


def read_drawings(request: bytes) -> list[Seen | None]:
    """The left and the right digit of a request; None where there is none.

    Args:
        request: JSON, ``{"left": PNG, "right": PNG}``, either of them null where nothing is drawn.

    Raises:
        ValueError: It is not as it should be.
    """
    try:
        drawings = json.loads(request)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the request is not JSON: {error}") from error
    if not isinstance(drawings, dict) or drawings.keys() != set(SIDES):
        raise ValueError("the request must be an object of left and right")
    return [_read(side, drawings) for side in SIDES]


def _read(side: str, drawings: Mapping[str, object]) -> Seen | None:
    drawing = drawings[side]
    if drawing is None:
        return None
    if not isinstance(drawing, str):
        raise ValueError(f"{side} must be a PNG in base64, or null")
    try:
        return _see(drawing)
    except ValueError as error:
        raise ValueError(f"{side}: {error}") from error


@lru_cache(maxsize=16)  # while one digit is drawn, the other stays as it is
def _see(drawing: str) -> Seen | None:
    try:
        with Image.open(BytesIO(b64decode(drawing, validate=True)), formats=["PNG"]) as image:
            if max(image.size) > LARGEST:
                raise ValueError(f"a side must have {LARGEST} pixels at most, got {max(image.size)}")
            drawn = colours(image)
    except (OSError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise ValueError(f"it is no PNG that can be read: {error}") from error
    try:
        return as_mnist(drawn)
    except NothingShownError:
        return None
