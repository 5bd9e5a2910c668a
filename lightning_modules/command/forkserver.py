"""Server that worker processes are forked from: it imports once what all of them need.

Nothing heavy is imported here, so that a command can start the server first and import at the same time.
"""

import multiprocessing
import os
import signal
import sys
import threading
from typing import Any

UNGUARDED = 64  # exit code of a worker in which the user's script calls a command again


def worker_context(preload: str = "lightning_modules.training.runner") -> Any:
    """How workers start: from a server that has imported `preload` for all of them, where there is one.

    The first call starts the server and does not wait for it.
    """
    leave_if_imported()
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lightning_modules.command.resting_collector", preload])
    try:
        _ensure_running()
    except OSError:  # no socket can be made: the path of the temporary folder may be too long for one
        return multiprocessing.get_context("spawn")
    return context


def leave_if_imported() -> None:
    """End this process if it is a worker that is only importing the user's script.

    The script then lacks its guard, and would start the command, and workers of its own, again and again.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        os._exit(UNGUARDED)


def end_server() -> None:
    """End the server, if there is one: while it imports, it does not notice that the main process left."""
    module = sys.modules.get("multiprocessing.forkserver")
    if module and (pid := module._forkserver._forkserver_pid):
        os.kill(pid, signal.SIGTERM)


def _ensure_running() -> None:
    from multiprocessing import forkserver  # not everywhere

    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        forkserver.ensure_running()
        return
    # The server and its workers inherit this: Ctrl-C is the main process's to handle, from the start.
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, handler)
