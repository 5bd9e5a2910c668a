"""The process that workers are forked from: it imports once what all of them need.

Nothing heavy is imported here, so that a command can start the server first and import at the same time.
"""

import multiprocessing
import signal
import threading
from typing import Any


def worker_context(preload: str = "lightning_modules.protocol") -> Any:
    """How workers start: from a server that has imported torch for all of them, where there is one.

    The first call starts the server and does not wait for it.

    Args:
        preload: What the server imports.

    Returns:
        A context of multiprocessing.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    from multiprocessing import forkserver  # not everywhere

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([preload])
    if threading.current_thread() is threading.main_thread():
        # The server and its workers inherit this: Ctrl-C is the main process's to handle, from the start.
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            forkserver.ensure_running()
        finally:
            signal.signal(signal.SIGINT, handler)
    return context
