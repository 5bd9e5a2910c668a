"""One thread a process, as the program itself computes; and IDX files of real digits.

Heavy imports are in the fixtures: the process that only hands out tests to others loads this file too.
"""

from __future__ import annotations

import gzip
import signal
from typing import TYPE_CHECKING

import pytest
from disks import Disk, mounted
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy as np

    from datamodules.mnist import Layout

    WriteDataset = Callable[..., Path]

settings.register_profile("shared machine", deadline=None)  # no test is timed
settings.load_profile("shared machine")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """A shell's background job ignores Ctrl-C, and so would the commands that tests interrupt."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """URL of an empty database on a real server."""
    from postgresql_server import serve

    with serve() as server:
        yield server.url


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three small nets that read most digits."""
    from small_nets import train_readers

    return train_readers(tmp_path_factory.mktemp("run") / "checkpoint.ckpt")


@pytest.fixture(scope="session")
def small_study(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two models: `auxiliary` reads digits, `cnn` has learnt nothing."""
    from small_nets import lay_out_study

    return lay_out_study(tmp_path_factory.mktemp("small") / "study", checkpoint)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A disk of 64 MB, empty."""
    with mounted(tmp_path / "disk", 2**26) as one:
        yield one


def idx_bytes(array: np.ndarray) -> bytes:
    """An array as an IDX file."""
    import numpy as np

    code = {"uint8": 8, "int32": 12}[array.dtype.name]
    shape = np.array(array.shape, ">u4").tobytes()
    return bytes([0, 0, code, array.ndim]) + shape + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.fixture(scope="session")
def real_digits() -> dict[str, np.ndarray]:
    """300 train and 200 test digits of MNIST, enlarged to 28x28, and their labels."""
    import numpy as np

    from datamodules.mnist import EMBEDDED

    with np.load(EMBEDDED) as arrays:
        digits = {}
        for split, count in (("train", 300), ("test", 200)):
            images = (arrays[f"{split}_images"][:count] // 4).astype(np.uint8)
            digits[f"{split}_images"] = images.repeat(2, 1).repeat(2, 2)
            digits[f"{split}_labels"] = arrays[f"{split}_labels"][:count]
        return digits


@pytest.fixture
def write_dataset(tmp_path: Path, real_digits: dict[str, np.ndarray]) -> WriteDataset:
    """Writes the four files of a data set below a folder, as `Layout` names them, raw or compressed."""
    import numpy as np

    from datamodules.mnist import LAYOUTS

    def write(layout: Layout = LAYOUTS[0], subfolder: str = "", compress: bool = False) -> Path:
        (tmp_path / subfolder).mkdir(parents=True, exist_ok=True)
        arrays = [
            real_digits[f"{split}_{kind}"] for split in ("train", "test") for kind in ("images", "labels")
        ]
        for name, array in zip(layout.names, arrays, strict=True):
            if name.endswith("idx2-int"):  # QMNIST: the class among eight numbers
                array = np.pad(array[:, None].astype(np.int32), ((0, 0), (0, 7)), constant_values=77)
            if layout.transposed and array.ndim == 3:
                array = array.transpose(0, 2, 1)
            content = idx_bytes(array)
            path = tmp_path / subfolder / (name + ".gz" * compress)
            path.write_bytes(gzip.compress(content) if compress else content)
        return tmp_path

    return write
