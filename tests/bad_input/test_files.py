"""Files that are torn, swapped, empty, huge or full of NaN: one line names the file, the rule and what to do."""

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from refusal import Main, refusal

import train
from datamodules.mnist import EMBEDDED
from lightning_modules import WeightSharing
from lightning_modules.predict import main as predict
from lightning_modules.report.__main__ import main as report
from scratch_framework.__main__ import main as scratch
from scratch_framework.disc.grid import main as grid
from tune.__main__ import main as tune

ROOT = Path(__file__).parents[2]
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
    "no gzip": (lambda folder: (folder / IMAGES).rename(folder / f"{IMAGES}.gz"), "not a whole gzip file"),
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
    "unknown": (b"rnus: 3\n", "rnus"),
    "text for a number": (b"runs: many\n", "--runs: expected int, got many"),
    "nan": (b"lr: .nan\n", "lr must be above 0 and finite, got nan"),
    "infinite": (b"lr: .inf\n", "lr must be above 0 and finite, got inf"),
    "huge": (b"runs: 99999999999999999999\n", "runs must be at most 100000"),
    "nested": (b"runs: {of: {what: 3}}\n", "--runs: expected int"),
    "tabs": (b"runs:\t\t3\n\tseed: 1\n", "settings.yaml"),
    "bytes": (bytes(range(256)), "settings.yaml"),
    "aliases": (b"a: &a [x,x,x]\nb: &b [*a,*a,*a]\nruns: [*b,*b,*b]\n", "settings.yaml"),
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
        message = {"nan": "timeout must be above 0, got nan", "infinite": "timeout must be finite"}[name]
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


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Of three nets that learned nothing."""
    nets = WeightSharing(seed=[0, 1, 2])
    content = {"model": "WeightSharing", "hyper_parameters": dict(nets.hparams)}
    torch.save(content | {"state_dict": nets.state_dict()}, tmp_path / "whole.ckpt")
    return tmp_path / "whole.ckpt"


def resaved(change: Callable[[dict[str, Any]], None]) -> Callable[[bytes], bytes]:
    def spoil(whole: bytes) -> bytes:
        import io

        content = torch.load(io.BytesIO(whole), weights_only=True)
        change(content)
        buffer = io.BytesIO()
        torch.save(content, buffer)
        return buffer.getvalue()

    return spoil


def some_nan(content: dict[str, Any]) -> None:
    next(iter(content["state_dict"].values()))[0] = float("nan")


CHECKPOINTS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "torn": (lambda whole: whole[:-100], "is no checkpoint, or damaged"),
    "half": (lambda whole: whole[: len(whole) // 2], "is no checkpoint, or damaged"),
    "a bit": (lambda whole: whole[:9000] + bytes([whole[9000] ^ 1]) + whole[9001:], "damaged"),
    "empty": (lambda whole: b"", "is no checkpoint, or damaged"),
    "text": (lambda whole: b"weights", "is no checkpoint, or damaged"),
    "npz": (lambda whole: EMBEDDED.read_bytes(), "is no checkpoint, or damaged"),
    "nan": (
        resaved(some_nan),
        "has weights that are not finite in net 0: its training diverged; ask another",
    ),
    "no net": (resaved(lambda content: content.pop("model")), "take a checkpoint.ckpt of train.py"),
    "a foreign net": (resaved(lambda content: content.update(model="ResNet")), "take a checkpoint.ckpt of"),
    "no weights": (resaved(lambda content: content["state_dict"].clear()), "does not fit WeightSharing"),
    "other seeds": (
        resaved(lambda content: content["hyper_parameters"].update(seed=[0])),
        "does not fit WeightSharing",
    ),
    "huge": (
        resaved(lambda content: content["hyper_parameters"].update(trunk="modern", width=10**9)),
        "does not fit WeightSharing: width must be at most 1024, got 1000000000",
    ),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_wrong_checkpoint_is_one_line(
    name: str, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, message = CHECKPOINTS[name]
    (tmp_path / "wrong.ckpt").write_bytes(spoil(checkpoint.read_bytes()))
    args = [str(tmp_path / "wrong.ckpt"), "--replica", "0", "--state_dict", str(tmp_path / "net.pt")]
    said = refusal(predict, args, tmp_path, capsys)
    assert f"{tmp_path}/wrong.ckpt" in said
    assert message in said


def png(width: int, height: int) -> bytes:
    """The head of a PNG file of that size, with no pixel behind it."""
    from struct import pack
    from zlib import crc32

    head = b"IHDR" + pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + pack(">I", 13) + head + pack(">I", crc32(head))


PICTURES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is no image that can be read; give a PNG"),
    "text": (b"a seven", "is no image that can be read; give a PNG"),
    "npz": (EMBEDDED.read_bytes()[:5000], "is no image that can be read; give a PNG"),
    "IDX": (b"\0\0\x08\x03\0\0\0\1\0\0\0\x1c\0\0\0\x1c" + bytes(784), "is no image that can be read"),
    "gzip": (gzip.compress(b"a seven"), "is no image that can be read"),
    "head only": (png(28, 28), "wrong.png"),
    "huge": (png(100_000, 100_000), "exceeds limit"),
    "large": (png(12_000, 12_000), "exceeds limit"),
    "no size": (png(0, 0), "wrong.png"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_wrong_picture_is_one_line(
    name: str, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, message = PICTURES[name]
    (tmp_path / "wrong.png").write_bytes(content)
    args = [str(checkpoint), str(tmp_path / "wrong.png"), str(tmp_path / "wrong.png")]
    said = refusal(predict, [*args, "--out", str(tmp_path / "out")], tmp_path, capsys)
    assert f"{tmp_path}/wrong.png" in said
    assert message in said


TABLES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "holds no pairs"),
    "a title": (b"left,right\n", "holds no pairs"),
    "three columns": (b"a.png,b.png,c.png\n", "a pair is two columns, left and right; pair 1 has 3"),
    "no text": (b"\xff\xfe\x00\x01", "is no CSV file"),
    "missing pictures": (b"a.png,b.png\n", "a.png cannot be read: No such file or directory"),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_wrong_table_of_pairs_is_one_line(
    name: str, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, message = TABLES[name]
    (tmp_path / "pairs.csv").write_bytes(content)
    args = [str(checkpoint), str(tmp_path / "pairs.csv"), "--out", str(tmp_path / "out")]
    assert message in refusal(predict, args, tmp_path, capsys)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([".", "one.png"], "give two images or two folders, not one of each"),
        ([".", "."], "folders must hold as many images each, and some"),
        (["one.png", "."], "give two images or two folders"),
        (["--replica", "-1", "--state_dict", "x.pt"], "replica must be from 0 to 2"),
        (["--replica", "0", "--state_dict", "nowhere/x.pt"], "nowhere/x.pt: No such file or directory"),
        (["--replica", "0", "--onnx", "nowhere/x.onnx"], "nowhere/x.onnx: No such file or directory"),
        (["one.png", "one.png", "--out", "one.png"], "one.png"),
    ],
)
def test_wrong_paths_of_predict_are_one_line(
    args: list[str],
    message: str,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    one = np.zeros((60, 60), np.uint8)
    one[10:50, 28:32] = 255
    if args != [".", "."]:
        Image.fromarray(one).save("one.png")
    assert message in refusal(predict, [str(checkpoint), *args], tmp_path, capsys)


@pytest.mark.parametrize("content", [b"", b"no database", EMBEDDED.read_bytes()[:8192]])
def test_a_damaged_storage_is_one_line(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "study.db").write_bytes(content)
    args = ["report", "--study_name", "mine", "--log_dir", str(tmp_path)]
    with pytest.raises(SystemExit) as stop:
        tune(args)
    said = capsys.readouterr().err
    assert stop.value.code == 2
    assert said.count("\n") == 1
    assert "study mine" in said or "study.db cannot be used: file is not a database" in said


SCORES = [{"activations": ["tanh"] * 4, "lr": 0.1, "weight_decay": 0, "val_errors": [0.1]}]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("grid.yaml", b"repeats: [1"),
        ("grid.yaml", b""),
        ("grid.yaml", b"\xff\xfe"),
        ("group_tanh_tanh_tanh_tanh.json", b"["),
        ("group_tanh_tanh_tanh_tanh.json", b"[7]"),
        ("group_tanh_tanh_tanh_tanh.json", json.dumps([*SCORES, {"lr": 1}]).encode()),
    ],
)
def test_a_damaged_grid_is_one_line(
    name: str, content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = [
        "--repeats",
        "1",
        "--max_epochs",
        "1",
        "--train_points",
        "20",
        "--val_points",
        "10",
        "--name",
        "mine",
    ]
    args += ["--log_dir", str(tmp_path)]
    if not (whole := Path(tmp_path.parent) / "whole_grid").exists():
        grid([*args[:-1], str(whole)])
    shutil.copytree(whole / "mine", tmp_path / "mine")
    (tmp_path / "mine" / name).write_bytes(content)
    assert f"{tmp_path}/mine/{name} is damaged: it must hold" in refusal(grid, args, tmp_path, capsys)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", EMBEDDED.read_bytes()[:5000]])
def test_damaged_results_are_one_line(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results.json").write_bytes(content)
    assert f"{tmp_path}/results.json is not" in refusal(report, [str(tmp_path)], tmp_path, capsys)
