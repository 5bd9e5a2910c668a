"""The benchmark commands of the recipes."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.results.ablation import TABLES, ablation, ablation_figure, ablation_table
from benchmarks.results.compare import compare
from benchmarks.results.discovery import MODEL, Watch, discovery, milestones
from benchmarks.results.latent_digits import latent_digits
from benchmarks.results.pairs_growth import (
    FLOOR,
    collect,
    growth_figure,
    growth_rows,
    growth_table,
    pairs_growth,
)
from benchmarks.results.rows import Plan, Record, Row, share_rows
from datamodules import DigitPairs, load_digits
from lightning_modules.command.cli import CommandError
from lightning_modules.models.recipes import RECIPES, resolve
from lightning_modules.models.settings import PlainCNNSettings
from lightning_modules.results.runs import ModelRuns, Run, write_results
from lightning_modules.training.execution import ExecutionConfig
from lightning_modules.training.ranks import Ranks
from lightning_modules.training.runner import fit
from lightning_modules.training.studies import make_study


def runs_of(errors: list[float], **figures: float) -> list[Run]:
    return [Run(seed, 0.0, error, **figures) for seed, error in enumerate(errors)]  # type: ignore[arg-type]


def study(folder: Path, **models: list[Run]) -> str:
    """A study's folder whose nets have these runs."""
    folder.mkdir()
    of_models = [ModelRuns(model, "paper", runs) for model, runs in models.items()]
    write_results(folder / "results.json", of_models, "train.py", {})
    return str(folder)


