"""The teaching notebook: it runs whole, and the one in the repository can be read without running it."""

import re

import nbformat
import pytest
from nbformat import NotebookNode

from benchmarks.docs.tour import METADATA, TOUR, execute

LARGEST = ", 3000: 2, 10_000: 1"
COMMITTED = nbformat.read(TOUR, as_version=4)
PLACES = re.compile(rf"/(home|root|tmp|usr|var|opt|Users)/|\b[A-Z]:\\|{re.escape(str(TOUR.parents[1]))}")


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def pictures(notebook: NotebookNode) -> list[int]:
    """How many pictures each cell shows."""
    shown = [[output.get("data", {}) for output in cell.outputs] for cell in code_cells(notebook)]
    return [sum("image/png" in data for data in outputs) for outputs in shown]


def texts(notebook: NotebookNode) -> list[str]:
    """All that can be read in it."""
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    shown = [
        text for output in outputs for kind, text in output.get("data", {}).items() if "image" not in kind
    ]
    return [cell.source for cell in notebook.cells] + [output.get("text", "") for output in outputs] + shown


def assert_whole(notebook: NotebookNode) -> None:
    """All cells have run, in order, without an error or a warning, and say nothing of the machine."""
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {"stream", "execute_result", "display_data"}
    assert {output.name for output in outputs if output.output_type == "stream"} == {"stdout"}
    assert sum(pictures(notebook)) >= 9
    assert [text for text in texts(notebook) if PLACES.search(text)] == []


def test_the_notebook_in_the_repository_has_run_whole() -> None:
    assert_whole(COMMITTED)


def test_it_is_of_a_moderate_size_and_of_no_particular_kernel() -> None:
    assert TOUR.stat().st_size < 1.5e6
    assert COMMITTED.metadata == METADATA
    keys = {key for cell in COMMITTED.cells for key in cell.metadata}
    assert keys == {"jupyter"}  # answers of exercises are folded


def test_its_cells_are_short_and_each_is_introduced() -> None:
    assert max(cell.source.count("\n") for cell in code_cells(COMMITTED)) < 18
    kinds = [cell.cell_type for cell in COMMITTED.cells]
    assert "code code code code" not in " ".join(kinds)


def links() -> list[str]:
    text = "\n".join(cell.source for cell in COMMITTED.cells if cell.cell_type == "markdown")
    return re.findall(r"\]\(([^)]+)\)", text)


@pytest.mark.parametrize("link", sorted(set(links())))
def test_its_links_lead_somewhere(link: str) -> None:
    name, _, heading = link.partition("#")
    text = (TOUR.parent / name).read_text()
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    assert not heading or heading in [title.lower().replace(" ", "-") for title in headings]


@pytest.mark.slow
def test_it_runs_whole_in_a_fresh_kernel() -> None:
    """All of it, but for the two largest sizes of the study of pairs, which take longer than all the rest."""
    before = TOUR.read_bytes()
    notebook = nbformat.read(TOUR, as_version=4)
    (growth,) = [cell for cell in code_cells(notebook) if LARGEST in cell.source]
    growth.source = growth.source.replace(LARGEST, "")
    again = execute(notebook, TOUR.parent)
    assert_whole(again)
    assert pictures(again) == pictures(COMMITTED)
    assert TOUR.read_bytes() == before


def test_every_picture_has_words_for_those_who_cannot_see_it() -> None:
    for cell in code_cells(COMMITTED):
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                assert len(output.metadata["image/png"]["alt"]) > 20
