"""The step of chapter 2's nets: who takes part computes one step, and who cannot is named with the reason."""

from functools import partial

import pytest
from torch._dynamo.exc import BackendCompilerFailed

from benchmarks.speed import scratch_step as benchmark
from benchmarks.speed.disc.contestants import torch_nn
from benchmarks.speed.disc.task import Run, Task
from lightning_modules.command import cli
from scratch_framework.experiments.disc.recipe import RECIPES


@pytest.mark.parametrize("name", RECIPES)
def test_all_contestants_compute_the_recipes_step(name: str) -> None:
    present = [one for one in benchmark.entries([1, 3]) if one.needs in ("torch", "numpy")]
    present = [one for one in present if not one.name.startswith("torch.compile")]
    assert len(present) > 6
    assert benchmark.prove(present, 3, RECIPES[name]) == {}


def test_one_that_computes_something_else_is_refused() -> None:
    other = partial(Task.draw, recipe=RECIPES["modern"])

    def wrong(task: Task) -> Run:
        return torch_nn(other(1, task.x.dtype))

    with pytest.raises(RuntimeError, match=r"^wrong: losses differ by"):
        benchmark.prove([benchmark.Entry("wrong", wrong)], 1, RECIPES["paper"])


def test_a_missing_compiler_or_library_is_a_row_of_the_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(task: Task) -> Run:
        raise BackendCompilerFailed("inductor", RuntimeError("no C++ compiler"), None)

    everyone = [
        benchmark.Entry("first", torch_nn),
        benchmark.Entry("fast", cannot),
        benchmark.Entry("none", cannot, needs="no_such_library"),
    ]
    monkeypatch.setattr(benchmark, "entries", lambda replicas: everyone)
    monkeypatch.setattr(benchmark, "one_core", lambda: None)  # the test process keeps its cores
    benchmark.scratch_step(repeats=1, recipes="paper", replicas="1")
    printed = capsys.readouterr().out
    assert "1.0x" in printed
    assert "fast: cannot compile here" in printed
    assert "none: not installed" in printed


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--repeats", "x"], "--repeats must be a whole number, got 'x'"),
        (["--repeats", "0"], "repeats must be at least 1, got 0"),
        (["--replicas", "0"], "replicas must be whole numbers of at least 1 with commas between, got 0"),
        (["--replicas", "x"], "replicas must be whole numbers of at least 1 with commas between, got x"),
        (["--recipes", "old"], "recipes must be among paper, modern, got old"),
    ],
)
def test_wrong_flags_are_refused(
    flags: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark, "one_core", lambda: None)
    with pytest.raises(SystemExit):
        cli.run(benchmark.scratch_step, "python -m benchmarks.scratch_step", flags)
    assert message in capsys.readouterr().err
