"""The nets on the page: one for each checkpoint, with what is known of it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning_modules.command.cli import CommandError
from lightning_modules.models.base import PairModule
from lightning_modules.models.loading import load_model, select_runs
from lightning_modules.models.registry import MODULES
from lightning_modules.results.reading import read_results
from lightning_modules.results.runs import Run

CHECKPOINT = "checkpoint.ckpt"
RESULTS = "results.json"
HOW = "`python train.py --name NAME` makes runs/NAME"


@dataclass(frozen=True)
class Net:
    """A trained net, one of a checkpoint's."""

    path: Path  # of the checkpoint
    model: PairModule  # of this net alone
    recipe: str | None  # None where no results.json says it
    test_error: float | None  # a share in [0, 1], of the run that it is of; None likewise
    runs: int  # sound runs of the checkpoint that it was chosen from
    ensemble: int  # nets that its run averages

    @property
    def name(self) -> str:
        """The model's, which is that of the folder."""
        return self.path.absolute().parent.name

    @property
    def study(self) -> str:
        """The name of the study's folder."""
        return self.path.absolute().parents[1].name


def find_checkpoints(paths: Sequence[Path]) -> list[Path]:
    """The checkpoints that arguments name.

    Args:
        paths: Folders of studies or of single models, or checkpoint files.

    Returns:
        Files; those of a study in the order of its results.

    Raises:
        CommandError: There are none, or a folder has none, or one is named twice.
    """
    if not paths:
        raise CommandError(f"give the folder of a study, such as runs/NAME; {HOW}")
    found: dict[Path, Path] = {}
    for file in (file for path in paths for file in _checkpoints(path)):
        if file.resolve() in found:
            raise CommandError(f"give each checkpoint once; {file} is given several times")
        found[file.resolve()] = file
    return list(found.values())


def _checkpoints(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]  # if there is no such file, loading says so
    if (path / CHECKPOINT).is_file():
        return [path / CHECKPOINT]
    files = sorted(path.glob(f"*/{CHECKPOINT}"))
    if not files:
        raise CommandError(f"{path} must be the folder of a study, with a <model>/{CHECKPOINT}; {HOW}")
    return sorted(files, key=lambda file: [*MODULES, file.parent.name].index(file.parent.name))


def load_net(path: Path) -> Net:
    """Load the net of a checkpoint that stands for it.

    It is of the run with the lowest validation error, so that the test error stays a fair one. Where no
    validation error is known, it is of the first run that did not diverge. Of an ensemble it is the first.

    Args:
        path: The checkpoint.

    Raises:
        CommandError: It, or the results.json of its study, is not what it should be.
    """
    model = load_model(path)
    recipe, runs = _results(path, len(model.seeds) // model.ensemble)
    lost = select_runs(model, path)
    sound = [run for number, run in enumerate(runs) if number not in lost]
    errors = [run.val_error for run in sound if run.val_error is not None]
    chosen = errors.index(min(errors)) if errors and len(errors) == len(sound) else 0
    return Net(
        path=path,
        model=model.replica(chosen * model.ensemble).float(),
        recipe=recipe,
        test_error=sound[chosen].test_error if sound else None,
        runs=len(model.seeds) // model.ensemble,
        ensemble=model.ensemble,
    )


def _results(path: Path, count: int) -> tuple[str | None, list[Run]]:
    """Recipe and runs of a checkpoint; none where the results of its study are not beside it."""
    folder = path.absolute().parent
    for model in read_results(folder.parent / RESULTS):
        if model.model == folder.name and len(model.runs) == count:
            return model.recipe, list(model.runs)
    return None, []


def data_dir(path: Path) -> str | None:
    """The folder of the digits that the nets of a checkpoint were trained on; None is the embedded MNIST."""
    results = path.absolute().parents[1] / RESULTS
    config = json.loads(results.read_text()).get("config", {}) if results.exists() else {}
    return config.get("data_dir") if isinstance(config, dict) else None
