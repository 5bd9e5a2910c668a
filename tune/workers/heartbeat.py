"""Heartbeats of a worker's trials, by which workers of other machines know that it lives."""

import sys
from threading import Event, Thread

from optuna.storages import RDBStorage

from lightning_modules.command.masking import masked
from tune.study.queue import TrialQueue
from tune.study.storage import HEARTBEAT


class Heartbeat:
    """A thread that records heartbeats of this process's trials; Optuna has one in `Study.optimize` only."""

    def __init__(self, storage: RDBStorage, queue: TrialQueue) -> None:
        self.storage, self.queue, self.stop = storage, queue, Event()
        self.thread = Thread(target=self._beat, daemon=True)

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join(HEARTBEAT)  # not for ever: the server may not answer

    def _beat(self) -> None:
        warned = False
        while not self.stop.wait(HEARTBEAT):
            try:
                for number in set(self.queue.own_trials):
                    study_id = self.queue.study._study_id
                    trial_id = self.storage.get_trial_id_from_study_id_trial_number(study_id, number)
                    self.storage.record_heartbeat(trial_id)
            except Exception as error:  # a short failure passes; the worker itself meets a longer one
                if not warned:
                    text = " ".join(f"{type(error).__name__}: {error}".split())
                    print(
                        masked(f"tune: a heartbeat failed, others follow: {text}"),
                        file=sys.stderr,
                        flush=True,
                    )
                warned = True
