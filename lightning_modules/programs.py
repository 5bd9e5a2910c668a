"""How the runs of a study are divided among programs, each of which trains some of them together."""

from itertools import pairwise
from math import ceil


def divide(runs: int, workers: int, replicas: int, team: int = 1) -> list[slice]:
    """Divide runs evenly into programs, as many for each worker process.

    Args:
        runs: Number of runs.
        workers: Number of processes.
        replicas: Trainings of one program, at most.
        team: Trainings of each run.

    Returns:
        Which runs each program has, in order.
    """
    count = min(runs, workers * ceil(runs * team / (workers * replicas)))
    bounds = [runs * i // count for i in range(count + 1)]
    return [slice(start, stop) for start, stop in pairwise(bounds)]
