"""Ctrl-C that waits."""

import importlib
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch

import benchmarks
from lightning_modules.command import cli
from lightning_modules.command.collector import collect
from lightning_modules.command.interrupts import interrupts_wait
from lightning_modules.replicas.checkpoints import write_checkpoint


def test_ctrl_c_is_raised_at_the_end_of_the_block() -> None:
    done = []

    def block() -> None:
        with interrupts_wait():
            signal.raise_signal(signal.SIGINT)
            done.append("rest of the block")

    with pytest.raises(KeyboardInterrupt):
        block()
    assert done == ["rest of the block"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_ctrl_c_nothing_is_raised_and_the_handler_is_back() -> None:
    with interrupts_wait():
        pass
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_of_the_block_is_not_lost_and_the_handler_is_back() -> None:
    with pytest.raises(OSError, match="full"), interrupts_wait():
        raise OSError("full")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("block", [interrupts_wait, cli.imports])
def test_where_ctrl_c_is_ignored_it_stays_so(block: Callable[[], AbstractContextManager[None]]) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with block():
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_another_thread_the_block_simply_runs() -> None:
    done = []

    def block() -> None:
        with interrupts_wait():
            done.append(True)

    thread = threading.Thread(target=block)
    thread.start()
    thread.join()
    assert done == [True]


def test_ctrl_c_while_a_command_is_imported_with_its_package_ends_it_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["-m"])
    monkeypatch.setattr("sys.orig_argv", ["python", "-m", benchmarks.__name__])
    monkeypatch.setattr("os._exit", sys.exit)
    importlib.reload(benchmarks)
    with pytest.raises(SystemExit, match="130"):
        signal.raise_signal(signal.SIGINT)
    assert capsys.readouterr().err.endswith(": error: interrupted; what was finished is kept\n")
    during: list[object] = []

    def command(verbose: bool = False) -> None:
        during.append(signal.getsignal(signal.SIGINT))

    cli.run(command, "command", [])
    assert during == [signal.default_int_handler]


def test_ctrl_c_during_imports_ends_the_workers_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os._exit", sys.exit)
    with subprocess.Popen(["sleep", "100"]) as server:
        monkeypatch.setattr("multiprocessing.forkserver._forkserver._forkserver_pid", server.pid)
        with pytest.raises(SystemExit), cli.imports():
            signal.raise_signal(signal.SIGINT)
    assert server.returncode == -signal.SIGTERM


class Collected:
    """Is interrupted while it is collected."""

    def __init__(self) -> None:
        self.itself = self  # only the garbage collector gets rid of it

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


class Pickled:
    """Is interrupted while it is pickled, to be read as 7."""

    def __reduce__(self) -> tuple[type, tuple[int]]:
        signal.raise_signal(signal.SIGINT)
        return int, (7,)


def test_ctrl_c_in_a_finaliser_is_not_lost_to_the_garbage_collector() -> None:
    collect()
    Collected()
    with pytest.raises(KeyboardInterrupt):
        collect()


def test_ctrl_c_while_a_checkpoint_is_written_waits_until_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file.ckpt"
    with pytest.raises(KeyboardInterrupt):
        write_checkpoint({"tensor": torch.arange(9), "number": Pickled()}, path)
    content = torch.load(path, weights_only=False)
    assert content["tensor"].tolist() == list(range(9))
    assert content["number"] == 7
