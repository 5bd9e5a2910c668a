"""One page about one or several studies: a single HTML file that needs no network and no server.

Command lines:
    python -m lightning_modules.report runs/NAME                        writes runs/NAME/report.html
    python -m lightning_modules.report runs/NAME runs/OTHER --out both.html
    python -m lightning_modules.report runs                             lists its studies: pick two
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_modules.command import cli
from lightning_modules.command.atomic_io import check_file

if TYPE_CHECKING:
    from collections.abc import Sequence

POSITIONAL = {"studies": "Folders of studies, such as runs/NAME; or one that holds studies, such as runs."}


def report(studies: list[str], out: str | None = None, verbose: bool = False) -> None:
    """Write a page about studies: results, significance, curves, which comparisons fail, settings.

    While a study runs, the page is written anew every 10 seconds, and loads itself anew in a browser. Of a
    folder that holds studies the page lists them, and shows two of them side by side.

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
    if out is not None:
        check_file(path)
    with cli.imports():
        from lightning_modules.command.atomic_io import atomic_write, make_folder
        from lightning_modules.report.page import REFRESH, make_page
        from lightning_modules.report.picker import find_studies, write_picker
        from lightning_modules.report.study import read_studies

    folders = [Path(study) for study in studies]

    def write(refresh: bool) -> bool:
        """Write the page; return whether a study runs."""
        listed = find_studies(folders[0]) if len(folders) == 1 else []
        read = [] if listed else read_studies(folders)
        make_folder(path.parent, anew=False, flag="out")
        if listed:
            return write_picker(listed, path, refresh)
        atomic_write(path, make_page(read, refresh))
        return any(study.running for study in read)

    running = write(refresh=True)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, one file that a browser shows without a network")
    if running:
        print(f"a study runs: the page is written anew every {REFRESH} seconds until it is done, or Ctrl-C")
    try:
        while running:
            time.sleep(REFRESH)
            running = write(refresh=True)
    except KeyboardInterrupt:
        write(refresh=False)  # nobody writes it anew from now on
        raise


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line.

    Args:
        args: Arguments; those of the process by default.
    """
    cli.run(report, "python -m lightning_modules.report", args, POSITIONAL)


if __name__ == "__main__":
    main()
