"""docs/architecture.md: its diffs apply to the house as it stands, and what they add works."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from events import scalars

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
DIFFS = re.findall(r"^```diff\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
COMPILED = Path("lightning_modules/replicas/fused/loops/__pycache__")
FLAGS = (
    "--accelerator cpu --workers 1 --engine torch --head concatenate --margin 2 --pair_smoothing 0.1 --runs 2"
    " --augment bilinear --two_views_from 0 --max_epochs 1 --train_pairs 50 --val_pairs 20 --test_pairs 20"
    " --log_dir runs --name new"
)
SCRIPT = f"""
import train
from lightning_modules.report.__main__ import main
train.main({FLAGS!r}.split())
main(["runs/new"])
"""


@pytest.mark.slow
def test_the_head_model_flag_and_metric_of_its_diffs_work_wherever_the_page_says(tmp_path: Path) -> None:
    shutil.copy(ROOT / "train.py", tmp_path)
    for package in ("datamodules", "lightning_modules"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    for compiled in (ROOT / COMPILED).glob("*.nb[ic]"):  # what numba has made by now; files keep their times
        (tmp_path / COMPILED).mkdir(exist_ok=True)
        shutil.copy(compiled, tmp_path / COMPILED)
    assert len(DIFFS) == 4
    for diff in DIFFS:
        subprocess.run(["git", "apply", "-"], input=diff, text=True, cwd=tmp_path, check=True)
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    study = tmp_path / "runs" / "new"
    rows = json.loads((study / "results.json").read_text())["rows"]
    assert {row["model"] for row in rows} == {"cnn", "weight_sharing", "auxiliary", "hinge"}
    assert all(0 < row["test_brier_score"] < 1 for row in rows)
    assert "Brier score" in done.stdout
    assert "Brier score" in (study / "report.html").read_text()
    tags = {f"{place}_score" for place in ("train/brier", "val/brier", "when_trained/test_brier")}
    assert tags <= scalars(study / "hinge").keys()
    config = (study / "hinge" / "config.yaml").read_text()
    assert re.search(r"^margin: 2", config, flags=re.MULTILINE)
    assert re.search(r"^head: concatenate", config, flags=re.MULTILINE)
    assert re.search(r"^pair_smoothing: 0.1", config, flags=re.MULTILINE)
