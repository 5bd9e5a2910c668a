"""How a study is computed: processes, threads, replicas in a program, engine, and memory layout.

Light enough for a command's help.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from lightning_modules.command.cli import CommandError
from lightning_modules.command.cores import core_count
from lightning_modules.command.limits import MOST_PROCESSES
from lightning_modules.command.options import Engine, Layout  # noqa: TC001  # types of settings
from lightning_modules.command.settings import Settings, setting
from lightning_modules.replicas.fused.support import obstacle

if TYPE_CHECKING:
    import pytorch_lightning as pl

# Replicas of one program on a CPU core: fewer pay more for Python and for the Trainer, which from 16 on costs
# about 60 us each; the step itself costs about the same from 5 on (python -m benchmarks.step).
REPLICAS_PER_CORE = 16
REPLICAS_PER_DEVICE = 64  # of a shard, where ranks with a GPU each share them; not measured


@dataclass(frozen=True)
class Execution:
    """How to compute; it changes the time that a study takes, and its results by no more than rounding."""

    workers: int  # processes
    threads: int  # of each
    replicas: int  # trainings in one program, at most
    engine: Engine
    layout: Layout

    def __str__(self) -> str:
        return (
            f"{self.workers} processes with {self.threads} threads each, at most {self.replicas} replicas in"
            f" a program, engine {self.engine}, layout {self.layout}"
            + (f"; not fused, because {obstacle()}" if obstacle() else "")
        )


@dataclass(frozen=True)
class ExecutionConfig(Settings):
    """What the user asked for; None and "auto" leave it to the machine."""

    workers: int | None = setting(
        None,
        "Processes on CPU; one a core by default. Where Lightning distributes, and on GPU, it is 1.",
        within=(1, MOST_PROCESSES),
    )
    threads: int | None = setting(None, "Threads of each process; 1 by default.", within=(1, MOST_PROCESSES))
    replicas: int | None = setting(
        None,
        "Trainings that one program does together, at most; by default 16 on CPU, elsewhere all. Those of one"
        " run (`ensemble`, `restarts`) stay together: it may not be less than these.",
        within=(1, math.inf),
    )
    engine: Engine = setting(
        "auto", "How networks compute; `fused` does several layers in one pass over memory, on CPU only."
    )
    layout: Layout = setting("auto", "How images lie in memory; `fused` needs channels_last.")

    def resolve(
        self, trainer: pl.Trainer, replicas: int, run_size: int = 1, shared: bool = False
    ) -> Execution:
        """Choose what the user left open.

        On a CPU: a process with one thread for each core that this process may use (affinity and cgroups
        limit them), because many small trainings want cores, not threads. On another device, and where
        Lightning starts the processes: one program for everything. Where ranks share the runs, the
        programs do not depend on the number of ranks.

        Args:
            trainer: A Trainer as the study will make it.
            replicas: Trainings of the model.
            run_size: Trainings behind one run, which stay in one program.
            shared: Whether ranks share the runs, of which this process is one.

        Raises:
            CommandError: Two of the values do not go together.
        """
        from pytorch_lightning.accelerators import (
            CPUAccelerator,
        )  # here: `divide` is wanted without Lightning

        on_cpu = isinstance(trainer.accelerator, CPUAccelerator)
        ours = on_cpu and trainer.world_size == 1
        self._check_processes(trainer.world_size, ours, run_size, shared)
        engine = self._engine(able=on_cpu and not str(trainer.precision).endswith("16-true"))
        if engine == "fused" and self.layout == "contiguous":
            raise CommandError("layout must be channels_last with engine fused, got contiguous")
        layout = ("channels_last" if on_cpu else "contiguous") if self.layout == "auto" else self.layout
        most = REPLICAS_PER_CORE if ours else REPLICAS_PER_DEVICE if shared else replicas
        return Execution(
            workers=min(self.workers or core_count(), replicas) if ours and not shared else 1,
            threads=self.threads or 1,
            replicas=min(self.replicas or max(most, run_size), replicas),
            engine=engine,
            layout=layout,
        )

    def _check_processes(self, world_size: int, ours: bool, run_size: int, shared: bool) -> None:
        """Refuse numbers of workers and replicas that do not go with who starts the processes."""
        if shared and (self.workers or 1) > 1:
            raise CommandError(
                f"workers must be 1 where devices or machines share the runs, got {self.workers}"
            )
        if not ours and (self.workers or 1) > 1:
            raise CommandError(
                f"workers must be 1 where Lightning runs the processes or an accelerator, got {self.workers}"
            )
        if world_size > 1 and self.replicas is not None:
            raise CommandError(
                f"replicas must be left out where Lightning runs the processes, got {self.replicas}"
            )
        if self.replicas is not None and self.replicas < run_size:
            raise CommandError(
                f"replicas must be at least {run_size}, the trainings of one run (ensemble, restarts), which"
                f" stay together, got {self.replicas}"
            )

    def _engine(self, able: bool) -> Engine:
        """The engine asked for, or the fused one where it is able to compute."""
        if self.engine == "auto":
            return "fused" if able and not obstacle() else "torch"
        if self.engine == "fused" and not able:
            raise CommandError(
                "engine fused computes on a CPU and keeps weights in float32 or float64; take torch"
            )
        if self.engine == "fused" and obstacle():
            raise CommandError(f"engine fused cannot be used here, because {obstacle()}; take torch")
        return self.engine


def divide(runs: int, workers: int, replicas: int, run_size: int = 1) -> list[slice]:
    """Divide runs evenly into shards, as many for each worker process; a run's trainings stay in one."""
    most = max(1, replicas // run_size)  # runs of a shard
    count = min(runs, workers * math.ceil(runs / (workers * most)))
    bounds = [runs * i // count for i in range(count + 1)]
    return [slice(start, stop) for start, stop in pairwise(bounds)]
