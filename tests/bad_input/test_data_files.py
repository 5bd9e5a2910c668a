"""Data sets and settings files that are torn, swapped, empty, huge or nonsense: each is one line."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from refusal import Main, refusal

import train
from datamodules.mnist import EMBEDDED
from scratch_framework.__main__ import main as scratch
from tune.__main__ import main as tune

Spoil = Callable[[Path], object]

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TINY = [
    "--train_pairs",
    "20",
    "--val_pairs",
    "10",
    "--test_pairs",
    "10",
    "--max_epochs",
    "1",
    "--workers",
    "1",
]
READERS: dict[str, tuple[Main, list[str]]] = {
    "train": (train.main, ["--accelerator", "cpu", *TINY]),
    "scratch": (scratch, ["--net", "cnn", *TINY]),
    "tune": (tune, ["--model", "cnn", "--train_size", "20", "--val_size", "10", "--workers", "1"]),
}


def cut(name: str) -> Spoil:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-7])


def written(name: str, content: bytes) -> Spoil:
    return lambda folder: (folder / name).write_bytes(content)


def copied(source: str | Path, target: str) -> Spoil:
    return lambda folder: shutil.copy(folder / source, folder / target)


def without(name: str) -> Spoil:
    return lambda folder: (folder / name).unlink()


DATASETS: dict[str, tuple[Spoil, str]] = {
    "torn images": (cut(IMAGES), f"{IMAGES}: truncated: the header"),
    "torn labels": (cut(LABELS), f"{LABELS}: truncated: the header"),
    "labels for images": (copied(LABELS, IMAGES), f"{IMAGES}: images must be n x 28 x 28 bytes, found"),
    "images for labels": (copied(IMAGES, LABELS), f"{LABELS}: labels must have one dimension"),
    "test for train labels": (copied("t10k-labels-idx1-ubyte", LABELS), "200 labels for the 300 images of"),
    "empty": (written(IMAGES, b""), f"{IMAGES}: not an IDX file of digits: it must begin with 0, 0, 8 or 12"),
    "text": (written(IMAGES, b"no digits"), f"{IMAGES}: not an IDX file of digits"),
    "npz": (copied(EMBEDDED, IMAGES), f"{IMAGES}: not an IDX file of digits"),
    "floats": (written(IMAGES, b"\0\0\x0d\x03" + b"\0\0\0\1" * 3 + b"\x7f\xc0\0\0"), "not an IDX file"),
    "huge": (written(IMAGES, b"\0\0\x08\x03" + b"\xff" * 12), "bytes; at most 1073741824 are allowed"),
    "huge and nothing": (written(LABELS, b"\0\0\x08\x01\x3f\xff\xff\xff"), "announces 1073741823 bytes, 0"),
    "no digits": (written(LABELS, b"\0\0\x08\x01\0\0\0\2\1\x63"), "labels must lie in 0..9, found 99"),
    "one image": (written(IMAGES, b"\0\0\x08\x03\0\0\0\1\0\0\0\x1c\0\0\0\x1c" + bytes(784)), "at least 2"),
    "missing": (without(LABELS), f"{LABELS}: missing (neither raw nor .gz)"),
    "gzip that ends": (written(IMAGES, b"\x1f\x8b\x08"), f"{IMAGES}: not a whole gzip file"),
}


@pytest.mark.parametrize("name", DATASETS)
def test_a_damaged_data_set_is_one_line(
    name: str, write_dataset: Callable[[], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, message = DATASETS[name]
    spoil(write_dataset())
    args = [*READERS["train"][1], "--data_dir", str(tmp_path), "--log_dir", str(tmp_path / "runs")]
    said = refusal(train.main, args, tmp_path, capsys)
    assert message in said
    assert str(tmp_path) in said


@pytest.mark.parametrize("reader", READERS)
def test_a_torn_gzip_is_one_line_in_each_command(
    reader: str, write_dataset: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_dataset(compress=True)
    cut(f"{IMAGES}.gz")(folder)
    main, args = READERS[reader]
    args = [*args, "--data_dir", str(folder), "--log_dir", str(tmp_path / "runs")]
    assert f"{IMAGES}.gz: not a whole gzip file" in refusal(main, args, tmp_path, capsys)


CONFIGS: dict[str, tuple[bytes, str]] = {
    "torn": (b"runs: [1, 2\n", "settings.yaml"),
    "list": (b"- runs\n- 3\n", "settings.yaml"),
    "number": (b"3\n", "settings.yaml"),
    "unknown": (b"rnus: 3\n", "Option 'rnus' is not accepted; --help lists all flags"),
    "misspelt": (b"log_dirs: x\n", "Option 'log_dirs' is not accepted; --help lists all flags; did you mean"),
    "twice": (b"runs: 1\nseed: 1\nruns: 2\n", "it has runs 2 times"),
    "number for a name": (
        b"log_dir: 2024\n",
        "--log_dir must be text, got 2024 from a settings file; put it",
    ),
    "text for a number": (b"runs: many\n", "--runs must be a whole number, got 'many'"),
    "nan": (b"lr: .nan\n", "lr must be above 0 and finite, got nan"),
    "infinite": (b"lr: .inf\n", "lr must be above 0 and finite, got inf"),
    "huge": (b"runs: 99999999999999999999\n", "runs must be at most 100000"),
    "nested": (b"runs: {of: {what: 3}}\n", "settings.yaml must be a YAML file of settings"),
    "tabs": (b"runs:\t\t3\n\tseed: 1\n", "settings.yaml"),
    "bytes": (bytes(range(256)), "settings.yaml"),
    "a bomb": (b"a: &a [x,x]\nb: &b [*a,*a]\nruns: [*b,*b]\n", "must be a plain value"),
    "a spiral": (b"runs: " + b"[" * 1200, "settings.yaml"),
    "nothing": (b"", "settings.yaml must be a YAML file of settings"),
    "object": (b"runs: !!python/object/apply:os.getcwd []\n", "settings.yaml"),
}
CONFIGURED: dict[str, Main] = {"train": train.main, "scratch": scratch, "tune": tune}


@pytest.mark.parametrize("command", CONFIGURED)
@pytest.mark.parametrize("name", CONFIGS)
def test_a_wrong_settings_file_is_one_line(
    name: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, message = CONFIGS[name]
    path = tmp_path / "settings.yaml"
    path.write_bytes(content.replace(b"runs", b"repeats") if command == "tune" else content)
    if command == "tune" and name in ("nan", "infinite"):
        path.write_bytes(content.replace(b"lr", b"timeout"))
        message = message.replace("lr", "timeout")
    if command == "scratch":
        message = message.replace("above 0 and finite", "at least 0 and finite")
    message = message.replace("runs", "repeats") if command == "tune" else message
    args = ["--config", str(path), "--log_dir", str(tmp_path / "runs")]
    assert message in refusal(CONFIGURED[command], args, tmp_path, capsys)


@pytest.mark.parametrize("path", ["", "folder", "data.npz"])
def test_what_is_no_settings_file_is_one_line(
    path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "data.npz").write_bytes(EMBEDDED.read_bytes()[:9999])
    args = ["--config", str(tmp_path / path), "--log_dir", str(tmp_path / "runs")]
    assert str(tmp_path / path) in refusal(train.main, args, tmp_path, capsys)
