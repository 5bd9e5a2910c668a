"""The command ``python -m lightning_modules.report``, on a study that was trained for it."""

import json
import re
import shutil
from html.parser import HTMLParser
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from filelock import FileLock

import train
from lightning_modules.report.__main__ import main
from lightning_modules.results.runs import ModelRuns, Run, overview
from scratch_framework.__main__ import main as scratch_framework

TINY = ["--accelerator", "cpu", "--max_epochs", "2", "--train_pairs", "100", "--val_pairs", "30"]
TINY += ["--test_pairs", "200", "--workers", "1"]
MODELS = ("cnn", "weight_sharing", "auxiliary")
VOID = {"meta", "link", "br", "img", "use", "path"}


class Page(HTMLParser):
    """What is in a page: text by section, tables by caption, attributes of all tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.section, self.caption, self.open = "", "", list[str]()
        self.text: dict[str, str] = {"": ""}
        self.tables: dict[str, list[list[str]]] = {}
        self.attributes: list[tuple[str, str, str]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "section":
            self.section = dict(attrs)["id"] or ""
        if tag == "caption":
            self.caption = ""
        if tag == "tr":
            self.tables.setdefault(f"{self.section}: {self.caption}", []).append([])
        if tag in ("td", "th"):
            self.tables[f"{self.section}: {self.caption}"][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag
        if tag in ("td", "th"):
            self.text[self.section] += " "  # as a reader sees it

    def handle_data(self, data: str) -> None:
        if {"style", "svg"} & set(self.open):
            return
        self.text[self.section] = self.text.get(self.section, "") + data
        if "caption" in self.open:
            self.caption += data
        elif {"td", "th"} & set(self.open):
            self.tables[f"{self.section}: {self.caption}"][-1][-1] += data

    def table(self, start: str) -> dict[str, list[str]]:
        """Cells by their row's head, of the table whose section and caption start so."""
        rows = next(rows for name, rows in self.tables.items() if name.startswith(start))
        return {" ".join(head.split()): [" ".join(cell.split()) for cell in cells] for head, *cells in rows}


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of studies: three nets, and one of them over two seeds only."""
    folder = tmp_path_factory.mktemp("trained")
    train.main([*TINY, "--runs", "3", "--replicas", "2", "--log_dir", str(folder), "--name", "three"])
    train.main([*TINY, "--runs", "2", "--model", "cnn", "--log_dir", str(folder), "--name", "two"])
    return folder


@pytest.fixture(scope="session")
def whole(trained: Path) -> Path:
    """A study whose page is made, for tests that only read."""
    main([str(trained / "three"), "--out", str(trained / "three.html")])
    return trained / "three"


@pytest.fixture
def study(trained: Path, tmp_path: Path) -> Path:
    """A study that a test may spoil."""
    return Path(shutil.copytree(trained / "three", tmp_path / "three"))


def results(study: Path) -> Any:
    return json.loads((study / "results.json").read_text())


def rewrite(study: Path, data: Any) -> None:
    """Write rows that were changed, with the seeds and the summary that fit them."""
    names = Run.__annotations__
    models = [
        ModelRuns(model, recipe, [Run(**{name: row[name] for name in row if name in names}) for row in rows])
        for (model, recipe), rows in groupby(data["rows"], lambda row: (row["model"], row["recipe"]))
    ]
    (study / "results.json").write_text(json.dumps(data | overview(models)))


def page(*studies: Path, out: Path | None = None) -> Page:
    main([*map(str, studies), *(["--out", str(out)] if out else [])])
    return Page((out or studies[0] / "report.html").read_text(encoding="utf-8"))


def page_of(whole: Path) -> Page:
    return Page(whole.with_suffix(".html").read_text(encoding="utf-8"))


def refused(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    """The one line by which the command refuses."""
    with pytest.raises(SystemExit) as end:
        main(args)
    assert end.value.code == 2
    complaint = capsys.readouterr().err
    assert complaint.count("\n") == 1
    return complaint


def test_the_table_has_the_figures_of_results_json_and_their_intervals(whole: Path) -> None:
    table = page_of(whole).table("results: ")
    for row in results(whole)["summary"]:
        mean, std = 100 * row["test_error_mean"], 100 * row["test_error_std"]
        half = 4.303 * std / 3**0.5  # t of 2 degrees of freedom
        test, *_, training = table[f"{row['model']}paper, 3 runs"]
        assert test.startswith(f"{mean:.2f} ± {std:.2f} [")
        low, high = map(float, test[:-1].split("[")[1].split(", "))
        assert [low, high] == pytest.approx([max(0, mean - half), min(100, mean + half)], abs=0.02)
        assert training.startswith(f"{100 * row['train_error_mean']:.2f} ± ")


def test_every_run_is_in_the_page(whole: Path) -> None:
    text = " ".join(page_of(whole).text["runs"].split())
    for row in results(whole)["rows"]:
        errors = f"{100 * row['test_error']:.2f} {100 * row['val_error']:.2f}"
        assert f"{row['model']} {row['seed']} {errors}" in text


def test_nets_are_compared_run_by_run_and_p_is_corrected(whole: Path) -> None:
    shown = page_of(whole)
    table = shown.table("significance: ")
    assert list(table)[1:] == [
        f"{names}3 runs"
        for names in ("cnn minus weight_sharing", "cnn minus auxiliary", "weight_sharing minus auxiliary")
    ]
    errors = {
        model: [r["test_error"] for r in results(whole)["rows"] if r["model"] == model] for model in MODELS
    }
    difference = 100 * np.subtract(errors["cnn"], errors["auxiliary"])
    assert table["cnn minus auxiliary3 runs"][0].startswith(
        f"{difference.mean():+.2f}".replace("-", "\N{MINUS SIGN}")
    )
    assert "3 comparisons are made" in " ".join(shown.text["significance"].split())


def test_mistakes_of_the_heat_map_add_up_to_the_errors(whole: Path) -> None:
    shown = page_of(whole)
    titles = [value for tag, name, value in shown.attributes if (tag, name) == ("td", "title")]
    assert len(titles) == 300
    counts = np.array([re.findall(r"\d+", title) for title in titles], int).reshape(3, 100, 4)
    for model, cells in zip(MODELS, counts, strict=True):
        errors = [row["test_error"] for row in results(whole)["rows"] if row["model"] == model]
        assert cells[:, 3].sum() == 600
        assert cells[:, 2].sum() == round(200 * sum(errors))
        assert f"{cells[:, 2].sum()} of 600 answers wrong" in shown.text["failing"]
    by_distance = shown.table("failing: Error in % by")["cnn"]
    equal = counts[0][counts[0][:, 0] == counts[0][:, 1]]
    assert by_distance[0] == f"{100 * equal[:, 2].sum() / equal[:, 3].sum():.1f}"


def test_the_worst_mistakes_are_images_with_what_is_right_and_what_was_said(whole: Path) -> None:
    shown = page_of(whole)
    images = [value for tag, name, value in shown.attributes if (tag, name) == ("img", "src")]
    assert len(images) == 24 * 3
    said = re.findall(
        r"(\d) ([≤>]) (\d), said ([≤>])\s*(> )?([\d.]+) % sure\s*seed (\d)", shown.text["worst"]
    )
    assert len(said) == 24 * 3
    for first, right, second, wrong, _, sure, seed in said:
        assert right == ("≤" if first <= second else ">") != wrong
        assert 50 <= float(sure) < 100
        assert int(seed) in (0, 1, 2)


def test_tables_that_may_scroll_say_so_and_take_the_keyboard(whole: Path) -> None:
    html = whole.with_suffix(".html").read_text()
    boxes = re.findall(r'<div class="scroll"([^>]*)>', html)
    assert len(boxes) == 7
    for box in boxes:
        assert 'tabindex="0" role="region"' in box
        assert ', a table that scrolls sideways"' in box


def test_the_page_of_a_running_study_loads_itself_anew_until_it_is_done(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = (study / "results.json").read_text()
    (study / "results.json").unlink()
    lock = FileLock(study / ".lock")
    lock.acquire()
    shown: list[Page] = []

    def sleep(seconds: float) -> None:
        shown.append(Page((study / "report.html").read_text(encoding="utf-8")))
        if len(shown) == 2:
            lock.release()
            (study / "results.json").write_text(done)

    monkeypatch.setattr("time.sleep", sleep)
    shown.append(page(study))
    refreshes = [[value for *_, value in it.attributes if value == "refresh"] for it in shown]
    assert refreshes == [["refresh"], ["refresh"], []]
    assert "cnn (epoch 2 of 2)" in shown[0].text[""]
    assert "it runs, and this page loads itself anew" in shown[0].text[""]
    assert "auxiliary" in shown[0].text["curves"] or "No curves" not in shown[0].text["curves"]
    assert "cnnpaper, 3 runs" in shown[-1].table("results: ")
    assert "a study runs" in capsys.readouterr().out


def test_ctrl_c_leaves_a_page_that_does_not_load_itself_anew(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", interrupt)
    with FileLock(study / ".lock"), pytest.raises(SystemExit):
        page(study)
    assert 'http-equiv="refresh"' not in (study / "report.html").read_text(encoding="utf-8")


def test_a_folder_of_studies_is_listed_and_two_of_them_stand_side_by_side(
    trained: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(trained, tmp_path / "runs"))
    (folder / "a folder").mkdir()
    (folder / "damaged #1").mkdir()
    (folder / "damaged #1" / "results.json").write_text("{")
    (folder / "two").rename(folder / "two #2")
    shown = page(folder)
    rows = shown.table(": ")
    assert rows.keys() == {"study", "three", "two #2", "damaged #1"}
    assert rows["two #2"][1] == "done"
    assert "is not JSON" in rows["damaged #1"][1]
    errors = [run["test_error"] for run in results(folder / "three")["rows"] if run["model"] == "cnn"]
    assert f"cnn {100 * np.mean(errors):.2f} (3 runs)" in rows["three"][2]
    links = [value for tag, name, value in shown.attributes if (tag, name) == ("a", "href")]
    assert links == ["two%20%232/report.html"] * 2 + ["three/report.html"] * 2
    assert [v for tag, name, v in shown.attributes if (tag, name) == ("iframe", "src")] == links[1:3]
    assert all((folder / name / "report.html").is_file() for name in ("three", "two #2"))


def test_settings_versions_command_and_seeds_are_told(whole: Path) -> None:
    shown = page_of(whole)
    settings = shown.table("settings: Settings that differ")
    for column, model in enumerate(MODELS):
        config = yaml.safe_load((whole / model / "config.yaml").read_text())
        assert settings["lr"][column] == str(config["lr"])
    assert shown.table("settings: Settings in common")["train_pairs"] == ["100"]
    versions = shown.table("versions: ")
    assert {name: row[0] for name, row in versions.items() if name != "package"} == results(whole)["versions"]
    assert results(whole)["command"] in shown.text["versions"]
    assert "cnn 0 to 2" in shown.text["versions"]


def test_the_page_loads_nothing_from_anywhere(whole: Path) -> None:
    shown = page_of(whole)
    loaded = [value for _, name, value in shown.attributes if name in ("src", "srcset", "data", "xlink:href")]
    loaded += [value for _, name, value in shown.attributes if name == "href"]
    assert all(value.startswith(("data:", "#")) for value in loaded)
    html = whole.with_suffix(".html").read_text(encoding="utf-8")
    assert "//" not in re.sub(r"data:[\w/;,+=]*", "", html)  # no address of a server, in styles neither
    assert "@import" not in html
    assert not {tag for tag, _, _ in shown.attributes} & {"script", "iframe", "object", "embed"}
    ids = [value for _, name, value in shown.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert {value[1:] for value in loaded if value.startswith("#")} <= set(ids)


def test_what_comes_from_files_is_text_and_never_markup(study: Path, tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)> & $x_{"
    named = study.rename(tmp_path / evil)
    data = results(named)
    data["command"] = data["versions"]["torch"] = evil
    for row in data["rows"]:
        row["recipe"] = evil
        row["model"] = {"cnn": evil}.get(row["model"], row["model"])
    rewrite(named, data)
    (named / "cnn").rename(named / evil)
    (named / "auxiliary" / "config.yaml").write_text(yaml.safe_dump({evil: evil}))
    shown = page(named, out=tmp_path / "page.html")
    assert evil in shown.text["versions"]
    assert evil in shown.text["failing"]
    assert not [tag for tag, name, _ in shown.attributes if name.startswith("on")]
    assert "x" not in [value for _, name, value in shown.attributes if name == "src"]


def test_several_studies_are_one_page_and_paired_over_the_seeds_that_they_share(
    trained: Path, study: Path, tmp_path: Path
) -> None:
    shown = page(study, trained / "two", out=tmp_path / "both.html")
    assert {"three: cnnpaper, 3 runs", "two: cnnpaper, 2 runs"} <= shown.table("results: ").keys()
    table = shown.table("significance: ")
    assert table["three: cnn minus two: cnn2 of 3 and 2 runs"][0].startswith("+0.00 ± 0.00")  # the same runs
    assert "6 comparisons are made" in " ".join(shown.text["significance"].split())
    assert [value for tag, name, value in shown.attributes if name == "aria-label" and "three: cnn" in value]


def test_studies_without_common_seeds_are_compared_as_two_samples(study: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(study, tmp_path / "other"))
    data = results(other)
    for row in data["rows"]:
        row["seed"] += 100
    rewrite(other, data)
    table = page(study, other).table("significance: ")
    difference, alone, corrected, verdict, seeds = table[
        "three: cnn minus other: cnn3 and 3 runs, not paired"
    ]
    errors = [row["test_error"] for row in data["rows"] if row["model"] == "cnn"]
    half = 2.7764 * np.std(errors, ddof=1) * (2 / 3) ** 0.5  # t of 4 degrees of freedom
    assert difference == f"+0.00 ± {100 * half:.2f}"
    assert (alone, corrected, verdict) == ("1.00", "1.00", "may be noise")
    assert seeds.isdigit() or seeds == "over 2000"


def test_other_data_are_told_as_the_reason_why_nets_are_not_compared(study: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(study, tmp_path / "other"))
    data = results(other)
    data["config"]["train_pairs"] = 500
    rewrite(other, data)
    shown = page(study, other)
    assert "three and other: not the same data: train_pairs 100 and 500" in shown.text["significance"]


def test_a_study_without_test_answers_or_events_is_shown_without_them(study: Path) -> None:
    (study / "cnn" / "mistakes.npz").unlink()
    (study / "weight_sharing" / "mistakes.npz").write_bytes(b"PK\3\4 damaged")
    shutil.copy(study / "auxiliary" / "mistakes.npz", study / "elsewhere.npz")
    for events in (study / "auxiliary").glob("events*"):
        events.unlink()
    shown = page(study)
    text = " ".join(shown.text["failing"].split())
    assert "Nothing to show of cnn: no mistakes.npz" in text
    assert "Nothing to show of weight_sharing: the run folder's mistakes.npz is damaged" in text
    assert "No curves of auxiliary" in shown.text["curves"]
    assert {"cnnpaper, 3 runs", "auxiliarypaper, 3 runs"} <= shown.table("results: ").keys()
    shutil.copy(study / "elsewhere.npz", study / "cnn" / "mistakes.npz")
    assert (
        "Nothing to show of cnn: the run folder's mistakes.npz is not of the runs"
        in page(study).text["failing"]
    )


def test_a_single_run_has_no_interval_and_an_unfinished_net_is_named(study: Path) -> None:
    data = results(study)
    data["rows"] = data["rows"][:1]
    rewrite(study, data)
    shown = page(study)
    assert shown.table("results: ")["cnnpaper, 1 run"][0] == f"{100 * data['rows'][0]['test_error']:.2f}"
    said = " ".join(shown.text[""].split())
    assert (
        "no results yet of auxiliary (epoch 2 of 2), weight_sharing (epoch 2 of 2); its training was int"
        in said
    )
    assert "nothing to compare" in shown.text["significance"]


def test_runs_that_diverged_are_told_and_in_no_figure(study: Path) -> None:
    data = results(study)
    for row in data["rows"]:
        row["fixed_pairs_error"] = 0.25
        if row["seed"] == 1 and row["model"] != "auxiliary":
            row |= {"diverged": True, "val_error": 0.99}
    rewrite(study, data)
    shown = page(study)
    row = shown.table("results: ")["cnnpaper, 2 of 3 runs; 1 diverged"]
    errors = [r["test_error"] for r in data["rows"] if r["model"] == "cnn" and r["seed"] != 1]
    assert row[0].startswith(f"{100 * np.mean(errors):.2f} ± {100 * np.std(errors, ddof=1):.2f}")
    assert any(cell.startswith("25.00 ± 0.00") for cell in row)
    assert "fixed pairs of all test digits" in shown.text["results"]
    assert "cnn: n = 2 of 3; 1 diverged" in " ".join(shown.text[""].split())
    assert "cnn 1 diverged diverged" in " ".join(shown.text["runs"].split())
    assert {
        "cnn minus weight_sharing2 of 3 runs",
        "cnn minus auxiliary2 of 3 runs",
    } <= shown.table("significance: ").keys()
    assert "of 400 answers wrong" in shown.text["failing"]
    assert "99.00" not in shown.text["results"]


def test_a_page_of_runs_that_all_diverged_tells_no_mean(study: Path) -> None:
    data = results(study)
    for row in data["rows"]:
        row["diverged"] = True
    rewrite(study, data)
    shown = page(study)
    assert "All runs diverged" in shown.text[""]
    assert "have too few runs that did not diverge" in shown.text["significance"]
    assert "all its runs diverged" in shown.text["failing"]


def test_the_framework_from_scratch_has_pages_too(tmp_path: Path) -> None:
    flags = ["--runs", "2", "--max_epochs", "2", "--log_dir", str(tmp_path)]
    scratch_framework([*flags, "--name", "disc"])
    scratch_framework([*flags, "--name", "cnn", "--net", "cnn", "--train_pairs", "100", "--workers", "1"])
    shown = page(tmp_path / "disc", tmp_path / "cnn")
    assert {"disc: discpaper, 2 runs", "cnn: cnnpaper, 2 runs"} <= shown.table("results: ").keys()
    assert "disc and cnn: not the same task" in shown.text["significance"]
    assert "No curves" not in shown.text["curves"]
    assert "No test answers were kept" in shown.text["worst"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("{", "is not JSON"),
        ("[]", "it must be an object, got list"),
        ("{}", "config must be an object, got None"),
        ({"rows": []}, "rows must be a list of runs, one at least"),
        ({"rows": [3]}, "rows[0] must have a model, got 3"),
        ({"versions": "1"}, "versions must be an object, got '1'"),
        ({"test_error": float("nan")}, "rows[0].test_error must be a share in [0, 1], got nan"),
        ({"test_error": "0.1"}, "rows[0].test_error must be a share in [0, 1], got '0.1'"),
        ({"train_error": None}, "rows[0].train_error must be a share in [0, 1], got None"),
        ({"val_error": 12}, "rows[0].val_error must be a share in [0, 1], got 12"),
        ({"diverged": "no"}, "rows[0].diverged must be true or false, got 'no'"),
        ({"fixed_pairs_error": 1.1}, "rows[0].fixed_pairs_error must be a share in [0, 1], got 1.1"),
        ({"format": None}, "was written by digit-duel 0.1.0, and this version reads the format of"),
        ({"seed": True}, "rows[0].seed must be a whole number, got True"),
        ({"seed": 2}, "rows[2] must have a seed of its own, got 2 again"),
        ({"model": "../cnn"}, "rows[0] must have a model, got {"),
        ({"recipe": 3}, "rows[0].recipe must be a name, one for each model, got 3"),
        ({"recipe": "modern"}, "rows[1].recipe must be a name, one for each model, got 'paper'"),
        ({"model": "other"}, "seeds must fit the rows"),
        ({"seed": 7}, "seeds must fit the rows"),
        ({"seeds": None}, "seeds must fit the rows"),
        ({"test_error": 0.123}, "summary must fit the rows"),
        ({"summary": [{"model": "cnn", "n": 15}]}, "summary must fit the rows"),
    ],
    ids=str,
)
def test_results_that_are_not_as_they_should_be_are_refused_in_one_line(
    change: Any, complaint: str, study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not isinstance(change, str):
        data = results(study)
        target = data if change.keys() & data.keys() else data["rows"][0]
        target |= change
        change = json.dumps(data)
    (study / "results.json").write_text(change)
    said = refused(capsys, str(study))
    assert complaint in said
    assert "results.json" in said


def test_folders_and_files_that_cannot_be_are_refused_in_one_line(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "give the folder of a study" in refused(capsys)
    assert "must be the folder of a study, with a results.json" in refused(capsys, str(study / "cnn"))
    assert "must be the folder of a study" in refused(capsys, str(study / "results.json"))
    assert "is given several times" in refused(capsys, str(study), f"{study}/../three")
    assert "ends in .html, got" in refused(capsys, str(study), "--out", str(study / "results.json"))
    blocked = study / "results.json" / "page.html"
    assert "results.json exists; choose another name" in refused(capsys, str(study), "--out", str(blocked))
    assert "must be the folder of a study" in refused(
        capsys, "gone", "--out", str(tmp_path / "no" / "a.html")
    )
    assert not (tmp_path / "no").exists()
    assert "--ot" in refused(capsys, str(study), "--ot", "x")
