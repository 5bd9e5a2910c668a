"""Every benchmark is found by its short name, and the pages name no other."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMANDS = {
    path.stem: path
    for path in (ROOT / "benchmarks").glob("*/*.py")
    if re.search("^if __name__", path.read_text(), flags=re.MULTILINE)
}
PAGES = [ROOT / "README.md", ROOT / ".ci" / "run", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_readme_lists_every_command() -> None:
    listed = re.findall(r"^\| `benchmarks\.(\w+)`", (ROOT / "benchmarks" / "README.md").read_text(), re.M)
    assert sorted(listed) == sorted(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_found_by_its_short_name(name: str) -> None:
    spec = find_spec(f"benchmarks.{name}")
    assert spec is not None
    assert spec.origin == str(COMMANDS[name])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_names_commands_that_are_there(page: Path) -> None:
    assert set(re.findall(r"-m benchmarks\.(\w+)", page.read_text())) <= COMMANDS.keys()
