"""Which net is better, and is the difference more than noise? Paired over the same seeds and pairs.

Command lines:
    python -m benchmarks.compare runs/NAME                      the nets of one study
    python -m benchmarks.compare runs/NAME runs/OTHER           and those of others over the same seeds
"""

import json
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from rich.table import Table

from lightning_modules.command import cli
from lightning_modules.command.console import make_console
from lightning_modules.command.file_format import KEY, refuse_other_format
from lightning_modules.evaluation.significance import PairedTest, paired_test, sound_pairs, verdicts
from lightning_modules.results.runs import Run, read_results

PAIRS = {"all_test_error": "all", "test_error": "own"}  # test pairs, by figure


def compare(studies: list[str], verbose: bool = False) -> None:
    """Compare every two nets of some studies."""
    nets = [net for study in studies for net in read(Path(study))]
    if len(nets) < 2:
        raise cli.CommandError(f"studies must have two nets between them, got {len(nets)}")
    compared = [
        (first, second, *difference(ours, theirs))
        for (first, ours), (second, theirs) in combinations(nets, 2)
        if {run.seed for run in ours} == {run.seed for run in theirs}
    ]
    tests = [test for *_, test in compared if test]
    judged = dict(zip(map(id, tests), verdicts(tests), strict=True))
    table = Table(title="difference of errors in percent points, paired by run, 95 % interval (t)")
    table.caption = f"differs: p < 0.05 after Holm's correction for {len(tests)} comparisons"
    for column in ("first", "minus second", "n", "pairs", "difference", ""):
        table.add_column(column)
    for first, second, n, pairs, test in compared:
        said = f"{test.mean:+.2f} ± {test.half_width:.2f}" if test else ""
        table.add_row(first, second, n, pairs, said, judged[id(test)] if test else "diverged")
    make_console().print(table)


def read(study: Path) -> list[tuple[str, Sequence[Run]]]:
    """Name and runs of each net in a study's folder.

    Raises:
        CommandError: It has no results.
    """
    file = study / "results.json"
    try:
        found = json.loads(file.read_text()).get(KEY)
    except (OSError, ValueError, AttributeError) as error:
        raise cli.CommandError(f"{study} must be the folder of a study, with {file.name}: {error}") from error
    refuse_other_format(file, found)
    return [(f"{study.name}, {net.model}", net.runs) for net in read_results(file)]


def difference(ours: Sequence[Run], theirs: Sequence[Run]) -> tuple[str, str, PairedTest | None]:
    """Compare two nets in percent points, at the seeds at which neither diverged.

    Returns:
        The number of runs, which test pairs, and the test; None where there are no such runs.
    """
    figure, *errors = sound_pairs(ours, theirs)
    first, second = ([100 * error for error in own] for own in errors)
    n = f"{len(first)} of {len(ours)}" if len(first) < len(ours) else str(len(ours))
    return (n, PAIRS[figure], paired_test(first, second)) if first else (n, "", None)


if __name__ == "__main__":
    cli.run(
        compare,
        "python -m benchmarks.compare",
        positional={"studies": "Folders of studies, such as runs/NAME."},
    )
