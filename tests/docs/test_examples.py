"""The programs in docs/examples run, learn, and stand in docs/replicate.md; so does the code of that page."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lightning_modules import replicate

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.py"))
PAGE = (ROOT / "docs" / "replicate.md").read_text()


def run(name: str, **flags: int) -> Any:
    return runpy.run_path(str(ROOT / "docs" / "examples" / f"{name}.py"))["main"](**flags)


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)  # a plain DataLoader shuffles by torch's global generator


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_a_page_that_the_docs_link(path: Path) -> None:
    assert 15 <= len(path.read_text().splitlines()) <= 70
    assert f"(examples/{path.name})" in PAGE


def test_the_seeds_learn_and_their_band_is_in_tensorboard(tmp_path: Path) -> None:
    errors = run("seeds", runs=3, epochs=2, samples=640)
    assert len(set(errors)) == 3
    assert max(errors) < 0.5  # chance has 0.9
    assert list(tmp_path.glob("runs/seeds/*/events*"))


def test_the_mean_of_nets_predicts_better_than_one_of_them() -> None:
    single, ensemble = run("tabular", runs=4, epochs=12, rows=400)
    assert ensemble < single < 24  # which is the variance of what is to be learnt


def test_the_grid_finds_that_a_tiny_rate_is_the_worst() -> None:
    found = run("rates", runs=2, epochs=1, samples=300)
    assert max(found, key=found.__getitem__)[0] == 0.0001


def test_two_nets_are_compared_seed_by_seed() -> None:
    test = run("architectures", runs=4, epochs=1, samples=300)
    assert 0 < test.half_width < 100
    assert 0 <= test.p <= 1


def test_the_code_of_the_page_runs() -> None:
    training, bare, registered = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)
    names: dict[str, Any] = {"images": torch.rand(8, 1, 14, 14)}
    names["images_of_each"] = torch.rand(8, 16, 1, 14, 14)
    exec(training.replace("5000", "64").replace("500", "64").replace("max_epochs=5", "max_epochs=1"), names)
    assert isinstance(names["net"], nn.Sequential)
    exec(bare, names)
    assert names["outputs"].shape == (8, 16, 10)
    exec(registered, names)
    net = replicate(lambda: nn.Sequential(nn.Conv2d(1, 4, 3), names["Scale"](4)), range(3))
    assert net(names["images"]).shape == (8, 3, 4, 12, 12)
    assert net.engine == "wide"
