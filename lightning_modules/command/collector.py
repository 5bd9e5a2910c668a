"""Python's garbage collector, which need not look through the million objects that libraries are made of."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


def spare() -> None:
    """Tell the collector once that all objects so far stay: it skips them from now on."""
    if not gc.get_freeze_count():
        gc.freeze()


@contextmanager
def resting() -> Iterator[None]:
    """Collect nothing in this block, of heavy imports. What they make stays.

    To look through all of it, again and again while it grows, takes a fifth of the time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        spare()
        if was_enabled:
            gc.enable()
