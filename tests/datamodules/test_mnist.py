"""The embedded digits, and other data sets' files."""

import gzip
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules import build
from datamodules.mnist import EMBEDDED, LAYOUTS, SUBFOLDERS, Layout, load_digits, read_sums, sum_2x2

# MD5 of the arrays when they were built from the canonical files, and how often MNIST has each digit.
MD5 = {
    "train_images": "0fb7e6dcac2c73a64bdfed39b6f90d05",
    "train_labels": "e86ee40d66677c011a9abda399ec8c4d",
    "test_images": "6ac934e71a3ec5de9f18d629efb68ac7",
    "test_labels": "073c3904dfbd3e141ff8aa01cfde6b15",
}
TRAIN_COUNTS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
TEST_COUNTS = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_the_embedded_arrays_are_those_built_from_the_canonical_files() -> None:
    with np.load(EMBEDDED) as arrays:
        assert {name: hashlib.md5(arrays[name].tobytes()).hexdigest() for name in arrays.files} == MD5
        assert arrays["train_images"].dtype == np.uint16
    assert EMBEDDED.stat().st_size < 7e6


def test_the_embedded_digits_have_mnists_counts_and_mean() -> None:
    train, test = load_digits()
    assert train.images.shape == (60_000, 14, 14)
    assert test.images.shape == (10_000, 14, 14)
    assert torch.bincount(train.labels).tolist() == TRAIN_COUNTS
    assert torch.bincount(test.labels).tolist() == TEST_COUNTS
    assert train.images.double().mean().item() == pytest.approx(33.3184, abs=1e-4)


def test_sums_of_blocks_are_four_times_the_courses_average_pooling(
    real_digits: dict[str, np.ndarray],
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (50, 28, 28), dtype=np.uint8)
    for images in (real_digits["train_images"], noise):
        pooled = torch.nn.functional.avg_pool2d(torch.from_numpy(images).float(), 2)
        assert torch.equal(torch.from_numpy(sum_2x2(images).astype(np.float32)) / 4, pooled)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.names[0].split("-")[0])
@pytest.mark.parametrize("subfolder", SUBFOLDERS)
def test_every_layout_is_read_from_every_place(
    write_dataset: Callable[..., Path],
    real_digits: dict[str, np.ndarray],
    layout: Layout,
    subfolder: str,
    compress: bool,
) -> None:
    train, test = load_digits(write_dataset(layout, subfolder, compress))
    for digits, split in ((train, "train"), (test, "test")):
        assert digits.labels.tolist() == real_digits[f"{split}_labels"].tolist()
        pooled = real_digits[f"{split}_images"][:, ::2, ::2].astype(np.float32)
        assert torch.equal(digits.images, torch.from_numpy(pooled))


Damage = Callable[[Path], object]


def rewrite(name: str, change: Callable[[bytes], bytes]) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / name
        path.write_bytes(change(path.read_bytes()))

    return damage


IMAGES, LABELS, _, TEST_LABELS = LAYOUTS[0].names
DOTTED = LABELS.replace("-idx", ".idx")


def beside(name: str, change: Callable[[bytes], bytes]) -> Damage:
    return lambda folder: (folder / name).write_bytes(change((folder / LABELS).read_bytes()))


@pytest.mark.parametrize(
    ("damage", "file", "rule"),
    [
        (lambda folder: (folder / TEST_LABELS).unlink(), TEST_LABELS, "missing"),
        (rewrite(IMAGES, lambda b: b[:-1]), IMAGES, "truncated"),
        (rewrite(IMAGES, lambda b: b[:7]), IMAGES, "truncated: the header"),
        (rewrite(IMAGES, lambda b: b + b"\0"), IMAGES, "oversized"),
        (rewrite(LABELS, lambda b: b""), LABELS, "not an IDX file"),
        (rewrite(LABELS, lambda b: b"\x89PNG" + b), LABELS, "not an IDX file"),
        (rewrite(LABELS, lambda b: b[:8] + b"\x0a" + b[9:]), LABELS, "mislabelled"),
        (rewrite(LABELS, lambda b: b[:6] + b"\0\1" + b[8:9]), LABELS, "1 labels for the 300 images"),
        (rewrite(IMAGES, lambda b: b[:4] + b"\xff" * 12 + b[16:]), IMAGES, "announces"),
        (rewrite(IMAGES, lambda b: b[:11] + b"\x0e" + b[12:15] + b"\x38" + b[16:]), IMAGES, "28 x 28"),
        (rewrite(IMAGES, lambda b: b[:4] + b"\0\0\0\1" + b[8 : 16 + 784]), IMAGES, "at least 2"),
        (
            lambda folder: (folder / LABELS).write_bytes((folder / IMAGES).read_bytes()),
            LABELS,
            "one dimension",
        ),
        (rewrite(IMAGES, lambda b: gzip.compress(b)[:-20]), IMAGES, "not a whole gzip file"),
        (lambda folder: (folder / IMAGES).rename(folder / f"{IMAGES} (1).gz"), IMAGES, r"found .* \(1\).gz"),
        (
            beside(f"{LABELS}.gz", lambda b: gzip.compress(b[:-1] + b"\3")),
            LABELS,
            "gz differs from .*one of the",
        ),
        (beside(f"{LABELS}.gz", lambda b: gzip.compress(b)[:-20]), f"{LABELS}.gz", "not a whole gzip file"),
        (beside(DOTTED, lambda b: b[:-1] + b"\3"), DOTTED, "differs from"),
    ],
)
def test_a_damaged_file_is_named_with_the_rule_it_breaks(
    write_dataset: Callable[..., Path], damage: Damage, file: str, rule: str
) -> None:
    folder = write_dataset()
    damage(folder)
    with pytest.raises((ValueError, OSError), match=rule) as caught:
        load_digits(folder)
    assert str(folder / file) in str(caught.value)
    assert "\n" not in str(caught.value)


