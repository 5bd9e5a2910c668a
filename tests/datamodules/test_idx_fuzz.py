"""A million mutated files: the IDX reader returns what is there, or refuses in one line that names the file.

A seeded fuzzer, because hypothesis would take an hour for as many. What is right is told by a second reader,
which is as plain as the format.
"""

import gzip
import math
import random
import resource
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

import numpy as np
import pytest

from datamodules.idx import MAX_BYTES, read_idx

INPUTS = 1_000_000
COMPRESSED = 8  # of so many inputs one is a .gz
SLACK = 2**26  # bytes that the process may grow by meanwhile: lying headers announce up to 2**98

# Bytes and sizes at the edges of the format's rules.
BYTES = (0, 1, 2, 3, 4, 8, 9, 12, 13, 127, 128, 255)
SIZES = (0, 1, 2, 28, 255, 256, 2**16, 2**28, 2**30, 2**31 - 1, 2**31, 2**32 - 1)


def idx(code: int, shape: tuple[int, ...], data: bytes) -> bytes:
    return bytes([0, 0, code, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape) + data


def seeds() -> list[bytes]:
    """Whole files of both types and all dimensions."""
    noise = random.Random(0).randbytes
    shapes = [(5,), (0,), (2, 8), (3, 4, 2), (1, 3, 3), (0, 28, 28)]
    files = [idx(8, shape, noise(math.prod(shape))) for shape in shapes]
    files.append(idx(8, (0, 2**32 - 1, 2**31), b""))
    return files + [idx(12, shape, noise(4 * math.prod(shape))) for shape in shapes]


def mutated(content: bytes, others: list[bytes], chance: random.Random) -> bytes:
    """Change a file in one of the ways that files are broken, or lie."""
    data, place = bytearray(content), chance.randrange(len(content) + 1)
    match chance.randrange(8):
        case 0:  # torn
            del data[place:]
        case 1:  # a bit of it
            data[min(place, len(data) - 1)] ^= 1 << chance.randrange(8)
        case 2:  # a byte of it
            data[min(place, len(data) - 1)] = chance.choice(BYTES)
        case 3:  # a dimension that is not so
            start = 4 + 4 * chance.randrange(3)
            data[start : start + 4] = chance.choice(SIZES).to_bytes(4, "big")
        case 4:  # more than all
            data += chance.randbytes(chance.randrange(1, 20))
        case 5:  # a gap
            del data[place : place + chance.randrange(1, 9)]
        case 6:  # something between
            data[place:place] = chance.randbytes(chance.randrange(1, 9))
        case 7:  # two files in one
            other = chance.choice(others)
            data[place:] = other[chance.randrange(len(other)) :]
    return bytes(data)


def plainly_read(content: bytes) -> np.ndarray | None:
    """What a file holds by the format's rules; None if it breaks one."""
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in (8, 12) or content[3] not in (1, 2, 3):
        return None
    start = 4 + 4 * content[3]
    shape = [int.from_bytes(content[place : place + 4], "big") for place in range(4, start, 4)]
    width = 1 if content[2] == 8 else 4
    if len(content) != start + width * math.prod(shape):
        return None
    if width * math.prod(n for n in shape if n) > MAX_BYTES:  # 0 images of a size that cannot be
        return None
    return np.frombuffer(content[start:], "u1" if width == 1 else ">i4").reshape(shape)


def unpacked(content: bytes) -> bytes:
    """A gzip file's content; nothing, which is no IDX file, where it is torn; any other file as it is."""
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error):
        return b""


@contextmanager
def little_memory() -> Iterator[None]:
    """Whoever asks for more than `SLACK` in this block gets a MemoryError, even if it would never be used."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + SLACK, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def verdict(file: FileIO, content: bytes) -> str:
    """Read a file, hold it against the plain reader, and say what became of it."""
    path = Path(str(file.name))
    expected = plainly_read(unpacked(content))
    file.seek(0)  # overwritten in place: to make a file anew takes a disk longer than all else here
    file.write(content)
    file.truncate()
    try:
        array = read_idx(path)
    except ValueError as error:
        said = str(error)
        assert expected is None, (content, said)
        assert said.startswith(f"{path}: "), (content, said)
        assert "\n" not in said, (content, said)
        return said.removeprefix(f"{path}: ").split()[0]
    assert expected is not None, content
    assert array.shape == expected.shape, content
    assert array.dtype.name in ("uint8", "int32"), content
    assert np.array_equal(array, expected), content
    return "read"


def fuzz(folder: Path, inputs: int) -> Counter[str]:
    """Read so many mutated files; return how many had which fate."""
    chance, files, fates = random.Random(2026), seeds(), Counter[str]()
    packed = [gzip.compress(content, mtime=0) for content in files]
    raw, gz = ((folder / name).open("wb", buffering=0) for name in ("digits", "digits.gz"))
    with raw, gz, little_memory():
        for number in range(inputs):
            file, sources = (raw, files) if number % COMPRESSED else (gz, packed)
            content = chance.choice(sources)
            if file is gz and chance.random() < 0.5:  # what is inside it is broken
                content = gzip.compress(mutated(chance.choice(files), files, chance), 1, mtime=0)
            for _ in range(chance.choice((0, 1, 1, 1, 2, 3))):
                content = mutated(content, sources, chance) if content else content
            fates[verdict(file, content)] += 1
    return fates


def test_thousands_of_mutated_files_are_read_right_or_refused(tmp_path: Path) -> None:
    fates = fuzz(tmp_path, 3000)
    # All rules are met, so that none of them is tested in vain.
    assert {"read", "not", "truncated:", "oversized:", "the"} <= fates.keys(), fates


def test_a_header_that_lies_costs_no_memory(tmp_path: Path) -> None:
    size = MAX_BYTES - 1
    for name, pack in (("lie", bytes), ("lie.gz", gzip.compress)):
        path = tmp_path / name
        path.write_bytes(pack(idx(8, (size,), b"few")))
        with little_memory(), pytest.raises(ValueError, match="truncated: the header"):
            read_idx(path)


@pytest.mark.slow
def test_a_million_mutated_files_are_read_right_or_refused(tmp_path: Path) -> None:
    fates = fuzz(tmp_path, INPUTS)
    assert fates.total() == INPUTS
    assert min(fates["read"], fates["not"], fates["truncated:"], fates["oversized:"]) > 10_000, fates
