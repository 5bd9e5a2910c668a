"""IDX, the file format of MNIST and its relatives.

A file is two zero bytes, a type code, the number of dimensions, each dimension as a big-endian uint32,
then the values, big-endian, last dimension fastest (http://yann.lecun.com/exdb/mnist/).
"""

import gzip
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

# Only the two types that digit files have; a file of floats is no digit file.
TYPES: dict[int, np.dtype[Any]] = {0x08: np.dtype("u1"), 0x0C: np.dtype(">i4")}
MAX_BYTES = 2**30  # the largest known relative (EMNIST, 280,000 images) has 0.2 of this
PIECE = 2**20  # bytes read at once
GZIP = b"\x1f\x8b"  # a gzip file's first bytes


def read_idx(path: Path) -> np.ndarray:
    """Read one IDX file, raw or compressed.

    Returns:
        The array, uint8 or int32, shaped as the header says.

    Raises:
        ValueError: The file breaks a rule of the format; the message names the file and the rule.
        OSError: The file cannot be read.
    """
    try:
        with unpacked(path) as file:
            return _parse(file)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


@contextmanager
def unpacked(path: Path) -> Iterator[BinaryIO]:
    """Open a file that may be compressed by gzip, which its content tells: browsers unpack and keep the name.

    Yields:
        Its content, unpacked.

    Raises:
        ValueError: It turns out, while it is read, that the compressed file is damaged.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        packed = file.read(len(GZIP)) == GZIP
        file.seek(0)
        if not packed:
            yield file
            return
        try:
            with gzip.open(file) as content:
                yield cast("BinaryIO", content)
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise ValueError(f"not a whole gzip file ({error})") from error


def _parse(file: BinaryIO) -> np.ndarray:
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in TYPES or not 1 <= head[3] <= 3:
        raise ValueError(
            f"not an IDX file of digits: it must begin with 0, 0, 8 or 12, 1 to 3; found {list(head)}"
        )
    dtype, dimensions = TYPES[head[2]], head[3]
    sizes = file.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise ValueError("truncated: the header ends before its dimensions")
    shape = tuple(int(n) for n in np.frombuffer(sizes, ">u4"))
    size = math.prod(shape) * dtype.itemsize
    most = math.prod(max(n, 1) for n in shape) * dtype.itemsize  # beside a 0, others must be sound too
    if most > MAX_BYTES:
        raise ValueError(f"the header {shape} announces {most} bytes; at most {MAX_BYTES} are allowed")
    data = _read(file, size + 1)
    if len(data) != size:
        rule = "truncated" if len(data) < size else "oversized"
        found = f"{len(data)} follow" if len(data) < size else "more follow"
        raise ValueError(f"{rule}: the header {shape} announces {size} bytes, {found}")
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _read(file: BinaryIO, most: int) -> bytearray:
    """Read at most so many bytes, in pieces: memory is taken by what is there, not by what is announced."""
    data = bytearray()
    while piece := file.read(min(PIECE, most - len(data))):
        data += piece
    return data
