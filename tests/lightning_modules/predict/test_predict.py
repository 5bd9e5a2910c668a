"""Nets answer about pairs of pictures, and name those that show nothing."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from drawings import bad_files, drawn, save
from rich.console import Console

from datamodules import load_digits
from lightning_modules.demo.nets import load_net
from lightning_modules.predict.__main__ import main
from lightning_modules.predict.inference import Answer, answers_table


def test_names_with_brackets_are_printed_as_they_are(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _, test = load_digits(None)
    Path("c[").mkdir()
    for name, digit in zip(("a[red]b.png", "c[/d].png"), test.images.double().numpy(), strict=False):
        save(tmp_path / name, digit.reshape(14, 14) / 255)
    flags = ["--replica", "0", "--state_dict", "net[v1].pt", "--out", "d[/v2]"]
    main([str(checkpoint), "a[red]b.png", "c[/d].png", *flags])
    said = capsys.readouterr().out
    assert all(name in said for name in ("a[red]b.png", "c[/d].png", "net[v1].pt written\n"))
    assert "\nd[/v2]: answers.csv, seen.png (what the nets saw)\n" in said


def test_pairs_are_answered_from_files_folders_and_a_csv(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, test = load_digits(None)
    for side, digit in (("left", 0), ("right", 7)):
        (tmp_path / side).mkdir()
        chosen = test.images[test.labels == digit][:2].double().numpy().reshape(-1, 14, 14)
        for number, image in enumerate(chosen):
            save(tmp_path / side / f"{number}.png", 1 - drawn(image, 80))
    (tmp_path / "pairs.csv").write_text("left,right\nright/0.png,left/1.png\n")
    cases = [
        ([str(tmp_path / "left" / "0.png"), str(tmp_path / "right" / "1.png")], ["right, or equal"]),
        ([str(tmp_path / "left"), str(tmp_path / "right")], ["right, or equal"] * 2),
        ([str(tmp_path / "pairs.csv")], ["left"]),
    ]
    for images, larger in cases:
        main([str(checkpoint), *images, "--out", str(tmp_path / "out")])
        rows = list(csv.DictReader((tmp_path / "out" / "answers.csv").open()))
        assert [row["larger"] for row in rows] == larger
        assert {(row["left_digit"], row["right_digit"]) for row in rows} <= {("0", "7"), ("7", "0")}
        assert all(0.5 <= float(row["probability"]) <= 1 for row in rows)
        assert (tmp_path / "out" / "seen.png").stat().st_size > 2_000
    assert "answers.csv" in capsys.readouterr().out


def test_a_picture_that_cannot_be_read_costs_its_own_pair_only(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digits = load_digits(None)[1].images[:2].double().numpy()
    for name, digit in zip(("one", "other", "a[red]b", "bad\udcff"), [*digits, *digits], strict=True):
        save(tmp_path / f"{name}.png", 1 - drawn(digit, 80))
    save(tmp_path / "two.png", 1 - np.pad(drawn(np.hstack(list(digits)), 200), 30))
    bad = bad_files(tmp_path) | {"two.png": "shows 2 digits"}
    rows = [f"one.png,{name}" for name in bad] + ["text.png,blank.png", "one.png,other.png"]
    (tmp_path / "pairs.csv").write_text("\n".join([*rows, "a[red]b.png,one.png"]))
    arguments = ["--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as stop:
        main([str(checkpoint), str(tmp_path / "pairs.csv"), *arguments])
    assert stop.value.code == 2
    said = capsys.readouterr()
    assert f"{len(bad) + 1} of {len(bad) + 3} pairs have no answer" in said.err
    assert said.err.count("\n") == 1
    answers = list(csv.DictReader((tmp_path / "out" / "answers.csv").open()))
    assert ["" if row["larger"] else "none" for row in answers] == ["none"] * (len(bad) + 1) + ["", ""]
    for row, (name, message) in zip(answers, bad.items(), strict=False):
        assert name in row["reason"]
        assert message in row["reason"]
        assert f"no answer: {row['reason']}" in said.out
    assert all(name in answers[len(bad)]["reason"] for name in ("text.png", "blank.png"))
    assert "a[red]b.png" in said.out
    main([str(checkpoint), str(tmp_path / "one.png"), str(tmp_path / "bad\udcff.png"), *arguments])
    assert "bad\\xff.png" in (tmp_path / "out" / "answers.csv").read_text()


def test_names_in_the_table_differ_where_the_files_do() -> None:
    common = Path("/home/a_person/pictures/of/handwritten/digits/that_were_scanned_on_a_day")
    pairs = [(common / side / f"a_long_name_before_the_number_{n}.png", common / side / "[b].png")
             for side in ("first", "second") for n in (1, 2)]  # fmt: skip
    console = Console(width=80, file=io.StringIO())
    console.print(answers_table(pairs, [Answer(0.9, (1, 2)), None, Answer(0.2, None), None]))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, text.splitlines())) <= 80
    lefts = "".join(line.split("│")[1].strip() for line in text.splitlines() if "│" in line)
    for side in ("first", "second"):
        for n in (1, 2):
            assert f"{side}/a_long_name_before_the_number_{n}.png" in lefts
    rights = "".join(line.split("│")[2].strip() for line in text.splitlines() if "│" in line)
    assert rights.count("/[b].png") == 4
    assert "a_person" not in text


def test_nets_that_diverged_are_left_out_and_named(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = torch.load(checkpoint, weights_only=True)
    for value in content["state_dict"].values():
        if value.dim():
            value.unflatten(0, (3, -1))[1] = float("nan")
    torch.save(content, tmp_path / "one_lost.ckpt")
    image = save(tmp_path / "one.png", drawn(load_digits(None)[1].images[0].double().numpy(), 60))
    main([str(tmp_path / "one_lost.ckpt"), str(image), str(image), "--out", str(tmp_path / "out")])
    assert "left out, because its training diverged: net 1" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([str(tmp_path / "one_lost.ckpt"), "--replica", "1", "--state_dict", str(tmp_path / "net.pt")])
    assert "not finite in net 1: its training diverged" in capsys.readouterr().err
    assert load_net(tmp_path / "one_lost.ckpt").runs == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give images"),
        (["", ""], "images must not be empty"),
        (["a.png", "b.png", "--out="], "out must not be empty"),
        (["--onnx="], "onnx must not be empty"),
        (["one.png"], "give two images"),
        (["a.png", "b.png", "c.png"], "got 3"),
        (["pairs.csv"], "No such file"),
        (["--replica", "9", "--state_dict", "x.pt"], "replica must be from 0 to 2"),
        (["--state_dict", "x.pt"], "say which to export"),
        (["--replica", "one"], "--replica"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(
    arguments: list[str], message: str, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main([str(checkpoint), *arguments])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
