"""What commands print is what they mean, whatever a name looks like and however narrow the console is."""

import shlex
from pathlib import Path

import pytest
from rich.table import Table

from lightning_modules.command.console import make_console
from lightning_modules.predict.inference import Answer, answers_table
from lightning_modules.results.progress import progress_bar

NAMES = ["lr[red]0.1", "a:car:b", "out[/v1]", "[link=x]y[/link]", "100 % [bold]", "x" * 300]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_printed_as_it_is_on_one_line(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    make_console().print(f"tensorboard --logdir {shlex.quote(name)}")
    assert capsys.readouterr().out == f"tensorboard --logdir {shlex.quote(name)}\n"


@pytest.mark.parametrize("name", NAMES[:-1])
def test_a_name_in_a_table_or_a_bar_is_as_it_is(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(title=name)
    table.add_column(name)
    table.add_row(name)
    make_console().print(table)
    assert capsys.readouterr().out.count(name) == 3
    with progress_bar() as bar:
        bar.add_task(name, total=1)
    assert name in capsys.readouterr().out


def test_a_file_that_is_too_long_for_its_column_is_folded_and_not_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    make_console().print(answers_table([(Path("q" * 70), Path("[/k]" * 15))], [Answer(0.9, (3, 2))]))
    said = capsys.readouterr().out
    assert (said.count("q"), said.count("k")) == (70, 15)
    assert "…" not in said
