"""Learning curves out of a run folder's TensorBoard events: mean over the runs, one deviation about it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tensorboard.backend.event_processing.directory_watcher import DirectoryDeletedError
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_modules.results.tensorboard import CURVES, band


@dataclass(frozen=True)
class Curve:
    """An error after each of E epochs."""

    mean: NDArray[np.float64]  # (E,)
    low: NDArray[np.float64]  # (E,)
    high: NDArray[np.float64]  # (E,)


def read_curves(folder: Path) -> dict[str, Curve]:
    """The errors of training and validation, as shares.

    Args:
        folder: A run folder.

    Returns:
        "train" and "val" to curves; a stage that was not logged is missing.
    """
    if not list(folder.glob("events.out.tfevents.*")):
        return {}
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 1})  # 0: all
    try:
        events.Reload()
    except (OSError, DirectoryDeletedError):
        return {}
    logged = set(events.Tags()["scalars"])
    curves: dict[str, Curve] = {}
    for stage in CURVES:
        tags = [f"{stage}/error", *band(f"{stage}/error")]
        if logged.issuperset(tags):
            # by step: of one that was logged again the later value counts
            values = [{event.step: event.value for event in events.Scalars(tag)} for tag in tags]
            curves[stage] = Curve(*(np.array([line[step] for step in sorted(line)]) for line in values))
    return curves
