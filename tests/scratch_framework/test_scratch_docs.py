"""docs/scratch_framework.md shows code as it stands in the framework."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "docs" / "scratch_framework.md").read_text().split("\n## ")[1:]
ROWS = [
    (page.partition("\n")[0], code)
    for page in PAGES
    for code in re.findall(r"^\|.*\| `([^`]+)` \|$", page, flags=re.MULTILINE)
]


@pytest.mark.parametrize(("title", "code"), ROWS)
def test_the_code_beside_a_formula_is_the_frameworks(title: str, code: str) -> None:
    (page,) = (page for page in PAGES if page.startswith(f"{title}\n"))
    files = [ROOT / "docs" / link for link in re.findall(r"\]\((\.\./scratch_framework/\w+\.py)\)", page)]
    assert any(code in file.read_text() for file in files)


def test_every_page_of_a_layer_has_formulas_and_says_what_torch_does_more_cleverly() -> None:
    layers = [page for page in PAGES if "../scratch_framework/" in page.partition("|")[0]][:-1]
    assert len(layers) == 10
    for page in layers:
        assert "| formula | code |" in page
        assert "*Torch more cleverly:*" in page
