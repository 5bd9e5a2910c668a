"""One page about one or several studies: a single HTML file that needs no network and no server.

Command lines:
    python -m lightning_modules.report runs/NAME                        writes runs/NAME/report.html
    python -m lightning_modules.report runs/NAME runs/OTHER --out both.html
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lightning_modules.command import cli

if TYPE_CHECKING:
    from collections.abc import Sequence

POSITIONAL = {"studies": "Folders of studies, such as runs/NAME."}


def report(studies: list[str], out: str | None = None, verbose: bool = False) -> None:
    """Write a page about studies: results, significance, curves, which comparisons fail, settings.

    Args:
        studies: See `POSITIONAL`.
        out: The HTML file; by default report.html in the first study's folder. An existing one is replaced.
        verbose: Whether to show tracebacks.
    """
    if not studies:
        raise cli.CommandError("give the folder of a study, such as runs/NAME, or several")
    path = Path(studies[0]) / "report.html" if out is None else Path(out)
    if path.suffix != ".html" or path.is_dir():
        raise cli.CommandError(f"out must be a file that ends in .html, got {path}")
    with cli.imports():
        from lightning_modules.command.atomic_io import write_whole
        from lightning_modules.report.page import make_page
        from lightning_modules.report.study import read_studies

    page = make_page(read_studies([Path(study) for study in studies]))
    write_whole(path, page)
    print(f"{path}: {len(page.encode()) / 1e6:.1f} MB, one file that a browser shows without a network")


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line.

    Args:
        args: Arguments; those of the process by default.
    """
    cli.run(report, "python -m lightning_modules.report", args, POSITIONAL)


if __name__ == "__main__":
    main()
