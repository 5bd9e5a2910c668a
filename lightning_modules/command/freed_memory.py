"""Memory that is freed stays with the process, for its next training step."""

import ctypes
from functools import cache

# Of glibc's mallopt.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
MOST = 512 * 2**20  # bytes that may lie free at the end of the heap
LARGEST = 32 * 2**20  # bytes of a tensor that is freed to the heap; glibc takes no larger number


@cache
def keep_freed_memory() -> None:
    """Tell the C library not to give memory back to the system, which would clear each page of it again.

    A training step frees tens of megabytes and asks for as much in the next moment. What
    MALLOC_TRIM_THRESHOLD_ and MALLOC_MMAP_THRESHOLD_ say is replaced. Another C library than glibc is left as
    it is.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library than glibc
        return
    mallopt(MMAP_THRESHOLD, LARGEST)
    mallopt(TRIM_THRESHOLD, MOST)
