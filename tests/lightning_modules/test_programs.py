"""How runs are divided among programs."""

from hypothesis import given
from hypothesis import strategies as st

from lightning_modules.programs import divide


@given(
    runs=st.integers(1, 60),
    workers=st.integers(1, 8),
    replicas=st.integers(1, 20),
    team=st.integers(1, 5),
)
def test_every_run_has_one_program_none_too_many_and_workers_have_as_many(
    runs: int, workers: int, replicas: int, team: int
) -> None:
    programs = divide(runs, workers, replicas, team)
    assert [run for program in programs for run in range(runs)[program]] == list(range(runs))
    sizes = [program.stop - program.start for program in programs]
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) == 1 or len(programs) % workers == 0
    assert len(programs) in (runs, workers * -(-runs * team // (workers * replicas)))
