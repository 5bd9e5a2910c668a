"""The experiment with digits stands beside the framework: of Lightning it sees only the data handed in."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import scratch_framework

FOLDER = Path(scratch_framework.__file__).parent / "experiments" / "digits"
SHARED = {
    *("bounds", "checkpoints", "cli", "console", "cores", "figures", "finite", "folder"),
    *("per_replica", "programs", "progress"),
    *("results", "server", "study_log", "workers"),
}
MORE = {"command.py": {"recipes"}, "exchange.py": {"replicas"}}


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_of_the_lightning_half_only_the_shared_parts_are_imported(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            root, _, rest = node.module.partition(".")
            if root == "lightning_modules":
                names = {rest or alias.name for alias in node.names}
                assert names <= SHARED | MORE.get(path.name, set())


def test_the_experiment_loads_without_lightning() -> None:
    script = (
        "import sys, scratch_framework.experiments.digits.experiment\n"
        "import scratch_framework.experiments.digits.training\n"
        "assert not {'pytorch_lightning', 'torchmetrics', 'datamodules'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=FOLDER.parents[2], check=True)
