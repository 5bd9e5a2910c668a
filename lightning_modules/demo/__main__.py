"""Draw two digits, and see what trained nets answer and why: one HTML file, without network or server.

Command lines:
    python -m lightning_modules.demo runs/NAME --open                   writes runs/NAME/duel.html
    python -m lightning_modules.demo runs/NAME runs/OTHER/auxiliary --out both.html
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lightning_modules.command import cli
from lightning_modules.command.atomic_io import check_file

if TYPE_CHECKING:
    from collections.abc import Sequence

POSITIONAL = {"nets": "Folders of studies, such as runs/NAME, or of their models, or checkpoint files."}


def demo(nets: list[str], out: str | None = None, open: bool = False, verbose: bool = False) -> None:  # noqa: A002
    """Write a page on which one draws two digits and sees what trained nets answer, and their inside.

    Args:
        nets: See `POSITIONAL`. Of each checkpoint one net is taken.
        out: The HTML file; by default duel.html in the first folder. An existing one is replaced.
        open: Whether to open the page in the browser.
        verbose: Whether to show tracebacks.
    """
    with cli.imports():
        import webbrowser

        from lightning_modules.command.atomic_io import atomic_write, make_folder
        from lightning_modules.demo.nets import find_checkpoints, load_net
        from lightning_modules.demo.page import make_page

    if out is not None:
        check_file(Path(out))
    checkpoints = find_checkpoints([Path(path) for path in nets])
    first = Path(nets[0])
    path = (first if first.is_dir() else first.parent) / "duel.html" if out is None else Path(out)
    if path.suffix != ".html" or path.is_dir():
        raise cli.CommandError(f"out must be a file that ends in .html, got {path}")
    loaded = [load_net(file) for file in checkpoints]
    page = make_page(loaded)
    make_folder(path.parent, anew=False, flag="out")
    atomic_write(path, page)
    for net in loaded:
        print(f"{net.path}: the net of seed {net.model.seeds[0]}, one of {net.runs}")
    print(f"{path}: {len(page.encode()) / 1e6:.1f} MB, one file that a browser shows without a network")
    if open:
        webbrowser.open(path.absolute().as_uri())


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line.

    Args:
        args: Arguments; those of the process by default.
    """
    cli.run(demo, "python -m lightning_modules.demo", args, POSITIONAL)


if __name__ == "__main__":
    main()
