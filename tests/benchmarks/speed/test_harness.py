"""Contestants take turns; what is printed and kept are medians, ratios and every turn."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks.speed.harness import Contestant, Turn, numbers, prove_equal, save, show, take_turns
from lightning_modules.command.cli import CommandError


def timed(name: str, seconds: list[float], work: float = 1.0) -> Contestant:
    return Contestant(name, partial(next, iter([Turn(second) for second in seconds])), work)


def test_contestants_take_turns_and_the_warm_up_is_not_kept() -> None:
    calls: list[str] = []
    everyone = [
        Contestant("one", partial(calls.append, "one"), prepare=partial(calls.append, "prepared")),
        Contestant("two", partial(calls.append, "two")),
    ]
    take_turns(everyone, 2, warm_up=1)
    assert calls == ["prepared", "one", "two"] * 3
    assert [len(one.turns) for one in everyone] == [2, 2]


def test_a_row_has_the_median_of_a_unit_and_the_ratio_of_turns_that_follow_each_other() -> None:
    everyone = [timed("slow", [9, 2.0, 4.0, 8.0]), timed("quick", [9, 4.0, 8.0, 2.0], work=4)]
    take_turns(everyone, 3)
    row = everyone[1].row(everyone[0], scale=1e3)
    assert row["turns"] == [1000, 2000, 500]
    assert (row["median"], row["ratio"]) == (1000, 2)


def test_no_turn_is_refused() -> None:
    with pytest.raises(ValueError, match="turns must be at least 1, got 0"):
        take_turns([timed("one", [1.0])], 0)


def test_the_table_leaves_empty_what_a_row_lacks_and_the_file_holds_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows: list[dict[str, Any]] = [{"contestant": "one", "quartiles": [1.0, 2.0]}, {"contestant": "absent"}]
    show("here", {"who": "{contestant}", "quartiles": "{quartiles[0]:.1f} .. {quartiles[1]:.1f}"}, rows)
    printed = capsys.readouterr().out
    assert "1.0 .. 2.0" in printed
    assert "absent" in printed
    save(str(tmp_path / "rows.json"), rows=rows)
    written = json.loads((tmp_path / "rows.json").read_text())
    assert written["rows"] == rows
    assert {"CPU", "torch"} <= written["machine"].keys()


@pytest.mark.parametrize("values", [[1.0, 2.1], [1.0], [1.0, float("nan")]])
def test_other_results_are_refused(values: list[float]) -> None:
    prove_equal("the same", [1.0, 2.0], [1.0, 2.0])
    with pytest.raises(RuntimeError, match="losses differ by"):
        prove_equal("losses", values, [1.0, 2.0])


@pytest.mark.parametrize("text", ["", "1,", "1,x", "0", "-1", "1.5"])
def test_a_list_of_numbers_is_read_or_refused(text: str) -> None:
    assert numbers("replicas", "1,16") == [1, 16]
    with pytest.raises(CommandError, match="replicas must be whole numbers of at least 1"):
        numbers("replicas", text)
