"""Kill -9, again and again: what comes out is what comes out undisturbed."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import optuna
import pytest
from postgresql_server import serve
from processes import workers_of

from tune.study.definition import Definition
from tune.study.storage import StudyStorage
from tune.study.trials import POINT, REASON, is_finished

ROOT = Path(__file__).parents[2]
KILLS = 24
STUDY = ["--repeats", "2", "--max_epochs", "8", "--train_size", "100", "--val_size", "60"]


def command(log_dir: Path, name: str, *flags: str) -> list[str]:
    where = ["--log_dir", str(log_dir), "--study_name", name]
    return [sys.executable, "-m", "tune", *STUDY, *where, *flags]


def values(storage: StudyStorage, name: str) -> dict[int, tuple[float | None, list[float]]]:
    """Score and raw errors of each point, of which each must be finished once."""
    trials = optuna.load_study(study_name=name, storage=storage.open()).get_trials()
    finished = [trial for trial in trials if is_finished(trial)]
    times = Counter(trial.user_attrs[POINT] for trial in finished)
    assert set(times.values()) == {1}, "a point ran twice"
    assert not [trial for trial in trials if not trial.state.is_finished()], "a trial was left behind"
    return {trial.user_attrs[POINT]: (trial.value, trial.user_attrs["val_errors"]) for trial in finished}


def disturb(flags: list[str], chance: random.Random) -> int:
    """Run a command again and again until it ends by itself; return how often something was killed."""
    kills = 0
    while True:
        process = subprocess.Popen(flags, cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL)
        while kills < KILLS and process.poll() is None:
            time.sleep(chance.uniform(0.1, 1.5))
            workers = workers_of(process.pid)
            if not workers:
                continue  # still importing: nothing to lose yet
            fate = chance.random()
            if fate < 0.2:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            elif fate < 0.35:
                os.kill(process.pid, signal.SIGKILL)  # alone: its workers live on for a moment
                process.wait()
            else:
                os.kill(chance.choice(workers), signal.SIGKILL)
            kills += 1
        if process.wait(timeout=300) == 0:
            return kills


def check(log_dir: Path, url: str | None, workers: int, seed: int) -> None:
    shared = [] if url is None else ["--storage", url]
    count = ["--workers", str(workers)]
    calm, wild = StudyStorage(log_dir / "calm", url), StudyStorage(log_dir / "wild", url)
    subprocess.run(command(log_dir, "calm", *shared, *count), cwd=ROOT, check=True)
    kills = disturb(command(log_dir, "wild", *shared, *count), random.Random(seed))
    assert kills >= 20
    undisturbed = values(calm, "calm")
    assert sorted(undisturbed) == list(range(64))
    assert values(wild, "wild") == undisturbed
    trials = optuna.load_study(study_name="wild", storage=wild.open()).get_trials()
    assert any("lost" in trial.user_attrs.get(REASON, "") for trial in trials), "no kill hit a training"


@pytest.mark.slow
def test_a_study_whose_processes_are_killed_is_the_undisturbed_study(tmp_path: Path) -> None:
    check(tmp_path, None, workers=2, seed=0)


@pytest.mark.slow
def test_so_is_one_of_four_workers_on_a_postgresql_server(tmp_path: Path, postgresql: str) -> None:
    check(tmp_path, postgresql, workers=4, seed=1)


# A worker of another machine: its processes are not to be judged by their numbers, only by their heartbeat.
ELSEWHERE = """
import sys
from pathlib import Path
import tune.study.process_identity, tune.study.queue, tune.study.storage
import tune.workers.heartbeat, tune.workers.worker
from tune.study.storage import StudyStorage
machine, folder, url, count = sys.argv[1:]
tune.study.process_identity._this_machine = lambda: machine
tune.study.storage.GRACE = tune.study.queue.GRACE = 3
tune.workers.heartbeat.HEARTBEAT = 1
storage = StudyStorage(Path(folder), url)
job = tune.workers.worker.Job(storage, "study", int(count), "cpu", None)
tune.workers.worker.work(job, lambda value: None)
"""


def study_of(storage: StudyStorage, count: int, max_epochs: int) -> optuna.Study:
    """A new study of slow fits, three points each."""
    storage.folder.mkdir(exist_ok=True)
    definition = Definition(
        "auxiliary", "paper", "grid", "none", 2, 0, max_epochs, 100, 60, None, trials_per_fit=3
    )
    study = optuna.create_study(study_name="study", storage=storage.open())
    definition.create_or_match(study, optuna.__version__)
    return study


@pytest.mark.slow
def test_a_worker_that_slept_past_the_grace_time_is_not_listened_to(tmp_path: Path, postgresql: str) -> None:
    storage, count = StudyStorage(tmp_path / "calm", postgresql), 6
    study = study_of(storage, count, 30)

    def start(machine: str) -> subprocess.Popen[bytes]:
        arguments = [machine, str(storage.folder), postgresql, str(count)]
        return subprocess.Popen([sys.executable, "-c", ELSEWHERE, *arguments], cwd=ROOT)

    sleeper = start("one")
    while not any(trial.intermediate_values for trial in study.get_trials()):
        assert sleeper.poll() is None
        time.sleep(0.05)
    sleeper.send_signal(signal.SIGSTOP)
    slept = {trial.number for trial in study.get_trials() if not trial.state.is_finished()}
    assert slept
    try:
        assert start("two").wait(timeout=300) == 0
        assert sorted(values(storage, "study")) == list(range(count))
        first = values(storage, "study")
    finally:
        sleeper.send_signal(signal.SIGCONT)
    assert sleeper.wait(timeout=300) == 0
    assert values(storage, "study") == first
    reasons = {
        trial.number: trial.user_attrs[REASON] for trial in study.get_trials() if trial.number in slept
    }
    assert all(reason.startswith("lost: no heartbeat for ") for reason in reasons.values())


@pytest.mark.slow
def test_a_server_that_restarts_costs_a_line_or_nothing_and_the_study_goes_on(tmp_path: Path) -> None:
    with serve() as server:
        flags = command(tmp_path, "restarted", "--storage", server.url, "--workers", "2", "--n_trials", "6")
        for restart in (True, True, False):
            with (tmp_path / "said").open("w") as said:
                process = subprocess.Popen(
                    flags, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=said, start_new_session=True
                )
            while restart and process.poll() is None and not workers_of(process.pid):
                time.sleep(0.1)
            if restart:
                time.sleep(2)
                server.stop()
                time.sleep(0.5)
                server.start()
            code = process.wait(timeout=300)
            lines = (tmp_path / "said").read_text().splitlines()
            assert not [line for line in lines if "Traceback" in line]
            assert sum("cannot be used" in line for line in lines) == (code != 0), lines
        assert code == 0
        assert sorted(values(StudyStorage(tmp_path / "restarted", server.url), "restarted")) == list(range(6))