def test_nets_of_several_studies_are_compared_over_the_seeds_that_they_share(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compare(
        [
            study(tmp_path / "one", cnn=runs_of([0.11, 0.22, 0.3]), auxiliary=runs_of([0.1, 0.2, 0.3])),
            study(tmp_path / "two", cnn=runs_of([0.5, 0.6])),
            study(tmp_path / "three", cnn=runs_of([0.21, 0.32, 0.4])),
        ]
    )
    printed = capsys.readouterr().out
    assert "-10.00 ± 0.00" in printed  # one, cnn less three, cnn
    assert "+1.00 ± 2.48" in printed  # one, cnn minus one, auxiliary
    assert "2 of 3 and 2 runs" in printed
    assert "for 10 comparisons" not in printed  # of 4 nets there are 6
    assert "for 6 comparisons" in printed


def test_seeds_at_which_a_net_diverged_are_not_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cnn = runs_of([0.2, 0.9, 0.4])
    cnn[1] = replace(cnn[1], diverged=True)
    compare([study(tmp_path / "one", cnn=cnn, auxiliary=runs_of([0.1, 0.2, 0.3]))])
    printed = capsys.readouterr().out
    assert "2 of 3" in printed
    assert "+10.00 ± 0.00" in printed


DASH = "\N{EN DASH}"


def test_tables_and_plots_leave_out_what_diverged_and_compare_the_same_figure() -> None:
    sound = runs_of([0.02, 0.04, 0.06], all_test_error=0.03)
    lost = [*sound[:2], replace(sound[2], diverged=True, all_test_error=0.99)]
    fixed = runs_of([0.05, 0.07, 0.09], fixed_pairs_error=0.5)
    every = [replace(run, diverged=True) for run in sound]
    rows = [Row(name, "cnn") for name in ("first", "lost", "fixed", "none")]
    trained = list(zip(rows, (sound, lost, fixed, every), strict=True))
    cells = [list(column.cells) for column in ablation_table("mine", trained).columns]
    assert cells[1] == ["3", "2 of 3", "3", "0 of 3"]
    assert cells[3] == ["3.00 ± 0.00", "3.00 ± 0.00", DASH, DASH]
    assert cells[4][1:] == ["+0.00 ± 0.00", "+3.00 ± 0.00 (own pairs)", ""]
    ablation_figure("mine", trained)
    errors = collect([(replace(row, recipe="paper"), runs) for row, runs in trained[1:2]])
    assert errors == {("paper", "cnn"): {1000: [0.03, 0.03]}}
    assert collect(trained[2:3]) == {("modern", "cnn"): {1000: [0.5, 0.5, 0.5]}}
    growth_figure(collect(trained[3:]))
    assert list(growth_table(collect(trained[3:])).columns[1].cells) == [DASH]


def test_studies_that_cannot_be_compared_are_named(tmp_path: Path) -> None:
    alone = study(tmp_path / "alone", cnn=runs_of([0.1]))
    with pytest.raises(CommandError, match="two nets between them, got 1"):
        compare([alone])
    (tmp_path / "alone" / "results.json").write_text('{"config": {}, "versions": {}, "rows": []}')
    with pytest.raises(CommandError, match=r"was written by digit-duel 0\.1\.0"):
        compare([alone])
    (tmp_path / "alone" / "results.json").write_text("{")
    for folder, why in ((alone, "is not JSON"), (str(tmp_path / "missing"), "must be the folder of a study")):
        with pytest.raises(CommandError, match=why):
            compare([folder])


def test_every_row_of_every_table_has_settings_that_bite() -> None:
    for rows in TABLES.values():
        for row in rows:
            resolve(RECIPES[row.recipe], [row.model], row.changes)


@pytest.mark.slow
def test_the_ablation_writes_a_row_a_run_and_a_plot(tmp_path: Path) -> None:
    ablation("2x2, modern", runs=2, max_epochs=1, devices=2, out=str(tmp_path))
    rows = list(csv.DictReader((tmp_path / "2x2-modern.csv").open()))
    assert [row["row"] for row in rows[::2]] == ["neither", "sharing", "auxiliary losses", "both"]
    assert all(0 < float(row["all_test_error"]) < 1 for row in rows)
    assert (tmp_path / "2x2-modern.png").stat().st_size > 5_000
    assert not list((tmp_path / "parts").iterdir())


@pytest.mark.slow
def test_ranks_that_share_rows_leave_nothing_to_train_and_the_figures_of_one_process(tmp_path: Path) -> None:
    """Rank 1 trains both shards; a row and its twin are trained once."""
    row = Row("recipe", "cnn", "paper", {"lr": 0.01}, train_pairs=100)
    plan = Plan(range(2), 1, ExecutionConfig(replicas=1, workers=1), val_pairs=0)
    runs = Record(tmp_path / "alone.csv", resume=False).train(row, plan)
    record = Record(tmp_path / "rows.csv", resume=False, parts=tmp_path / "parts")
    planned = [(record, replace(row, name=name), plan) for name in ("recipe", "twin")]
    share_rows(planned, tmp_path / "parts", Ranks(1, 2, "torchrun", {}, job="x"))
    parts = {path: path.stat().st_mtime_ns for path in (tmp_path / "parts").glob("*.part")}
    assert len(parts) == 2
    assert record.train(row, plan) == runs
    assert {path: path.stat().st_mtime_ns for path in parts} == parts
    assert record.left(row, plan) is None
    record.clear()
    assert [path.suffix for path in (tmp_path / "parts").iterdir()] == [".claims"]


def test_an_interrupted_table_goes_on_with_the_rows_that_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = Row("recipe", "cnn", "paper", {"lr": 0.01}, train_pairs=100)
    one, two = (Plan(range(2), 1, ExecutionConfig(workers=workers), val_pairs=0) for workers in (1, 2))
    record = Record(tmp_path / "rows.csv", resume=False)
    runs = record.train(row, one)
    monkeypatch.setattr(Row, "train", lambda *_: pytest.fail("trained again"))
    resumed = Record(tmp_path / "rows.csv", resume=True)
    assert resumed.train(row, one) == runs
    assert resumed.train(row, two) == runs
    (tmp_path / "rows.csv").write_text("row,model\n")
    with pytest.raises(CommandError, match="other columns"):
        Record(tmp_path / "rows.csv", resume=True)


def test_a_damaged_table_is_refused(trained: list[Row], tmp_path: Path) -> None:
    Record(tmp_path / "rows.csv", resume=False).train(a_row(), PLAN)
    whole = (tmp_path / "rows.csv").read_text()
    for damaged in (whole.replace("0.1", "much"), whole[: -len(whole) // 6]):
        (tmp_path / "rows.csv").write_text(damaged)
        with pytest.raises(CommandError, match=r"is damaged: .*; move it away"):
            Record(tmp_path / "rows.csv", resume=True)


PLAN = Plan(range(2), 1, val_pairs=0)


def a_row(**changes: Any) -> Row:
    return Row("a row", "cnn", "paper", changes)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Row]:
    """The rows that were trained; their figures say by which training they were made."""
    rows: list[Row] = []

    def train(row: Row, plan: Plan, parts: Path | None) -> list[Run]:
        rows.append(row)
        return [Run(seed, len(rows) / 10, len(rows) / 10) for seed in plan.seeds]

    monkeypatch.setattr(Row, "train", train)
    return rows


@pytest.mark.parametrize(
    ("row", "plan"),
    [
        (a_row(lr=0.02), PLAN),
        (replace(a_row(), recipe="modern"), PLAN),
        (replace(a_row(), train_pairs=200), PLAN),
        *(
            (a_row(), replace(PLAN, **otherwise))
            for otherwise in (
                {"seeds": range(3)},
                {"seeds": range(1)},
                {"seeds": range(2, 4)},
                {"max_epochs": 2},
                {"max_epochs": None},
                {"val_pairs": 100},
                {"choice": ExecutionConfig(engine="torch")},
            )
        ),
    ],
)
def test_a_row_of_other_settings_is_trained_again_once_in_place_of_the_first(
    row: Row, plan: Plan, trained: list[Row], tmp_path: Path
) -> None:
    Record(tmp_path / "rows.csv", resume=False).train(a_row(), PLAN)
    expected = Record(tmp_path / "rows.csv", resume=True).train(row, plan)
    assert len(trained) == 2
    again = Record(tmp_path / "rows.csv", resume=True).train(row, plan)
    assert len(trained) == 2
    assert again == expected
    lines = list(csv.DictReader((tmp_path / "rows.csv").open()))
    same_row = (row.recipe, row.train_pairs) == (a_row().recipe, a_row().train_pairs)
    assert len(lines) == len(expected) + (0 if same_row else 2)


@pytest.mark.parametrize("name", ["resolve", "code_digests", "versions"])
def test_a_row_of_other_code_versions_or_recipe_is_trained_again(
    name: str, trained: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Record(tmp_path / "rows.csv", resume=False).train(a_row(), PLAN)
    other = PlainCNNSettings(lr=7.0) if name == "resolve" else 7.0
    monkeypatch.setattr(f"benchmarks.results.rows.{name}", lambda *_: {"cnn": other})
    for _ in range(2):
        Record(tmp_path / "rows.csv", resume=True).train(a_row(), PLAN)
    assert len(trained) == 2


def test_growth_of_no_size_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="most_pairs must be at least 100, got 99"):
        pairs_growth(most_pairs=99, out=str(tmp_path / "out"))
    assert not list(tmp_path.iterdir())


def test_growth_has_a_row_a_net_recipe_and_size() -> None:
    rows = growth_rows([100, 300])
    assert len({(row.model, row.recipe, row.train_pairs) for row in rows}) == len(rows) == 12


@pytest.mark.parametrize("floor", [0.004, None])
def test_growth_draws_the_floor_where_it_is_known(floor: float | None) -> None:
    errors = {("modern", "auxiliary"): {100: [0.03, 0.04], 300: [0.01, 0.02]}}
    lines = growth_figure(errors, floor).axes[0].get_lines()
    assert [np.unique(line.get_ydata()).tolist() for line in lines[1:]] == [[0.4]] * (floor is not None)
    assert growth_table(errors, floor).caption == (floor and f"{FLOOR}: 0.40 %")


@pytest.mark.slow
def test_growth_has_every_net_at_every_size(tmp_path: Path) -> None:
    pairs_growth(runs=2, quick=True, workers=1, out=str(tmp_path))
    rows = list(csv.DictReader((tmp_path / "pairs-growth.csv").open()))
    assert len(rows) == 2 * 2 * 3 * 2
    assert (tmp_path / "pairs-growth.png").stat().st_size > 5_000


@pytest.mark.slow
@pytest.mark.parametrize("model", ["weight_sharing", "cnn"])
def test_latent_digits_are_compared_with_the_true_ones(model: Any, tmp_path: Path) -> None:
    latent_digits(model, runs=2, max_epochs=1, workers=1, out=str(tmp_path))
    for row in json.loads((tmp_path / "confusion.json").read_text()):
        assert np.sum(row["confusion"]) == 10_000
        assert row["matched_digit_error"] <= row["digit_error"]
    assert (tmp_path / "confusion.png").stat().st_size > 5_000


def test_the_still_shows_when_a_third_two_thirds_and_nine_tenths_were_in_place() -> None:
    assert milestones([0.1, 0.2, 0.5, 0.4, 0.7, 0.95, 0.93]) == [0, 2, 4, 5, 6]
    assert milestones([0.1, 0.2]) == [0, 1]


@pytest.mark.slow
def test_the_discovery_has_a_frame_an_epoch_and_watching_changes_nothing(tmp_path: Path) -> None:
    discovery(max_epochs=1, out=str(tmp_path))
    assert (tmp_path / "discovery.png").stat().st_size > 20_000
    assert (tmp_path / "discovery.gif").stat().st_size < 2_000_000
    with Image.open(tmp_path / "discovery.gif") as moving:
        assert getattr(moving, "n_frames", 1) == 2  # the untrained net, and the trained one
    settings = resolve(RECIPES["modern"], [MODEL], {"max_epochs": 2})[MODEL]
    study = make_study(settings, [0], DigitPairs, {"accelerator": "cpu"}, ExecutionConfig())
    watch = Watch(load_digits()[1])
    watched, alone = (fit(study, lambda metrics: None, callbacks) for callbacks in ([watch], []))
    assert watched.runs == alone.runs
    assert [len(steps) for steps in watch.seen] == [2, 2, 2]
