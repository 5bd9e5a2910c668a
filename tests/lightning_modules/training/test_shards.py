"""How runs are divided among programs."""

from hypothesis import given
from hypothesis import strategies as st

from lightning_modules.training.shards import divide


@given(
    runs=st.integers(1, 60),
    workers=st.integers(1, 8),
    replicas=st.integers(1, 32),
    team=st.integers(1, 12),
)
def test_every_run_has_one_program_none_has_too_many_trainings_and_workers_have_as_many_programs(
    runs: int, workers: int, replicas: int, team: int
) -> None:
    programs = divide(runs, workers, replicas, team)
    assert [run for program in programs for run in range(runs)[program]] == list(range(runs))
    sizes = [program.stop - program.start for program in programs]
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) == 1 or len(programs) % workers == 0
    assert max(sizes) == 1 or max(sizes) * team <= replicas
    fewer = len(programs) - workers  # as many for each worker process, but no more than are needed
    assert fewer <= 0 or -(-runs // fewer) * team > replicas