def dotted(path: Path) -> None:
    path.rename(path.with_name(path.name.replace("-idx", ".idx")))


def in_a_folder(path: Path) -> None:
    content, name = path.read_bytes(), path.name
    path.unlink()
    folder = path.with_name(name.removesuffix(".gz"))
    folder.mkdir()
    (folder / name).write_bytes(content)


def in_a_dotted_folder(path: Path) -> None:
    dotted(path)
    in_a_folder(path.with_name(path.name.replace("-idx", ".idx")))


def renamed_by_the_browser(path: Path) -> None:
    path.rename(path.with_name(path.name.removesuffix(".gz") if path.suffix == ".gz" else path.name + ".gz"))


@pytest.mark.parametrize("change", [dotted, in_a_folder, in_a_dotted_folder, renamed_by_the_browser])
@pytest.mark.parametrize("compress", [False, True])
def test_files_are_found_as_archivers_browsers_and_kaggle_leave_them(
    change: Damage,
    compress: bool,
    write_dataset: Callable[..., Path],
    real_digits: dict[str, np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = write_dataset(compress=compress)
    for path in list(folder.iterdir()):
        change(path)
    monkeypatch.setenv("HOME", str(folder.parent))
    for data_dir in (folder, f"~/{folder.name}"):
        train, test = load_digits(data_dir)
        assert train.labels.tolist() == real_digits["train_labels"].tolist()
        assert len(test) == len(real_digits["test_images"])


def test_archives_may_lie_beside_the_files_that_came_out_of_them(write_dataset: Callable[..., Path]) -> None:
    folder = write_dataset()
    labels = load_digits(folder)[0].labels
    for path in list(folder.iterdir()):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert torch.equal(load_digits(folder)[0].labels, labels)


@pytest.mark.parametrize("name", ["train-images.idx3-ubyte.zip", "Train-Images-idx3-ubyte", "images.npy"])
def test_what_may_have_been_meant_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    with pytest.raises(FileNotFoundError, match=f"none of the four IDX files .*found {name}: rename"):
        load_digits(tmp_path)


def test_an_empty_data_dir_is_not_the_current_folder() -> None:
    with pytest.raises(ValueError, match="data_dir is empty"):
        load_digits("")


def test_a_cut_gzip_file_is_named(write_dataset: Callable[..., Path]) -> None:
    folder = write_dataset(compress=True)
    path = folder / f"{IMAGES}.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"images-idx3-ubyte\.gz: not a whole gzip file"):
        load_digits(folder)


def test_a_missing_folder_an_empty_one_and_an_ambiguous_one_are_refused(
    tmp_path: Path, write_dataset: Callable[..., Path]
) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder"):
        load_digits(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="none of the four IDX files"):
        load_digits(tmp_path)
    write_dataset()
    write_dataset(subfolder="KMNIST/raw")
    with pytest.raises(ValueError, match="more than one data set"):
        load_digits(tmp_path)


def test_building_writes_what_it_read_where_the_files_are_canonical(
    write_dataset: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_dataset(compress=True)
    digests = {
        name: hashlib.md5(gzip.decompress((folder / f"{name}.gz").read_bytes())).hexdigest()
        for name in LAYOUTS[0].names
    }
    monkeypatch.setattr(build, "MD5", digests)
    build.main([str(folder), "--out", str(folder / "built.npz")])
    with np.load(folder / "built.npz") as built:
        for name, array in read_sums(folder).items():
            assert np.array_equal(built[name], array)
    assert "MB" in capsys.readouterr().out


@pytest.mark.parametrize("layout", LAYOUTS[:2])
def test_building_refuses_what_is_not_canonical_mnist(
    write_dataset: Callable[..., Path], capsys: pytest.CaptureFixture[str], layout: Layout
) -> None:
    folder = write_dataset(layout)
    with pytest.raises(SystemExit) as caught:
        build.main([str(folder), "--out", str(folder / "built.npz")])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "MNIST" in error
    assert not (folder / "built.npz").exists()


@pytest.mark.parametrize("cut", [slice(0, -20), slice(0, 12)])
def test_building_refuses_a_damaged_archive_in_one_line(
    cut: slice, write_dataset: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_dataset(compress=True)
    path = folder / f"{IMAGES}.gz"
    path.write_bytes(path.read_bytes()[cut] + b"\xff" * 20)
    with pytest.raises(SystemExit):
        build.main([str(folder), "--out", str(folder / "built.npz")])
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"{path}: not a whole gzip file" in error
