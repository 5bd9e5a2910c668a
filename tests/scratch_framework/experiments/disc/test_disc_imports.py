"""The experiment stands beside the framework: no Lightning, and of ours only what both halves share."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import scratch_framework

FOLDER = Path(scratch_framework.__file__).parent
FILES = [FOLDER / "__main__.py", *sorted((FOLDER / "experiments" / "disc").glob("*.py"))]
SHARED = {
    *("bounds", "checkpoints", "cli", "console", "figures", "finite", "folder"),
    *("progress", "results", "study_log"),
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_of_the_lightning_half_only_the_shared_parts_are_imported(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            root, _, rest = node.module.partition(".")
            assert root not in {"pytorch_lightning", "datamodules", "tune", "train"}
            if root == "lightning_modules":
                assert {rest or alias.name for alias in node.names} <= SHARED


def test_the_experiment_loads_without_lightning() -> None:
    script = (
        "import sys, scratch_framework.experiments.disc.experiment\n"
        "import scratch_framework.experiments.disc.grid_report\n"
        "assert not {'pytorch_lightning', 'torchmetrics'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=FOLDER.parent, check=True)
