"""The IDX reader against arbitrary arrays and arbitrary bytes."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from datamodules.idx import read_idx


def as_idx(array: np.ndarray, code: int) -> bytes:
    return bytes([0, 0, code, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


shapes = st_numpy.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=6)


@settings(max_examples=100)
@given(st_numpy.arrays("u1", shapes) | st_numpy.arrays(">i4", shapes))
def test_what_is_written_is_read(array: np.ndarray) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "array"
        path.write_bytes(as_idx(array, 8 if array.dtype.itemsize == 1 else 12))
        assert np.array_equal(read_idx(path), array)
        assert read_idx(path).dtype.name in ("uint8", "int32")


@settings(max_examples=300)
@given(st.binary(max_size=40), st.sampled_from([b"", b"\0\0\x08\x01", b"\0\0\x08\x03\0\0"]))
def test_arbitrary_bytes_are_read_or_refused_with_the_files_name(content: bytes, head: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "noise"
        path.write_bytes(head + content)
        try:
            array = read_idx(path)
        except ValueError as caught:
            refusal = str(caught)
        else:
            refusal = str(path)
            assert as_idx(array, 8 if array.itemsize == 1 else 12)[: 4 + 4 * array.ndim] in head + content
        assert str(path) in refusal


def test_a_header_that_announces_the_world_is_refused_before_anything_is_allocated(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    path.write_bytes(b"\0\0\x08\x03" + b"\xff" * 12)
    with pytest.raises(ValueError, match="at most"):
        read_idx(path)
