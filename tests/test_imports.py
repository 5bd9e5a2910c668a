"""Who may import whom, and that a command's help needs nothing heavy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = {"benchmarks", "datamodules", "lightning_modules", "scratch_framework", "tests", "train", "tune"}

COMMAND, RESULTS = "lightning_modules.command", "lightning_modules.results"
REPLICAS, NETWORKS, MODELS, EVALUATION, TRAINING, PREDICT = (
    f"lightning_modules.{room}"
    for room in ("replicas", "networks", "models", "evaluation", "training", "predict")
)
CORE, IMAGES, FAST = (f"scratch_framework.{room}" for room in ("core", "images", "fast"))
SCRATCH = {CORE, IMAGES, FAST, "scratch_framework"}  # the last is the package's public names

# The drawing of docs/architecture.md: a room, or a file, to what of ours it may import beside itself. Of
# several places that hold a file the longest counts.
MAY_IMPORT = {
    "train.py": {"lightning_modules", "datamodules"},
    "datamodules": set(),
    "lightning_modules/__init__.py": {MODELS},
    "lightning_modules/command": set(),
    "lightning_modules/replicas": {COMMAND},
    "lightning_modules/networks": {COMMAND, REPLICAS},
    "lightning_modules/results": {COMMAND},
    "lightning_modules/models": {COMMAND, REPLICAS, NETWORKS},
    "lightning_modules/evaluation": {COMMAND, REPLICAS, NETWORKS, MODELS, RESULTS},
    "lightning_modules/training": {COMMAND, REPLICAS, NETWORKS, MODELS, RESULTS, EVALUATION},
    "lightning_modules/predict": {COMMAND, REPLICAS, NETWORKS, MODELS, RESULTS, EVALUATION},
    "lightning_modules/demo": {COMMAND, MODELS, PREDICT},
    "lightning_modules/report": {COMMAND, RESULTS, EVALUATION},
    "scratch_framework/core": set(),
    "scratch_framework/images": {CORE},
    "scratch_framework/fast": {CORE},
    "scratch_framework/__init__.py": SCRATCH,
    "scratch_framework/__main__.py": {COMMAND, "scratch_framework.experiments"},
    "scratch_framework/examples": {"scratch_framework"},  # the public names alone
    "scratch_framework/examples/digits.py": {"scratch_framework", "datamodules"},
    "scratch_framework/experiments": SCRATCH | {COMMAND, RESULTS, REPLICAS},
    "scratch_framework/experiments/digits": SCRATCH | {COMMAND, RESULTS, REPLICAS, TRAINING},
    # Hands the pairs of digits in; the framework and its experiments know nothing of where they come from.
    "scratch_framework/experiments/digits/command.py": {
        *(COMMAND, MODELS, REPLICAS, RESULTS, "datamodules", "scratch_framework.experiments.digits"),
    },
    "tune": {"lightning_modules", "datamodules", "scratch_framework.experiments"},
}
FILES = {
    path: (place.removesuffix(".py").replace("/", "."), allowed)
    for place, allowed in sorted(MAY_IMPORT.items())
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


def is_in(name: str, place: str) -> bool:
    return name == place or (name.startswith(f"{place}.") and place != "scratch_framework")


@pytest.mark.parametrize(("path", "rule"), FILES.items(), ids=lambda value: getattr(value, "name", ""))
def test_a_room_imports_only_the_rooms_below_it(path: Path, rule: tuple[str, set[str]]) -> None:
    itself, allowed = rule
    ours = {name for name in imported(path) if name.partition(".")[0] in OURS}
    assert not {name for name in ours if not any(is_in(name, place) for place in {itself, *allowed})}


@pytest.mark.parametrize("package", ["lightning_modules", "scratch_framework", "tune", "datamodules"])
def test_every_file_has_its_rule_and_a_package_has_at_most_ten_rooms(package: str) -> None:
    assert not set((ROOT / package).rglob("*.py")) - FILES.keys() - {ROOT / package / "__init__.py"}
    assert len([path for path in (ROOT / package).iterdir() if (path / "__init__.py").exists()]) <= 10


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


@pytest.mark.parametrize(
    "modules",
    [
        "experiments.disc.experiment scratch_framework.experiments.disc.training",
        "experiments.digits.experiment scratch_framework.experiments.digits.training",
    ],
)
def test_an_experiment_from_scratch_loads_without_lightning_and_the_pairs(modules: str) -> None:
    script = (
        f"import sys, scratch_framework.{modules.replace(' ', ', ')}\n"
        "assert not {'pytorch_lightning', 'torchmetrics', 'datamodules'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
