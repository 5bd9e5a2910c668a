"""Flags that are paths or names: the home folder, empty ones, and null."""

import io
import sys
from functools import partial
from pathlib import Path
from typing import get_type_hints

import pytest

import train
from lightning_modules.command import cli, parsing
from lightning_modules.demo.__main__ import demo
from lightning_modules.predict.__main__ import predict
from lightning_modules.report.__main__ import report
from scratch_framework.experiments.digits.command import DigitFlags
from scratch_framework.experiments.disc.command import DiscFlags
from scratch_framework.experiments.disc.recipe import Recipe
from tune.__main__ import report as tune_report
from tune.study.settings import TuneFlags


def store(
    images: list[str],
    out: str = "here",
    data_dir: str | None = None,
    name: str | None = None,
    storage: str | None = None,
    verbose: bool = False,
) -> None:
    """Store images.

    Args:
        images: Which.
        out: Where to.
        data_dir: Where from.
        name: What to call them.
        storage: A database.
        verbose: Whether to chat.
    """
    print([*images, out, data_dir, name, storage])


STORE = partial(cli.run, store, "store", positional={"images": "Which."})


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--out=~/x"], ["HOME/x", None, None, None]),
        (["--out", "~"], ["HOME", None, None, None]),
        (
            ["~/a.png", "~/b.png", "--data_dir", "~/x"],
            ["HOME/a.png", "HOME/b.png", "here", "HOME/x", None, None],
        ),
        (["--name", "~x", "--out", "a~/~"], ["a~/~", None, "~x", None]),
        (["--out", "~nobody-of-this-name/x"], ["~nobody-of-this-name/x", None, None, None]),
        (["--name=~", "--data_dir", "null", "--storage=null"], ["here", "null", "~", "null"]),
        (["--config=~/store.yaml"], ["HOME/runs", "HOME/data", None, None]),
        (["--config", "~/store.yaml", "--out", "x"], ["x", "HOME/data", None, None]),
    ],
)
def test_a_tilde_is_the_home_folder_in_paths_and_nowhere_else(
    args: list[str],
    said: list[str | None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "store.yaml").write_text("out: ~/runs\ndata_dir: ~/data\n")
    STORE(args)
    expected = [text and text.replace("HOME", str(tmp_path)) for text in said]
    assert capsys.readouterr().out == f"{expected}\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--name", ""], "name must not be empty"),
        (["--config", "unnamed.yaml"], "name must not be null; leave it out"),
        (["--config", "torn.yaml"], "out must be a path, which holds no null character, got 'a\\x00b'"),
        (["--data_dir="], "data_dir must not be empty"),
        (["--out", ""], "out must not be empty"),
        (["", "a.png"], "images must not be empty"),
    ],
)
def test_an_empty_or_null_path_or_name_is_not_one_that_was_left_out(
    args: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("unnamed.yaml").write_text("name: null\n")
    Path("torn.yaml").write_text(r'out: "a\0b"')
    with pytest.raises(SystemExit):
        STORE(args)
    assert message in capsys.readouterr().err


def test_null_in_a_settings_file_is_a_flag_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text("data_dir: null\nstorage: null\n")
    STORE(["--config", str(tmp_path / "config.yaml")])
    assert capsys.readouterr().out == "['here', None, None, None]\n"


def test_every_text_flag_of_every_command_is_known_as_a_path_a_name_or_neither() -> None:
    commands = [train.Flags, TuneFlags, tune_report, predict, report, demo, DiscFlags, Recipe, DigitFlags]
    texts = {
        flag
        for command in commands
        for flag, kind in get_type_hints(command).items()
        if kind in (str, str | None, list[str])
    }
    neither = {"accelerator", "strategy", "precision", "widths", "activations", "storage"}
    assert texts == parsing.PATHS - {"folder"} | parsing.NAMES | neither  # a benchmark has a folder


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_a_character_that_the_console_lacks_costs_nothing_but_itself(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding))
    STORE(["1 ± 2 ☃ \udcff"])
    sys.stdout.flush()
    assert written.getvalue().startswith(b"['1 ")
