"""Ctrl-C, held back while a short block must not be interrupted."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def interrupts_wait() -> Iterator[None]:
    """Hold Ctrl-C back until the end of this short block, which must not be cut in the middle.

    An error of the block comes first, and ends the command as well. Outside the main thread there is nothing
    to hold back: Python interrupts the main thread only.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _: held.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if held:
        signal.raise_signal(signal.SIGINT)
