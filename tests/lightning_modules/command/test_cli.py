"""Commands: flags from a signature, one line for what is wrong."""

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Literal

import pytest
from refusal import one_line

from lightning_modules.command import cli
from lightning_modules.command.blame import ROOT

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


PAINT = partial(cli.run, paint, "paint")


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


@pytest.mark.parametrize(("last_words", "code"), [("raise KeyboardInterrupt", 130), ("pass", 0)])
def test_ctrl_c_while_a_command_leaves_is_not_heard(last_words: str, code: int) -> None:
    script = (
        "import atexit, signal\nfrom lightning_modules.command import cli\n"
        "def command(verbose: bool = False) -> None:\n"
        f"    atexit.register(signal.raise_signal, signal.SIGINT)\n    {last_words}\n"
        "cli.run(command, 'command', [])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (code, code // 130)


@pytest.mark.parametrize("variable", ["RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK", "PMI_RANK"])
def test_a_variable_of_another_job_silences_nothing(
    variable: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "1")
    assert "coats must be at least 1" in one_line(PAINT, ["--coats", "0"], capsys)


def test_a_command_runs_where_its_output_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    def say(verbose: bool = False) -> None:
        """Say a word."""
        with cli.imports(first_sign=True):
            print("word")

    monkeypatch.setattr(sys, "stdout", None)
    cli.run(say, "say", [])


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
    assert "coats must be" in one_line(PAINT, [*args.split(), "--coats", "0"], capsys)


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
