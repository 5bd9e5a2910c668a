"""A page that lists the studies in a folder, and shows the reports of two of them side by side."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from lightning_modules.command.atomic_io import atomic_write
from lightning_modules.command.cli import CommandError
from lightning_modules.report.page import make_page, render
from lightning_modules.report.study import StudyResults, read_studies, state_file
from lightning_modules.results.runs import spread


@dataclass(frozen=True)
class Entry:
    """A study in the list."""

    name: str
    begun: datetime
    problem: str = ""  # why it cannot be read
    study: StudyResults | None = None
    url: str = ""  # of its report, from the list

    @property
    def state(self) -> str:
        """What to know of it."""
        if self.study is None:
            return self.problem
        if self.study.running:
            return "running"
        return "interrupted" if self.study.unfinished else "done"

    @property
    def nets(self) -> list[tuple[str, int, float | None]]:
        """Model, number of runs, and the mean test error of those that did not diverge, as a share."""
        nets = self.study.nets if self.study else ()
        errors = {net.model: net.results.errors() for net in nets}
        return [
            (net.model, len(net.runs), spread(errors[net.model])[0] if errors[net.model] else None)
            for net in nets
        ]


def find_studies(folder: Path) -> list[Path]:
    """The studies in a folder, the newest first; none if it is a study itself, or holds none."""
    if state_file(folder) or not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if state_file(path)]
    return sorted(found, key=_begun, reverse=True)


def write_picker(folders: Sequence[Path], path: Path, refresh: bool = True) -> bool:
    """Write the page, and the report of each study that has none, or an old one.

    Args:
        folders: Of the studies, the newest first.
        path: The page.
        refresh: Whether the reports of running studies are to load themselves anew.

    Returns:
        Whether a study is running.
    """
    entries = [_entry(folder, path, refresh) for folder in folders]
    atomic_write(path, render("picker.html", folder=str(path.parent), entries=entries))
    return any(entry.study and entry.study.running for entry in entries)


def _entry(folder: Path, path: Path, refresh: bool) -> Entry:
    try:
        (study,) = read_studies([folder])
    except CommandError as error:
        return Entry(folder.name, _begun(folder), problem=str(error))
    page, state = folder / "report.html", state_file(folder)
    assert state
    if study.unfinished or not page.exists() or page.stat().st_mtime <= state.stat().st_mtime:
        atomic_write(page, make_page([study], refresh))
    return Entry(folder.name, _begun(folder), study=study, url=quote(os.path.relpath(page, path.parent)))


def _begun(folder: Path) -> datetime:
    """When a study was begun: study.json is written once; older programs left results.json alone."""
    first = next(file for file in (folder / "study.json", folder / "results.json") if file.exists())
    return datetime.fromtimestamp(first.stat().st_mtime)
