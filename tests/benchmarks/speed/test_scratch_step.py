"""The step benchmark: who takes part computes one step, and who cannot is named with the reason."""

from functools import partial

import pytest
from torch._dynamo.exc import BackendCompilerFailed

from benchmarks.speed import scratch_step as benchmark
from benchmarks.speed.disc.contestants import torch_nn
from benchmarks.speed.disc.task import Run, Task
from scratch_framework.experiments.disc.recipe import RECIPES


@pytest.mark.parametrize("name", RECIPES)
def test_all_contestants_compute_the_recipes_step(name: str) -> None:
    present = [one for one in benchmark.contestants([1, 3]) if one.needs in ("torch", "numpy")]
    present = [one for one in present if not one.name.startswith("torch.compile")]
    assert len(present) > 6
    assert benchmark.check(present, 3, RECIPES[name]) == {}


def test_one_that_computes_something_else_is_refused() -> None:
    other = partial(Task.draw, recipe=RECIPES["modern"])

    def wrong(task: Task) -> Run:
        return torch_nn(other(1, task.x.dtype))

    with pytest.raises(RuntimeError, match=r"^wrong: replica 0 has loss"):
        benchmark.check([benchmark.Contestant("wrong", wrong)], 1, RECIPES["paper"])


def test_a_missing_compiler_is_a_row_of_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    def cannot(task: Task) -> Run:
        raise BackendCompilerFailed("inductor", RuntimeError("no C++ compiler"), None)

    one = benchmark.Contestant("fast", cannot)
    absent = benchmark.check([one], 1, RECIPES["paper"])
    first = benchmark.Contestant("first", torch_nn)
    rows = benchmark.report([first, one], {"first": [1.0, 2.0, 3.0]}, absent)
    benchmark.show(rows, "paper", 3)
    assert "cannot compile here" in capsys.readouterr().out


@pytest.mark.parametrize(
    "flags", [["--repeats", "1"], ["--replicas", "0"], ["--replicas", "x"], ["--recipes", "old"]]
)
def test_wrong_flags_are_refused(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        benchmark.main(flags)
    assert f"error: argument {flags[0]}:" in capsys.readouterr().err
