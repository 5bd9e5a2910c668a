"""Which net is better, and is the difference more than noise? Paired over the same seeds and pairs.

Command lines:
    python -m benchmarks.compare runs/NAME                      the nets of one study
    python -m benchmarks.compare runs/NAME runs/OTHER           and those of others over the same seeds
"""

import json
from itertools import combinations
from pathlib import Path

from rich.table import Table

from lightning_modules.command import cli
from lightning_modules.command.console import make_console
from lightning_modules.command.file_format import KEY, refuse_other_format
from lightning_modules.evaluation.significance import PairedTest, paired_test, verdicts

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
    compared = [
        (first, second, *difference(ours, theirs))
        for (first, ours), (second, theirs) in combinations(nets, 2)
        if ours.keys() == theirs.keys()
    ]
    tests = [test for *_, test in compared if test]
    judged = dict(zip(map(id, tests), verdicts(tests), strict=True))
    table = Table(title="difference of errors in percent points, paired by run, 95 % interval (t)")
    table.caption = f"differs: p < 0.05 after Holm's correction for {len(tests)} comparisons"
    for column in ("first", "minus second", "n", "pairs", "difference", ""):
        table.add_column(column)
    for first, second, n, figure, test in compared:
        said = f"{test.mean:+.2f} ± {test.half_width:.2f}" if test else ""
        table.add_row(first, second, n, figure, said, judged[id(test)] if test else "diverged")
    make_console().print(table)


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
        results = json.loads((study / "results.json").read_text())
        rows = results["rows"]
        refuse_other_format(study / "results.json", results.get(KEY))
        nets: dict[str, Rows] = {}
        for row in rows:
            nets.setdefault(f"{study.name}, {row['model']}", {})[row["seed"]] = row
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise cli.CommandError(
            f"{study} must be the folder of a study, with a results.json: {error}"
        ) from error
    return list(nets.items())


def difference(ours: Rows, theirs: Rows) -> tuple[str, str, PairedTest | None]:
    """A comparison in percent points, of the seeds at which neither net diverged.

    Args:
        ours: Runs of a net.
        theirs: Runs of another with the same seeds.

    Returns:
        The number of runs, which test pairs, and the test; None where there are no such runs.
    """
    sound = [seed for seed in sorted(ours) if not any(rows[seed].get("diverged") for rows in (ours, theirs))]
    n = f"{len(sound)} of {len(ours)}" if len(sound) < len(ours) else str(len(ours))
    if not sound:
        return n, "", None
    for figure, pairs in FIGURES.items():
        first, second = ([rows[seed].get(figure) for seed in sound] for rows in (ours, theirs))
        mine, others = ([100 * error for error in errors if error is not None] for errors in (first, second))
        if len(mine) == len(others) == len(sound):
            return n, pairs, paired_test(mine, others)
    raise cli.CommandError(f"results.json of both studies must have {' or '.join(FIGURES)} for each run")


if __name__ == "__main__":
    cli.run(
        compare,
        "python -m benchmarks.compare",
        positional={"studies": "Folders of studies, such as runs/NAME."},
    )
