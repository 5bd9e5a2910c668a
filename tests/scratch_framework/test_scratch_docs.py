"""docs/scratch_framework.md shows code as it stands in the framework."""

import ast
import re
from pathlib import Path

import pytest

import scratch_framework as sf

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "docs" / "scratch_framework.md").read_text().split("\n## ")[1:]
ROWS = [
    (page.partition("\n")[0], code)
    for page in PAGES
    for code in re.findall(r"^\|.*\| `([^`]+)` \|$", page, flags=re.MULTILINE)
]
KINDS = {name: getattr(sf, name) for name in sf.__all__ if isinstance(getattr(sf, name), type)}
BASES = {sf.Module, sf.ModuleList, sf.Sequential, sf.Criterion}  # they compute nothing of their own
LAYERS = [
    name for name, kind in KINDS.items() if issubclass(kind, (sf.Module, sf.Criterion)) and kind not in BASES
]


def statements(file: Path) -> set[str]:
    """Every statement of a file that runs: no comments, no docstrings."""
    return {ast.unparse(node) for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.stmt)}


@pytest.mark.parametrize(("title", "code"), ROWS)
def test_the_code_beside_a_formula_is_a_statement_of_the_framework(title: str, code: str) -> None:
    (page,) = (page for page in PAGES if page.startswith(f"{title}\n"))
    files = [ROOT / "docs" / link for link in re.findall(r"\]\((\.\./scratch_framework/[\w/]+\.py)\)", page)]
    assert any(ast.unparse(ast.parse(code)) in statements(file) for file in files)


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_and_loss_has_a_page_of_formulas_that_says_what_torch_does_better(name: str) -> None:
    (page,) = (page for page in PAGES if re.search(rf"\b{name}\b", page.partition("\n")[0]))
    assert re.search(
        r"^\| formula \| code \|\n\|---\|---\|\n(\|.*\| `[^`]+` \|\n)+", page, flags=re.MULTILINE
    )
    assert "*What torch does better:*" in page
