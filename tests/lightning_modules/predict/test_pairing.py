"""Pictures are paired by name, from folders and tables as people's computers make them."""

from pathlib import Path

import pytest

from lightning_modules.command.cli import CommandError
from lightning_modules.predict.pairing import find_pairs


def make(folder: Path, *names: str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return str(folder)


def paired(folder: Path, left: str, right: str) -> tuple[list[tuple[str, str]], list[str]]:
    pairs, notes = find_pairs([make(folder / "L", *left.split()), make(folder / "R", *right.split())])
    return [(one.name, other.name) for one, other in pairs], notes


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("1.png 2.png 9.png 10.png", "01.png 02.png 09.png 10.png", "1 01 2 02 9 09 10 10"),
        ("b.png a.jpg", "a.png B.JPEG", "a a b B"),
        ("Ä.png", "A\u0308.png", "Ä A\u0308"),
        ("x.png ._x.png .DS_Store Thumbs.db", "x.tif ._x.tif desktop.ini", "x x"),
        ("x2y10.png x2y9.png", "x02y9.png x02y10.png", "x2y9 x02y9 x2y10 x02y10"),
    ],
)
def test_pictures_of_one_name_are_a_pair(left: str, right: str, expected: str, tmp_path: Path) -> None:
    pairs, notes = paired(tmp_path, left, right)
    assert [name.rpartition(".")[0] for pair in pairs for name in pair] == expected.split()
    assert not notes


def test_without_a_common_name_the_order_is_that_of_numbers_and_is_said(tmp_path: Path) -> None:
    pairs, (note,) = paired(tmp_path, "scan10.png scan9.png", "photo1.png photo02.png")
    assert pairs == [("scan9.png", "photo1.png"), ("scan10.png", "photo02.png")]
    assert "paired in order, scan9.png with photo1.png to scan10.png with photo02.png" in note


def test_what_is_left_out_of_a_folder_is_said(tmp_path: Path) -> None:
    make(tmp_path / "L" / "more")
    pairs, (note,) = paired(tmp_path, "a.png notes.txt b.heic", "a.png")
    assert pairs == [("a.png", "a.png")]
    assert note.endswith("left out, not pictures: b.heic, more, notes.txt")


@pytest.mark.parametrize(
    ("left", "right", "message"),
    [
        ("a.png b.png c.png", "a.png b.png d.png", "L has no d; .*R has no c"),
        ("1.png 2.png 3.png", "1.png 2.png", "R has no 3"),
        ("a.png", "b.png c.png", "L has 1, .*R 2"),
        ("a.png a.jpg", "a.png b.png", "a.jpg and a.png have the same name"),
        ("", "", "and some"),
    ],
)
def test_folders_that_do_not_match_are_refused_with_what_is_missing(
    left: str, right: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(CommandError, match=message):
        paired(tmp_path, left, right)


TABLES = {
    "commas": b"left,right\na.png,b c.png\n",
    "byte-order mark": b"\xef\xbb\xbfleft,right\r\na.png,b c.png\r\n",
    "byte-order mark, no header": b"\xef\xbb\xbfa.png,b c.png\r\n",
    "semicolons": b"Left;Right\na.png;b c.png\n",
    "semicolons by Excel": b"sep=;\nleft;right\na.png;b c.png\n",
    "tabs in UTF-16": "left\tright\na.png\tb c.png\n".encode("utf-16"),
    "spaces and quotes": b'left, right\n  \n"a.png", "b c.png"\n\n',
    "commas at the end": b"left,right,\na.png,b c.png,\n",
}


@pytest.mark.parametrize("table", TABLES)
def test_tables_are_read_as_spreadsheets_write_them(table: str, tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_bytes(TABLES[table])
    assert find_pairs([str(tmp_path / "pairs.csv")]) == ([(tmp_path / "a.png", tmp_path / "b c.png")], [])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("left,right\n\xe4.png,b.png\n".encode("cp1252"), "must be in UTF-8"),
        (b"left,right\na.png,\n", "pair 1 is empty"),
        (b"left,right\na.png,b.png\nc.png,d.png,e.png\n", "pair 2 has 3"),
        (b"a.png\nb.png\n", "pair 1 has 1"),
        (b"left,right\n", "holds no pairs"),
        (b"", "holds no pairs"),
    ],
)
def test_other_tables_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_bytes(content)
    with pytest.raises(CommandError, match=message):
        find_pairs([str(tmp_path / "pairs.csv")])


@pytest.mark.parametrize("images", [["", ""], ["a.png", " "], [""]])
def test_an_empty_argument_is_not_the_current_folder(images: list[str]) -> None:
    with pytest.raises(CommandError, match="is empty"):
        find_pairs(images)
