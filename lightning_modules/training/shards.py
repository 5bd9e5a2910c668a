"""How the runs of a study are divided among programs, each of which trains some of them together."""

from itertools import pairwise
from math import ceil


def divide(runs: int, workers: int, replicas: int, team: int = 1) -> list[slice]:
    """Divide runs evenly into programs, as many for each worker process.

    Args:
        runs: Number of runs.
        workers: Number of processes.
        replicas: Trainings of one program, at most, but for a single run that has more.
        team: Trainings of each run, which stay together.

    Returns:
        Which runs each program has, in order.
    """
    most = max(1, replicas // team)  # runs of a program
    count = min(runs, workers * ceil(runs / (workers * most)))
    bounds = [runs * i // count for i in range(count + 1)]
    return [slice(start, stop) for start, stop in pairwise(bounds)]
