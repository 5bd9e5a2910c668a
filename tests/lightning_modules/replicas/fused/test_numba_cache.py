"""Machine code on disk: found again, and missed by nobody where it cannot be kept."""

import importlib.util
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import numba
import pytest
from disks import Disk

from lightning_modules.replicas.fused.loops import (
    convolution,
    max_pool,
    normalisation,
    numba_cache,
    random_bits,
    slopes,
    unpooled,
)

MODULE = """
from lightning_modules.replicas.fused.loops.numba_cache import compiled

@compiled(nogil=True)
def double(x):
    return 2 * x
"""

ROOT = Path(__file__).parents[4]
WORKER = """
import sys
import doubling
print("ready", flush=True)
sys.stdin.read()
assert doubling.double(3) == 6
print(sum(doubling.double.stats.cache_hits.values()))
"""


@pytest.fixture(autouse=True)
def says_everything_anew() -> None:
    numba_cache._say.cache_clear()
    logging.getLogger("lightning_modules").setLevel(logging.WARNING)  # a command may have set another


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """Imports the module anew, as a new process does, and calls its function."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    path = tmp_path / "module" / "doubling.py"
    path.parent.mkdir()
    path.write_text(MODULE)

    def load_anew() -> Any:
        spec = importlib.util.spec_from_file_location("doubling", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        assert module.double(3) == 6
        return module.double

    return load_anew


def hits(function: Any) -> int:
    return sum(function.stats.cache_hits.values())


def test_code_is_compiled_once_and_then_found(load: Callable[[], Any]) -> None:
    assert [hits(load()), hits(load())] == [0, 1]


def test_of_processes_that_start_together_one_compiles_and_the_others_load(tmp_path: Path) -> None:
    (tmp_path / "doubling.py").write_text(MODULE)
    environment = {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}", "NUMBA_CACHE_DIR": str(tmp_path)}
    command, everything = [sys.executable, "-c", WORKER], os.environ | environment
    begin, end = os.pipe()
    workers = [Popen(command, stdin=begin, stdout=PIPE, text=True, env=everything) for _ in range(3)]
    for worker in workers:
        assert worker.stdout
        assert worker.stdout.readline() == "ready\n"
    os.close(end)
    os.close(begin)
    assert sorted(worker.communicate()[0] for worker in workers) == ["0\n", "1\n", "1\n"]


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_torn_file_is_made_anew_and_said_once(
    suffix: str, share: float, load: Callable[[], Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load()
    (torn,) = tmp_path.rglob(f"*{suffix}")
    torn.write_bytes(torn.read_bytes()[: int(share * torn.stat().st_size)])
    assert hits(load()) == 0
    assert [record.message for record in caplog.records] == [
        f"compiled code in {torn.parent} is damaged: it is compiled anew"
    ]
    assert hits(load()) == 1


def test_without_any_folder_to_write_code_is_compiled_each_time(
    load: Callable[[], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for file in ("module/__pycache__", "home"):  # a file is no folder, for root neither
        (tmp_path / file).touch()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert [hits(load()), hits(load())] == [0, 0]
    assert len(caplog.records) == 1
    assert "no folder for compiled code can be written" in caplog.text


def test_a_full_disk_costs_the_cache_only(
    load: Callable[[], Any], disk: Disk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(disk.path / "cache"))
    (disk.path / "cache").mkdir()
    disk.fill(left=0)
    assert [hits(load()), hits(load())] == [0, 0]
    assert "No space left on device" in caplog.text
    disk.make_room()
    assert [hits(load()), hits(load())] == [0, 1]


def test_a_disk_that_became_read_only_with_a_torn_index_costs_the_cache_only(
    load: Callable[[], Any], disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(disk.path))
    function = load()
    (index,) = disk.path.rglob("*.nbi")
    index.write_bytes(b"")
    disk.remount("ro")
    function.recompile()
    assert function(3) == 6


def test_all_loops_keep_their_code_so() -> None:
    modules = (convolution, max_pool, normalisation, random_bits, slopes, unpooled)
    named = {f"{module.__name__}.{name}": value for module in modules for name, value in vars(module).items()}
    dispatchers = [value for value in named.values() if hasattr(value, "py_func")]
    kept = {function for function in dispatchers if isinstance(function._cache, numba_cache.DiskCache)}
    assert len(kept) == 9
    assert all(function._cache.cache_path is None for function in dispatchers if function not in kept)
