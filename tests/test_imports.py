"""Who may import whom, and that a command's help needs nothing heavy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = {"benchmarks", "datamodules", "lightning_modules", "scratch_framework", "tests", "train", "tune"}

# Folder or file to those of ours that it must not import; of several the longest counts.
FORBIDDEN = {
    "lightning_modules": OURS - {"lightning_modules"},
    "datamodules": OURS - {"datamodules"},
    "train.py": OURS - {"lightning_modules", "datamodules"},
    "scratch_framework": OURS - {"scratch_framework", "lightning_modules"},
    "tune": {"train", "benchmarks", "tests"},
    # Hands the pairs of digits in; the framework and its experiments know nothing of where they come from.
    "scratch_framework/experiments/digits/command.py": OURS
    - {"scratch_framework", "lightning_modules", "datamodules"},
}
FILES = {
    path: forbidden
    for place, forbidden in sorted(FORBIDDEN.items())
    for path in ([ROOT / place] if place.endswith(".py") else sorted((ROOT / place).rglob("*.py")))
}


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize(("path", "forbidden"), FILES.items(), ids=lambda value: getattr(value, "name", ""))
def test_nobody_imports_whom_it_must_not(path: Path, forbidden: set[str]) -> None:
    assert not {name.partition(".")[0] for name in imported(path)} & forbidden


@pytest.mark.parametrize("path", sorted(ROOT.glob("[!.]*/**/*.py")), ids=lambda path: path.name)
def test_lightning_is_imported_by_its_own_name_only(path: Path) -> None:
    assert "lightning" not in {name.partition(".")[0] for name in imported(path)}


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        ("train", ("--model", "--runs", "--accelerator", "--config", "--print_config")),
        ("lightning_modules.report.__main__", ("studies", "--out")),
        ("lightning_modules.demo.__main__", ("nets", "--port", "--open")),
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
