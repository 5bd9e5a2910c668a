"""Flags that the commands share which train runs."""

import math
from dataclasses import dataclass

from lightning_modules.command.limits import MOST_RUNS
from lightning_modules.command.settings import Settings, setting


@dataclass(frozen=True)
class RunFlags(Settings):
    """Flags of every command that trains runs of a network."""

    runs: int = setting(
        15,
        "Runs of each network, each with data, initialisation, order and dropout of its own.",
        within=(1, MOST_RUNS),
    )
    seed: int = setting(0, "Seed of the first run; the next ones count up.", within=(0, math.inf))
    log_dir: str = setting("runs", "Folder of all studies, for TensorBoard.")

    @property
    def seeds(self) -> list[int]:
        return list(range(self.seed, self.seed + self.runs))


@dataclass(frozen=True)
class PairFlags(RunFlags):
    """Flags of every command that trains on pairs of digits."""

    train_pairs: int = setting(1000, "Training pairs of a run.")
    val_pairs: int = setting(
        500, "Validation pairs of a run, of train digits that its training pairs do not use; may be 0."
    )
    test_pairs: int = setting(1000, "Test pairs of a run.")
    data_dir: str | None = setting(
        None, "Folder of IDX files of MNIST or a relative; the embedded MNIST by default."
    )
