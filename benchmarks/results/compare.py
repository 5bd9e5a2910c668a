"""Which net is better, and is the difference more than noise?

Nets are compared run by run over the seeds that both have, and by Welch's test where they share none.

Command lines:
    python -m benchmarks.compare runs/NAME                      the nets of one study
    python -m benchmarks.compare runs/NAME runs/OTHER           and those of others on the same data
"""

from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

from lightning_modules.command import cli
from lightning_modules.command.console import make_console
from lightning_modules.report.comparing import SEEN, compare_all
from lightning_modules.report.study import read_studies


def compare(studies: list[str], verbose: bool = False) -> None:
    """Compare every two nets of some studies."""
    nets = [net for study in read_studies([Path(study) for study in studies]) for net in study.nets]
    if len(nets) < 2:
        raise cli.CommandError(f"studies must have two nets between them, got {len(nets)}")
    differences, reasons = compare_all(nets)
    table = Table(title="difference of errors in percent points, 95 % interval (t)", box=SIMPLE_HEAD)
    table.caption = (
        f"differs: p < 0.05 after Holm's correction for {len(differences)} comparisons\n"
        f"seeds: of each net, to find a difference of {100 * SEEN:g} points with 80 % power"
    )
    table.add_column("first minus second net")
    table.add_column("runs")
    for column in ("difference", "", "seeds"):
        table.add_column(column, no_wrap=True)
    for d in differences:
        said = f"{100 * d.test.mean:+.2f} ± {100 * d.test.half_width:.2f}"
        pairs = ", all pairs" if d.metric == "all_test_error" else ""
        table.add_row(d.name, d.runs + pairs, said, "differs" if d.differs else "noise", d.seeds)
    console = make_console()
    console.print(table)
    for reason in reasons:
        console.print(f"not compared, {reason}")


if __name__ == "__main__":
    cli.run(
        compare,
        "python -m benchmarks.compare",
        positional={"studies": "Folders of studies, such as runs/NAME."},
    )
