"""Draw two digits with mouse or finger, and see live what trained nets answer: a page of your own computer.

Command lines:
    python -m lightning_modules.demo runs/NAME                          all models of a study
    python -m lightning_modules.demo runs/NAME runs/OTHER/auxiliary --port 0 --open
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_modules.command import cli

if TYPE_CHECKING:
    from collections.abc import Sequence

POSITIONAL = {"nets": "Folders of studies, such as runs/NAME, or of their models, or checkpoint files."}


def demo(nets: list[str], port: int = 8000, open: bool = False, verbose: bool = False) -> None:  # noqa: A002
    """Serve a page on which one draws two digits and sees what trained nets answer; Ctrl-C ends it.

    Args:
        nets: See `POSITIONAL`.
        port: Where it listens, on 127.0.0.1 only; 0 is any port that is free.
        open: Whether to open the page in the browser.
        verbose: Whether to show each request, and tracebacks.
    """
    if not 0 <= port <= 65535:
        raise cli.CommandError(f"port must be from 0 to 65535, got {port}")
    with cli.imports():
        import webbrowser

        import torch

        from lightning_modules.demo.nets import load_nets
        from lightning_modules.demo.server import DemoServer

    torch.set_num_threads(1)  # nets this small only wait for a second one
    loaded = load_nets([Path(path) for path in nets])
    try:
        server = DemoServer(port, loaded, verbose)
    except OSError as error:
        why = f"port {port} cannot be had: {error.strerror}"
        raise cli.CommandError(f"{why}; --port 0 takes a free one") from error
    for served in loaded:
        print(f"{served.path}: {served.count}")
    # At once: an interpreter that ends in peace is aborted by a thread that is still in torch.
    signal.signal(signal.SIGINT, lambda *_: os._exit(0))
    with server:
        print(f"draw at {server.address} (Ctrl-C ends this)", flush=True)
        if open:
            webbrowser.open(server.address)
        server.serve_forever()


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line.

    Args:
        args: Arguments; those of the process by default.
    """
    cli.run(demo, "python -m lightning_modules.demo", args, POSITIONAL)


if __name__ == "__main__":
    main()
