"""Who imports whom is what docs/architecture.md draws; and a command's help needs nothing heavy."""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = {"benchmarks", "datamodules", "lightning_modules", "scratch_framework", "tests", "train", "tune"}

PACKAGES = ("lightning_modules", "scratch_framework")  # drawn room by room; the others are one room each
PUBLIC = {"core", "images", "sequences", "fast"}  # whose names the package `scratch_framework` offers
HOUSE = (ROOT / "docs" / "architecture.md").read_text()
(DRAWING,) = re.findall(r"^```mermaid\n(.*?)^```", HOUSE, flags=re.MULTILINE | re.DOTALL)
WITHOUT_COMMAND = PUBLIC | {"command", "datamodules", "examples"}  # the others import it
ARROWS: dict[str, set[str]] = {}
for room, below in re.findall(r"^ *(\w+) --> ([\w& ]+)$", DRAWING, flags=re.MULTILINE):
    ARROWS[room] = ARROWS.get(room, set()) | set(below.split(" & "))


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def rooms(name: str) -> set[str]:
    """The rooms of the drawing that a module of ours is in, or offers the names of."""
    package, _, rest = name.partition(".")
    if package not in PACKAGES:
        return {package}
    if rest:
        return {rest.partition(".")[0]}
    return PUBLIC if package == "scratch_framework" else {"models"}


def room_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[1] if parts[0] in PACKAGES else parts[0]


FILES: dict[str, set[str]] = {}  # room to the rooms that its files import
for file in sorted({ROOT / "train.py", *(path for top in OURS for path in (ROOT / top).rglob("*.py"))}):
    if room_of(file) not in ("__init__", "__main__", "benchmarks", "tests"):
        ours = {name for name in imported(file) if name.partition(".")[0] in OURS}
        found = {room for name in ours for room in rooms(name)} - {room_of(file)}
        FILES[room_of(file)] = FILES.get(room_of(file), set()) | found


@pytest.mark.parametrize("room", sorted(FILES))
def test_a_room_imports_the_rooms_that_the_drawing_shows_and_no_others(room: str) -> None:
    command = set() if room in WITHOUT_COMMAND else {"command"}
    assert FILES[room] == ARROWS.get(room, set()) | command


def test_no_arrow_of_the_drawing_leads_back() -> None:
    tuple(TopologicalSorter(ARROWS).static_order())  # raises where there is a circle


@pytest.mark.parametrize("package", ["lightning_modules", "scratch_framework", "tune", "datamodules"])
def test_a_package_has_at_most_ten_rooms(package: str) -> None:
    assert len([path for path in (ROOT / package).iterdir() if (path / "__init__.py").exists()]) <= 10


@pytest.mark.parametrize("path", sorted(ROOT.glob("[!.]*/**/*.py")), ids=lambda path: path.name)
def test_lightning_is_imported_by_its_own_name_only(path: Path) -> None:
    assert "lightning" not in {name.partition(".")[0] for name in imported(path)}


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        ("train", ("--model", "--runs", "--accelerator", "--config", "--print_config")),
        ("lightning_modules.report.__main__", ("studies", "--out")),
        ("lightning_modules.demo.__main__", ("nets", "--out", "--open")),
        ("tune.__main__", ("--model", "--sampler", "--storage", "--config", "--print_config")),
    ],
)
def test_help_is_printed_without_torch(command: str, flags: tuple[str, ...]) -> None:
    script = (
        f"import sys\nfrom {command} import main\n"
        "try: main(['--help'])\nexcept SystemExit: assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for flag in flags:
        assert flag in done.stdout


def test_an_experiment_from_scratch_loads_without_lightning_and_the_pairs() -> None:
    modules = [f"{kind}.{module}" for kind in ("disc", "digits") for module in ("experiment", "training")]
    script = (
        f"import sys, {', '.join(f'scratch_framework.experiments.{name}' for name in modules)}\n"
        "assert not {'pytorch_lightning', 'torchmetrics', 'datamodules'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
