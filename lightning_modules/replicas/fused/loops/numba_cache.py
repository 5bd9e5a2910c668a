"""Numba's cache on disk, which is never a reason to fail.

A cache that cannot be written costs a compilation in each process, one that is damaged is made anew. Both are
said by the logger of this module, which `runner.quiet` silences. Of several processes that need the same code
one compiles it, and the others wait for it.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import cache, cached_property
from logging import getLogger
from pathlib import Path
from typing import Any

import numba
from filelock import FileLock, Timeout
from numba.core.caching import FunctionCache, NullCache, _Cache

PATIENCE = 60  # seconds that a process waits for another's code


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile a function by numba, and keep the machine code on disk where that is possible.

    Args:
        options: Of `numba.njit`.

    Returns:
        A decorator.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        dispatcher = numba.njit(**options)(function)
        dispatcher._cache = DiskCache(function)  # what `cache=True` sets to a cache that raises its errors
        return dispatcher

    return decorate


class PackageCache(FunctionCache):
    """Numba's own, of a function that others of its folder are compiled into: a change in any file counts."""

    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        files = sorted(Path(self._py_func.__code__.co_filename).parent.glob("*.py"))
        changes = tuple((file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files)
        return (*super()._index_key(sig, codegen), changes)


class DiskCache(NullCache):
    """The cache of one function; it is looked for when the function is compiled, not when it is defined."""

    def __init__(self, function: Callable[..., Any]) -> None:
        """Remember what to cache.

        Args:
            function: As Python has it.
        """
        self.function = function

    @cached_property
    def on_disk(self) -> _Cache:
        """Numba's own cache, or none where there is no place for it."""
        try:
            return PackageCache(self.function)
        except (RuntimeError, OSError):  # numba raises the former if no folder can be written
            _say("no folder for compiled code can be written: it is compiled anew in each process")
            return NullCache()

    @cached_property
    def lock(self) -> FileLock:
        """Held by the process that compiles."""
        return FileLock(Path(self.cache_path or "") / f"{self.function.__qualname__}.lock", timeout=PATIENCE)

    @property
    def cache_path(self) -> str | None:
        """Its folder."""
        return self.on_disk.cache_path

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Load compiled code.

        Args:
            sig: Types of the arguments.
            target_context: Numba's.

        Returns:
            The code; None if there is none, or what there is is damaged.
        """
        try:
            code = self.on_disk.load_overload(sig, target_context)
            if code is None and self.cache_path:
                with suppress(OSError, Timeout):
                    self.lock.acquire()  # until the code is saved
                code = self.on_disk.load_overload(sig, target_context)  # another process may have been faster
                if code is not None:
                    self.lock.release(force=True)
            return code
        except Exception:  # of many kinds: pickle's, of a file's end, numba's own
            _say(f"compiled code in {self.cache_path} is damaged: it is compiled anew")
            self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Save compiled code, if there is room for it.

        Args:
            sig: Types of the arguments.
            data: The code.
        """
        try:
            self.on_disk.save_overload(sig, data)
        except Exception as error:  # an OSError, but for a damaged file that could not be emptied either
            why = getattr(error, "strerror", None) or error
            _say(f"compiled code cannot be kept in {self.cache_path}: {why}")
        finally:
            if self.cache_path:
                self.lock.release(force=True)

    def flush(self) -> None:
        """Forget what is on disk."""
        with suppress(OSError):
            self.on_disk.flush()


@cache  # once in a process, not once a function
def _say(message: str) -> None:
    getLogger(__name__).warning(message)
