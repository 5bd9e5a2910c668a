"""Which net is better, and is the difference more than noise? Paired over the same seeds and pairs.

Command lines:
    python -m benchmarks.compare runs/NAME                      the nets of one study
    python -m benchmarks.compare runs/NAME runs/OTHER           and those of others over the same seeds
"""

import json
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lightning_modules import cli
from lightning_modules.significance import paired

FIGURES = {"all_test_error": "all", "test_error": "own"}  # test pairs, by figure; the first that both have

Rows = dict[int, dict[str, float | None]]  # seed to figures


def compare(studies: list[str], verbose: bool = False) -> None:
    """Compare every two nets of some studies.

    Args:
        studies: Folders of studies.
        verbose: Whether to show tracebacks.
    """
    nets = [net for study in studies for net in read(Path(study))]
    if len(nets) < 2:
        raise cli.CommandError(f"studies must have two nets between them, got {len(nets)}")
    table = Table(title="difference of errors in percent points, paired by run, 95 % interval (t)")
    for column in ("first", "less second", "n", "pairs", "difference", ""):
        table.add_column(column)
    for (first, ours), (second, theirs) in combinations(nets, 2):
        if ours.keys() == theirs.keys():
            table.add_row(first, second, *difference(ours, theirs))
    Console().print(table)


def read(study: Path) -> list[tuple[str, Rows]]:
    """The nets of a study.

    Args:
        study: Its folder.

    Returns:
        Name and runs of each.

    Raises:
        CommandError: It has no results.
    """
    try:
        rows = json.loads((study / "results.json").read_text())["rows"]
        nets: dict[str, Rows] = {}
        for row in rows:
            nets.setdefault(f"{study.name}, {row['model']}", {})[row["seed"]] = row
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise cli.CommandError(
            f"{study} must be the folder of a study, with a results.json: {error}"
        ) from error
    return list(nets.items())


def difference(ours: Rows, theirs: Rows) -> Sequence[str]:
    """Cells of a comparison, of the seeds at which neither net diverged.

    Args:
        ours: Runs of a net.
        theirs: Runs of another with the same seeds.
    """
    sound = [seed for seed in sorted(ours) if not any(rows[seed].get("diverged") for rows in (ours, theirs))]
    n = f"{len(sound)} of {len(ours)}" if len(sound) < len(ours) else str(len(ours))
    if not sound:
        return n, "", "", "diverged"
    every = [rows[seed] for seed in sound for rows in (ours, theirs)]
    figure = next(name for name in FIGURES if all(row.get(name) is not None for row in every))
    values = [[100 * (rows[seed][figure] or 0.0) for seed in sound] for rows in (ours, theirs)]
    average, width = paired(*values)
    verdict = "noise" if abs(average) <= width else "differs"
    return n, FIGURES[figure], f"{average:+.2f} ± {width:.2f}", verdict


if __name__ == "__main__":
    cli.run(
        compare,
        "python -m benchmarks.compare",
        positional={"studies": "Folders of studies, such as runs/NAME."},
    )
