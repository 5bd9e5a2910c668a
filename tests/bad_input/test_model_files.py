"""Checkpoints and pictures that are torn, swapped, empty, huge or full of NaN: each is one line."""

import gzip
import io
from collections.abc import Callable
from pathlib import Path
from struct import pack
from typing import Any
from zlib import crc32

import numpy as np
import pytest
import torch
from PIL import Image
from refusal import refusal

from datamodules.mnist import EMBEDDED
from lightning_modules import WeightSharing
from lightning_modules.command.file_format import FORMAT
from lightning_modules.predict.__main__ import main as predict


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Of three nets that learned nothing."""
    nets = WeightSharing(seed=[0, 1, 2])
    content = {"format": FORMAT, "model": "WeightSharing", "hyper_parameters": dict(nets.hparams)}
    torch.save(content | {"state_dict": nets.state_dict()}, tmp_path / "whole.ckpt")
    return tmp_path / "whole.ckpt"


def resaved(change: Callable[[dict[str, Any]], None]) -> Callable[[bytes], bytes]:
    def spoil(whole: bytes) -> bytes:
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
        "has weights that are not finite in net 0: its training diverged; take another",
    ),
    "no net": (resaved(lambda content: content.pop("model")), "take a checkpoint.ckpt of train.py"),
    "0.1.0": (
        resaved(lambda content: content.pop("format")),
        "was written by digit-duel 0.1.0, and this version reads the format of",
    ),
    "a foreign net": (resaved(lambda content: content.update(model="ResNet")), "take a checkpoint.ckpt of"),
    "no weights": (
        resaved(lambda content: content["state_dict"].clear()),
        "does not fit WeightSharing: Error(s) in loading state_dict for WeightSharing: Missing key(s)",
    ),
    "no states": (resaved(lambda content: content.pop("state_dict")), "it has no 'state_dict'"),
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

    def chunk(content: bytes) -> bytes:
        return pack(">I", len(content) - 4) + content + pack(">I", crc32(content))

    head = b"IHDR" + pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(head) + chunk(b"IDAT")


PICTURES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is no image that can be read; give a PNG"),
    "text": (b"a seven", "is no image that can be read; give a PNG"),
    "npz": (EMBEDDED.read_bytes()[:5000], "is no image that can be read; give a PNG"),
    "IDX": (b"\0\0\x08\x03\0\0\0\1\0\0\0\x1c\0\0\0\x1c" + bytes(784), "is no image that can be read"),
    "gzip": (gzip.compress(b"a seven"), "is no image that can be read"),
    "head only": (png(28, 28), "wrong.png"),
    "huge": (png(100_000, 100_000), "it has 10000 million pixels; give at most 250"),
    "large": (png(12_000, 12_000), "image file is truncated"),
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


def test_files_that_predict_reads_are_not_replaced(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("seen.png").write_bytes(PICTURES["head only"][0])
    Path("answers.csv").write_text("seen.png,seen.png\n")
    Path("link").symlink_to(checkpoint)
    for args in (
        [str(checkpoint), "answers.csv", "--out", "."],
        [str(checkpoint), "seen.png", "./seen.png", "--out", str(tmp_path)],
        [str(checkpoint), "--replica", "0", "--state_dict", str(checkpoint)],
        ["link", "--replica", "0", "--onnx", str(checkpoint)],
        [str(checkpoint), "answers.csv", "--replica", "0", "--state_dict", "answers.csv"],
    ):
        assert "would replace what this command reads" in refusal(predict, args, tmp_path, capsys)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([".", "one.png"], "give two images or two folders, not one of each"),
        ([".", "."], "folders must hold as many images each, and some"),
        (["one.png", "."], "give two images or two folders"),
        (["--replica", "-1", "--state_dict", "x.pt"], "replica must be from 0 to 2"),
        (["--replica", "0", "--state_dict", "one.png/x.pt"], "one.png exists; choose another name"),
        (["--replica", "9", "--onnx", "nowhere/x.onnx"], "replica must be from 0 to 2"),
        (
            ["--replica", "0", "--onnx", "x", "--state_dict", "./x"],
            "x would replace what this command writes",
        ),
        (["one.png", "one.png", "--replica", "0", "--onnx", "one.png"], "one.png would replace what"),
        (["one.png", "one.png", "--replica", "0", "--onnx", "a/seen.png", "--out", "a"], "command writes"),
        *(
            (["--replica", "0", flag, "."], ". cannot be written: it is a folder; name a file in it")
            for flag in ("--onnx", "--state_dict")
        ),
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
