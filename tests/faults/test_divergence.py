"""A rate that is much too high: the runs that diverged are named, and their rows say so."""

import json
from pathlib import Path

import pytest
from refusal import Main

import train
from lightning_modules.report.__main__ import main as report
from lightning_modules.results.runs import ModelRuns, Run, refuse_diverged
from scratch_framework.__main__ import main as scratch

SIZES = "--max_epochs 2 --train_pairs 20 --val_pairs 10 --test_pairs 10 --batch_size 10 --workers 1"
CASES: dict[str, tuple[Main, str, str]] = {
    "paper": (train.main, f"{SIZES} --accelerator cpu --model cnn", "cnn"),
    "modern": (
        train.main,
        f"{SIZES} --accelerator cpu --model weight_sharing --recipe modern --width 4",
        "weight_sharing",
    ),
    "digits": (scratch, f"{SIZES} --net cnn", "cnn"),
    "disc": (scratch, "--max_epochs 2 --train_points 50 --test_points 20 --loss ce", "disc"),
}


@pytest.mark.parametrize("name", CASES)
def test_runs_that_diverged_are_named_and_kept(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main, flags, model = CASES[name]
    with pytest.raises(SystemExit) as stop:
        main([*flags.split(), "--lr", "1e30", "--runs", "2", "--log_dir", str(tmp_path), "--name", "mine"])
    said = capsys.readouterr().err
    assert stop.value.code == 2
    assert said.count("\n") == 1, said
    assert (
        f"{model} of seed 0, 1 diverged, with losses or weights that are not finite: take a smaller" in said
    )
    rows = json.loads((tmp_path / "mine" / "results.json").read_text())["rows"]
    assert [row["diverged"] for row in rows] == [True, True]
    assert not list(tmp_path.rglob("*.part"))
    report([str(tmp_path / "mine")])


def test_only_the_runs_that_diverged_are_named() -> None:
    runs = [Run(0, 0.0, 0.1), Run(1, 0.5, 0.5, diverged=True), Run(2, 0.0, 0.1)]
    refuse_diverged([ModelRuns("cnn", "paper", runs[:1])])
    with pytest.raises(Exception, match=r"^cnn of seed 1 diverged"):
        refuse_diverged([ModelRuns("cnn", "paper", runs), ModelRuns("auxiliary", "paper", runs[:1])])
