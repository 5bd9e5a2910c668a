"""The stale labels are stale, and nothing else differs."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks.results.paper_mistake import StaleLabels, paper_mistake
from datamodules import DigitPairs


def test_stale_labels_agree_with_the_digits_by_chance_only_and_images_and_targets_stay_right() -> None:
    seeds = [0, 1, 14]
    stale, right = StaleLabels(seed=seeds), DigitPairs(seed=seeds)
    stale.setup()
    right.setup()
    assert torch.equal(stale.train_set.index, right.train_set.index)
    assert torch.equal(stale.train_set.target, right.train_set.target)
    assert torch.equal(stale.test_set.classes, right.test_set.classes)
    agreement = (stale.train_set.classes == right.train_set.classes).float().mean((0, 2))
    assert agreement.tolist() == pytest.approx([0.1] * 3, abs=0.04)


@pytest.mark.slow
def test_the_command_prints_both_ways_beside_the_papers_figure(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    paper_mistake(runs=1, max_epochs=1, out=str(tmp_path / "figures.json"))
    printed = capsys.readouterr().out
    assert "15.20 ± 0.90" in printed
    rows = json.loads((tmp_path / "figures.json").read_text())["rows"]
    assert ["stale" in row["recipe"] for row in rows] == [False, True, False, True]
