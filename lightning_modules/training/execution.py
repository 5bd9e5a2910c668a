"""How a study is computed on the machine at hand: what is chosen for it, and what a person chose."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytorch_lightning.accelerators import CPUAccelerator

from lightning_modules.command.cli import CommandError
from lightning_modules.command.cores import core_count
from lightning_modules.command.limits import MOST_PROCESSES, check_range
from lightning_modules.command.plain import plain
from lightning_modules.replicas.fused.sequential import Engine, Layout
from lightning_modules.replicas.fused.support import obstacle

if TYPE_CHECKING:
    import pytorch_lightning as pl

# Replicas of one program on a CPU core: fewer pay more for Python and for the Trainer, which from 16 on costs
# about 60 us each; the step itself costs about the same from 5 on (python -m benchmarks.step).
REPLICAS_PER_CORE = 16


@dataclass(frozen=True)
class Execution:
    """How to compute; it changes the time that a study takes, and its figures by no more than rounding."""

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
class Choice:
    """What a person asked for; None and "auto" leave it to the machine."""

    workers: int | None = None
    threads: int | None = None
    replicas: int | None = None
    engine: Engine = "auto"
    layout: Layout = "auto"

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: One is out of range, or there is no such engine or layout.
        """
        for name, value, most in (
            ("workers", self.workers, MOST_PROCESSES),
            ("threads", self.threads, MOST_PROCESSES),
            ("replicas", self.replicas, math.inf),
        ):
            if value is not None:
                check_range(name, value, 1, most)
        plain("engine", self.engine, Engine)
        plain("layout", self.layout, Layout)

    def on(self, trainer: pl.Trainer, replicas: int, team: int = 1) -> Execution:
        """Choose the rest.

        On a CPU, a process with one thread for each core that this process may use (affinity and cgroups
        limit them): many small trainings want cores, not threads. On another device, and where Lightning
        starts the processes, one program for everything. The trainings of one run stay in one program.

        Args:
            trainer: A Trainer as the study will make it.
            replicas: Trainings of each model.
            team: Trainings of each run among them.

        Raises:
            CommandError: A choice does not go with another.
        """
        on_cpu = isinstance(trainer.accelerator, CPUAccelerator)
        ours = on_cpu and trainer.world_size == 1
        if not ours and (self.workers or 1) > 1:
            raise CommandError(
                f"workers must be 1 where Lightning runs the processes or an accelerator, got {self.workers}"
            )
        if trainer.world_size > 1 and self.replicas is not None:
            raise CommandError(
                f"replicas must be left out where Lightning runs the processes, got {self.replicas}"
            )
        if self.replicas is not None and self.replicas < team:
            raise CommandError(
                f"replicas must be at least {team}, the trainings of one run (ensemble, restarts), which stay"
                f" together, got {self.replicas}"
            )
        able = on_cpu and not str(trainer.precision).endswith("16-true")
        if not able and self.engine == "fused":
            raise CommandError(
                "engine fused computes on a CPU and keeps weights in float32 or float64; take torch"
            )
        if obstacle() and self.engine == "fused":
            raise CommandError(f"engine fused cannot be used here, because {obstacle()}; take torch")
        engine = ("fused" if able and not obstacle() else "torch") if self.engine == "auto" else self.engine
        if engine == "fused" and self.layout == "contiguous":
            raise CommandError("layout must be channels_last with engine fused, got contiguous")
        layout = ("channels_last" if on_cpu else "contiguous") if self.layout == "auto" else self.layout
        return Execution(
            workers=min(self.workers or core_count(), replicas) if ours else 1,
            threads=self.threads or 1,
            replicas=min(self.replicas or (max(REPLICAS_PER_CORE, team) if ours else replicas), replicas),
            engine=engine,
            layout=layout,
        )
