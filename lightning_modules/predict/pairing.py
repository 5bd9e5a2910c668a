"""Pairs of picture files to compare: from two folders, or from a CSV file."""

import csv
import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from PIL import Image

from lightning_modules.command.cli import CommandError

Pair = tuple[Path, Path]

TABLES = (".csv", ".tsv")
DELIMITERS = (",", ";", "\t")  # a spreadsheet's choice depends on its language
UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # a file's first bytes
SYSTEM_FILES = ("thumbs.db", "desktop.ini")  # of Windows; those of other systems begin with a dot


def find_pairs(images: Sequence[str]) -> tuple[list[Pair], list[str]]:
    """The pairs that arguments name.

    Args:
        images: Two image files; two folders, whose files are paired by name; or a CSV file of two columns,
            whose paths are relative to it.

    Returns:
        Pairs of files, and what the user should know about the choice, a line each.

    Raises:
        CommandError: They name no pairs.
        OSError: A folder or file cannot be read.
    """
    if not all(image.strip() for image in images):
        raise CommandError("the name of an image, folder or CSV file is empty; give one")
    paths = [Path(image) for image in images]
    if len(paths) == 1 and paths[0].suffix.lower() in TABLES:
        return _from_csv(paths[0]), []
    if len(paths) != 2:
        raise CommandError(f"give two images, two folders, or one CSV file of pairs; got {len(paths)} paths")
    left, right = paths
    if left.is_dir() != right.is_dir():
        raise CommandError(f"give two images or two folders, not one of each: {left}, {right}")
    return _from_folders(left, right) if left.is_dir() else ([(left, right)], [])


def _from_folders(left: Path, right: Path) -> tuple[list[Pair], list[str]]:
    (lefts, left_out), (rights, also_left_out) = _pictures(left), _pictures(right)
    notes = [*left_out, *also_left_out]
    if lefts.keys() == rights.keys() and lefts:
        return [(path, rights[name]) for name, path in lefts.items()], notes
    if lefts.keys() & rights.keys():
        lacks = [
            f"{folder} has no {', '.join(there[name].stem for name in there if name not in here)}"
            for folder, here, there in ((left, lefts, rights), (right, rights, lefts))
            if there.keys() - here.keys()
        ]
        raise CommandError(f"two folders are paired by name: {'; '.join(lacks)}")
    if len(lefts) != len(rights) or not lefts:
        raise CommandError(
            f"folders must hold as many images each, and some: {left} has {len(lefts)}, {right} {len(rights)}"
        )
    pairs = list(zip(lefts.values(), rights.values(), strict=True))
    first, last = (f"{one.name} with {other.name}" for one, other in (pairs[0], pairs[-1]))
    return pairs, [*notes, f"the folders have no name in common: paired in order, {first} to {last}"]


def _pictures(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """Pictures of a folder by name, in natural order, and a line about what else it holds."""
    visible = [
        path
        for path in folder.iterdir()
        if not path.name.startswith(".") and path.name.lower() not in SYSTEM_FILES
    ]
    pictures: dict[str, Path] = {}
    others = []
    for path in sorted(visible, key=lambda path: (natural(path.stem), path.name)):
        if path.is_dir() or path.suffix.lower() not in _suffixes():
            others.append(path.name)
        elif (name := _plain(path.stem)) in pictures:
            raise CommandError(
                f"{folder}: {pictures[name].name} and {path.name} have the same name; keep one of them"
            )
        else:
            pictures[name] = path
    return pictures, [f"{folder}: left out, not pictures: {', '.join(others)}"] if others else []


@cache
def _suffixes() -> set[str]:
    """Of all formats that Pillow reads."""
    return {suffix for suffix, name in Image.registered_extensions().items() if name in Image.OPEN}


def natural(name: str) -> list[tuple[int, str]]:
    """Sorts names by the numbers in them: 9 before 10."""
    parts = re.findall(r"[0-9]+|[^0-9]+", unicodedata.normalize("NFC", name).casefold())
    return [(int(part), "") if part[0] in "0123456789" else (-1, part) for part in parts]


def _plain(name: str) -> str:
    """The same for 7 and 007, capitals or not."""
    return "".join(text or str(number) for number, text in natural(name))


def _from_csv(path: Path) -> list[Pair]:
    lines = _text(path).splitlines()
    if lines and lines[0].lower().startswith("sep="):  # Excel's
        del lines[0]
    try:
        rows = _two_columns([_rows(lines, delimiter) for delimiter in DELIMITERS])
    except csv.Error as error:
        raise CommandError(f"{path} is no CSV file: {error}") from error
    if rows and [cell.lower() for cell in rows[0]] == ["left", "right"]:
        rows = rows[1:]
    for number, row in enumerate(rows, 1):
        if len(row) != 2:
            raise CommandError(
                f"{path} is no CSV file of pairs: a pair is two columns, left and right; pair {number} has"
                f" {len(row)}"
            )
        if not all(row):
            raise CommandError(f"{path}: a pair is two names; one of pair {number} is empty")
    if not rows:
        raise CommandError(f"{path} holds no pairs")
    left, right = ([path.parent / Path(row[side]).expanduser() for row in rows] for side in (0, 1))
    return list(zip(left, right, strict=True))


def _text(path: Path) -> str:
    content = path.read_bytes()
    encoding = "utf-16" if content.startswith(UTF_16) else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise CommandError(f"{path} is no CSV file: it must be in UTF-8 ({error})") from error


def _rows(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    """Cells of the rows that are not blank; a delimiter at the end of a row begins no third column."""
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    rows = [[cell.strip() for cell in row] for row in reader]
    return [row[:-1] if len(row) == 3 and not row[2] else row for row in rows if any(row)]


def _two_columns(readings: Sequence[list[list[str]]]) -> list[list[str]]:
    """The reading in which all rows have two columns; else the first."""
    fitting = [rows for rows in readings if all(len(row) == 2 for row in rows)]
    return [*fitting, readings[0]][0]
