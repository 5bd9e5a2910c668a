"""What pip installs is the whole program and nothing but it: built, installed, run outside the repository."""

import json
import os
import shutil
import site
import subprocess
import sys
import venv
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

from datamodules.mnist import EMBEDDED
from lightning_modules.results.provenance import code_digests

ROOT = Path(__file__).parents[1]
PACKAGES = ("datamodules", "lightning_modules", "scratch_framework", "tune")
FEW = "--train_pairs 50 --val_pairs 20 --test_pairs 20 --runs 2 --max_epochs 1"

COMMANDS = {
    f"train --accelerator cpu {FEW} --name mine": "runs/mine/results.json",
    "lightning_modules.predict runs/mine/auxiliary/checkpoint.ckpt 0.png 1.png": "runs/predict/answers.csv",
    "lightning_modules.report runs/mine": "runs/mine/report.html",
    "scratch_framework --runs 2 --max_epochs 2 --name disc": "runs/disc/results.json",
    f"scratch_framework --net cnn {FEW} --name digits": "runs/digits/results.json",
    "tune --model disc --repeats 1 --max_epochs 1 --study_name grid": "runs/grid/grid.png",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that no build folder of an earlier day is in it, and none is left."""
    folder = tmp_path_factory.mktemp("wheel")
    skipped = shutil.ignore_patterns(".*", "runs", "build", "dist", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, folder / "source", ignore=skipped)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder)]
    subprocess.run([*build, str(folder / "source")], check=True)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def python(wheel: Path) -> Path:
    """The interpreter of an environment with the wheel; what it needs is borrowed from the one that runs."""
    folder = wheel.parent / "venv"
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps"]
    subprocess.run([*install, str(wheel)], check=True)
    (own,) = (folder / "lib").glob("python*/site-packages")
    # A path only: .pth files there, such as that of an editable installation, are not read.
    (own / "borrowed.pth").write_text("\n".join(site.getsitepackages()))
    return python


def run(python: Path, folder: Path, *args: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(python), *args], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_wheel_holds_all_files_of_the_packages_and_nothing_else(wheel: Path) -> None:
    """Data and page.html too: a file that is added to a package has to be declared, or this fails."""
    with ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    about = {name for name in names if name.partition("/")[0].endswith(".dist-info")}
    files = {path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()}
    expected = {str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts}
    assert names - about == {"train.py", *expected}
    assert {"datamodules/mnist14.npz", "datamodules/MNIST_LICENSE.md"} <= names
    assert "lightning_modules/report/page.html" in names
    licences = {name.partition("licenses/")[2] for name in about if "licenses/" in name}
    assert licences == {"LICENSE", "datamodules/MNIST_LICENSE.md"}


@pytest.mark.slow
def test_what_is_installed_runs_from_any_folder(python: Path, tmp_path: Path) -> None:
    modules = "import train, datamodules, lightning_modules, scratch_framework, tune"
    shown = run(
        python, tmp_path, "-c", f"{modules}; print(train.__file__, datamodules.__file__, tune.__file__)"
    )
    assert all(Path(path).is_relative_to(python.parents[1]) for path in shown.split()), shown
    with np.load(EMBEDDED) as arrays:
        for number in range(2):
            digit = (arrays["test_images"][number] // 4).astype(np.uint8).repeat(4, 0).repeat(4, 1)
            Image.fromarray(digit).save(tmp_path / f"{number}.png")
    for command, result in COMMANDS.items():
        run(python, tmp_path, "-m", *command.split())
        assert (tmp_path / result).stat().st_size > 0, command
    begun = json.loads((tmp_path / "runs" / "mine" / "study.json").read_text())
    assert begun["code"] == code_digests()  # of the checkout: its studies can be resumed by what is installed
