"""Commands: flags from a signature, one line for what is wrong."""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_type_hints

import numpy as np
import pytest
import torch

import train
from lightning_modules.command import cli, parsing
from lightning_modules.command.blame import ROOT, CommandError
from lightning_modules.command.limits import check_range
from lightning_modules.demo.__main__ import demo
from lightning_modules.predict.__main__ import predict
from lightning_modules.report.__main__ import report
from lightning_modules.training.workers import run_jobs
from scratch_framework.experiments.digits.command import DigitFlags
from scratch_framework.experiments.disc.command import DiscFlags
from scratch_framework.experiments.disc.recipe import Recipe
from tune.__main__ import report as tune_report
from tune.study.settings import TuneFlags

Color = Literal["red", "blue"]


def paint(
    color: Color = "red", coats: int = 1, thickness: float | None = None, verbose: bool = False
) -> None:
    """Paint a wall.

    Args:
        color: Which colour.
        coats: How often.
        thickness: In millimetres.
        verbose: Whether to chat.
    """
    if coats < 1:
        raise ValueError(f"coats must be at least 1,\n got {coats}")
    if coats == 99:
        raise KeyboardInterrupt
    print(color, coats, thickness, verbose)


def test_flags_and_files_reach_the_function_with_their_types(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = tmp_path / "paint.yaml"
    config.write_text("coats: 3\nthickness: 0.5\n")
    cli.run(paint, "paint", ["--config", str(config), "--color=blue", "--coats", "2"])
    assert capsys.readouterr().out == "blue 2 0.5 False\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--coat", "2"], "unrecognized arguments: --coat 2"),
        (["more"], "unrecognized arguments: more"),
        (["--coats", "x"], "--coats must be a whole number, got 'x'"),
        (["--coats", "2.5"], "--coats must be a whole number, got '2.5'"),
        (["--coats"], "argument --coats: expected one argument"),
        (["--thickness", "thin"], "--thickness must be a number, got 'thin'"),
        (["--color", "green"], "--color must be one of red, blue, got 'green'"),
        (["--coats", "0"], "coats must be at least 1, got 0"),
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_code_2(
    args: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.run(paint, "paint", args)
    assert caught.value.code == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("paint: error: ")
    assert output.err.count("\n") == 1
    assert message in output.err


def dry(
    walls: list[str],
    color: Color = "red",
    wait: bool = False,
    windows: bool | None = None,
    coats: int = 1,
    verbose: bool = False,
) -> None:
    """Let walls dry.

    Args:
        walls: Which.
        color: Their colour.
        wait: Whether to wait for them.
        windows: Whether they are open.
        coats: How often they were painted.
        verbose: Whether to chat.
    """
    if coats < 1:
        raise ValueError(f"coats must be at least 1, got {coats}")
    print(*walls, color, wait, windows)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "red False None"),
        (["--wait"], "red True None"),
        (["--wait", "True"], "red True None"),
        (["--wait=false"], "red False None"),
        (["--wait", "north"], "north red True None"),
        (["--wait", "--windows", "--color", "blue"], "blue True True"),
        (["north", "--windows", "false", "--wait"], "north red True False"),
    ],
)
def test_a_boolean_flag_takes_a_value_or_stands_alone(
    args: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.run(dry, "dry", args, {"walls": "Which."})
    assert capsys.readouterr().out == f"{said}\n"


def test_ctrl_c_is_one_line_and_exit_code_130(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.run(paint, "paint", ["--coats", "99"])
    assert caught.value.code == 130
    assert "interrupted" in capsys.readouterr().err


def failing(fault: str, verbose: bool = False) -> None:
    """Fail.

    Args:
        fault: How.
        verbose: Whether to chat.
    """
    FAULTS[fault]()


def fail_in_worker(fault: str, report: Callable[[Any], None]) -> None:
    FAULTS[fault]()


def failing_in_a_worker(fault: str, verbose: bool = False) -> None:
    """Fail elsewhere.

    Args:
        fault: How.
        verbose: Whether to chat.
    """
    run_jobs([partial(fail_in_worker, fault)], 1, lambda number, value: None)


class OddError(CommandError):
    """A refusal that cannot travel."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def refuse(error: Exception) -> None:
    raise error


def assert_nothing() -> None:
    assert not FAULTS


def unpack() -> None:
    ((_, _two),) = dict[str, tuple[int, int]]().values()


FAULTS: dict[str, Callable[[], Any]] = {
    "check_range": lambda: check_range("runs", 0, 1),
    "ValueError of ours": lambda: refuse(ValueError("coats must be\n at least 1")),
    "OSError of ours": lambda: refuse(FileNotFoundError("nowhere: no such folder")),
    "OSError with a name": lambda: Path("/proc/nowhere").read_bytes(),
    "odd": lambda: refuse(OddError(1, 2)),
    "KeyError": lambda: dict[str, int]()["coat"],
    "KeyError of ours": lambda: refuse(KeyError("coat")),
    "AssertionError": assert_nothing,
    "unpack": unpack,
    "int": lambda: int("coat"),
    "numpy": lambda: np.zeros(2) + np.zeros(3),
    "torch": lambda: torch.optim.SGD([torch.zeros(1)], lr=-1.0),
    "json": lambda: json.loads("{"),
    "no text": lambda: refuse(RuntimeError()),
}
REFUSED = {
    "check_range": "runs must be at least 1, got 0",
    "ValueError of ours": "coats must be at least 1",
    "OSError of ours": "nowhere: no such folder",
    "OSError with a name": "/proc/nowhere: No such file or directory",
    "odd": "1 and 2",
}


def complaint(capsys: pytest.CaptureFixture[str], command: Callable[..., None], *args: str) -> str:
    with pytest.raises(SystemExit) as caught:
        cli.run(command, "paint", args)
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1, said
    return said.removeprefix("paint: error: ").removesuffix("\n")


@pytest.mark.parametrize("fault", FAULTS)
def test_only_what_is_raised_for_the_user_hides_where_it_arose(
    fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = complaint(capsys, failing, "--fault", fault)
    if fault in REFUSED:
        assert said == REFUSED[fault]
    else:
        assert said.startswith("unexpected ")
        assert " (at tests/lightning_modules/command/test_cli.py:" in said
        assert said.endswith("; --verbose shows the whole traceback)")


@pytest.mark.parametrize("fault", ["KeyError", "torch", "no text", "odd", "check_range"])
def test_an_error_of_a_worker_says_the_same_as_one_of_the_command(
    fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    here = complaint(capsys, failing, "--fault", fault)
    assert complaint(capsys, failing_in_a_worker, "--fault", fault) == here


def test_an_error_without_a_text_shows_the_line_that_raised_it(capsys: pytest.CaptureFixture[str]) -> None:
    said = complaint(capsys, failing, "--fault", "no text")
    assert said.startswith("unexpected RuntimeError (at tests/lightning_modules/command/test_cli.py:")
    assert ": raise error; --verbose" in said


@pytest.mark.parametrize("variable", ["RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK", "PMI_RANK"])
def test_a_variable_of_another_job_silences_nothing(
    variable: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "1")
    assert "coats must be at least 1" in complaint(capsys, paint, "--coats", "0")


def test_the_command_line_is_known_while_the_command_runs() -> None:
    cli.run(paint, "paint.py", ["--coats", "2"])
    assert cli.command_line() == "python paint.py --coats 2"
    cli.run(paint, "python -m paint", ["--color=red"])
    assert cli.command_line() == "python -m paint --color=red"


@pytest.mark.parametrize(
    "args", ["-v", "--verbose", "--verbose=true", "-v true", "--verbose True", "--config verbose.yaml"]
)
@pytest.mark.parametrize("positional", [{}, {"walls": "Which."}])
def test_verbose_shows_the_traceback(
    args: str, positional: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("verbose.yaml").write_text("verbose: true\n")
    command = dry if positional else paint
    with pytest.raises(ValueError, match="coats"):
        cli.run(command, "paint", [*args.split(), "--coats", "0"], positional)


@pytest.mark.parametrize("args", ["--verbose=false", "-v false", "--config loud.yaml --verbose false"])
def test_without_verbose_there_is_no_traceback(
    args: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("loud.yaml").write_text("verbose: true\n")
    assert "coats must be" in complaint(capsys, paint, *args.split(), "--coats", "0")


@pytest.mark.parametrize("content", ["coats: [1, 2\n", "colour: red\n", "coats: many\n"])
def test_a_wrong_config_file_is_one_line(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "wrong.yaml"
    config.write_text(content)
    with pytest.raises(SystemExit) as caught:
        cli.run(paint, "paint", ["--config", str(config)])
    assert caught.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


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
        (["--name", "null"], "name must not be null; leave it out"),
        (["--name=~"], "name must not be null; leave it out"),
        (["--name", ""], "name must not be empty"),
        (["--config", "unnamed.yaml"], "name must not be null; leave it out"),
        (["--data_dir", "null"], "data_dir must not be null; leave it out"),
        (["--data_dir="], "data_dir must not be empty"),
        (["--storage", "null"], "storage must not be null; leave it out"),
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


@pytest.mark.parametrize("command", ["train", "tune.__main__"])
def test_a_long_command_gives_its_first_sign_before_it_imports_torch(command: str) -> None:
    code = f"""
import sys
from lightning_modules.command import cli
from {command} import main
cli.print = lambda *said, **_: sys.exit("torch" in sys.modules or said != ("loading",))
main(["--model", "cnn"])
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
