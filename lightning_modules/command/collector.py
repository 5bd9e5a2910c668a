"""Python's garbage collector, which need not look through the million objects that libraries are made of."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from lightning_modules.command.interrupts import interrupts_wait


@cache  # the collector itself knows how many stay, but only by counting a million
def freeze_once() -> None:
    """Tell the collector that all objects so far stay, so that it skips them; only the first call does so."""
    gc.freeze()


def collect() -> None:
    """Collect what came since `freeze_once`: few objects, but a finished fit holds large tensors."""
    freeze_once()
    with interrupts_wait():  # a Ctrl-C within a finaliser would be lost with the finaliser's error
        gc.collect()


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
        freeze_once()
        if was_enabled:
            gc.enable()
