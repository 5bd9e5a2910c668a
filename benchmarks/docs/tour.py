"""Run the teaching notebook docs/tour.ipynb whole, in a fresh kernel, and keep what its cells show.

Command line:
    python -m benchmarks.tour                      after a change of the notebook, or of what it shows
"""

from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

from lightning_modules.command import cli
from lightning_modules.command.atomic_io import atomic_write

TOUR = Path(__file__).parents[2] / "docs" / "tour.ipynb"
METADATA = {  # no more, so that it says nothing of the machine that ran it
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def tour(notebook: str = str(TOUR), verbose: bool = False) -> None:
    """Run all cells in order; where one fails, the file stays as it was.

    Args:
        notebook: The notebook; it runs in its own folder.
        verbose: Whether to show tracebacks.
    """
    path = Path(notebook)
    try:
        cells = nbformat.read(path, as_version=4)
    except (ValueError, nbformat.ValidationError) as error:
        raise cli.CommandError(f"{path} is no notebook: {error}") from error
    atomic_write(path, nbformat.writes(execute(cells, path.parent)) + "\n")


def execute(notebook: NotebookNode, folder: Path) -> NotebookNode:
    """Run all cells of a notebook in a fresh kernel; one that fails raises CellExecutionError."""
    client = NotebookClient(
        notebook,
        timeout=None,  # a busy machine takes its time
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute()
    notebook.metadata = METADATA
    return notebook


if __name__ == "__main__":
    cli.run(tour, "python -m benchmarks.tour")
