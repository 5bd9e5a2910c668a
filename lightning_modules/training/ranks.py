"""Ranks: processes that share out the shards of studies, whoever started them.

Each rank is an ordinary training on one device; no gradients travel. Lightning's classes read from the
environment which rank of torchrun or SLURM this process is. Where neither started it, it starts worker
processes itself.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from secrets import token_hex
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.accelerators import CPUAccelerator

from lightning_modules.command.cli import CommandError
from lightning_modules.training.one_process import OneProcess

PATIENCE = timedelta(minutes=1)  # with the agent of torchrun, which was there a moment ago


@dataclass(frozen=True)
class Ranks:
    """The processes that share the shards of a study, as one of them sees them."""

    rank: int  # of this process; rank 0 merges, writes and prints
    size: int  # their number
    started_by: str
    trainer: Mapping[str, Any]  # arguments of pl.Trainer for one device
    devices: Sequence[
        Any
    ] = ()  # of each worker process, as pl.Trainer takes them, where this one starts them
    job: str | None = None  # what all ranks of torchrun or SLURM call their job, also after a restart

    def describe(self, shards: Sequence[int]) -> str:
        """The line that says what is shared out, of shards with so many runs."""
        return (
            f"{len(shards)} shards of at most {max(shards)} runs are shared out among {self.size} ranks,"
            f" started by {self.started_by}"
        )


def find_ranks(arguments: Mapping[str, Any]) -> Ranks | None:
    """Find out who shares the runs.

    Args:
        arguments: Of pl.Trainer, as the user gave them.

    Returns:
        None where one process trains all of them, or Lightning distributes by the strategy that is asked for.

    Raises:
        CommandError: Lightning refuses an argument, or it does not fit to what torchrun or SLURM has started.
    """
    try:
        return _find_ranks(arguments)
    except (MisconfigurationException, ImportError, ValueError, RuntimeError, TypeError) as error:
        raise CommandError(str(error)) from error


def _find_ranks(arguments: Mapping[str, Any]) -> Ranks | None:
    launched = TorchElasticEnvironment.detect() and int(os.environ["WORLD_SIZE"]) > 1
    alone = str(arguments.get("devices", 1)) == "1" and arguments.get("num_nodes", 1) == 1
    if arguments.get("strategy", "auto") != "auto" or (alone and not launched):
        return None
    asked = pl.Trainer(
        **arguments,
        plugins=[OneProcess()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    count, nodes = asked.num_devices, asked.num_nodes
    if count * nodes == 1 and not launched:
        return None
    kind = next((kind for kind in (TorchElasticEnvironment, SLURMEnvironment) if kind.detect()), None)
    if kind:
        return _started(kind(), asked, arguments)
    if nodes > 1:
        raise CommandError(
            f"num_nodes is {nodes}, but nothing has started this command on several machines: start it by"
            " torchrun or srun"
        )
    devices = [_one_device(asked, device) for device in asked.device_ids]
    return Ranks(0, count, "this command", {**arguments, "devices": 1}, devices)


def _started(environment: ClusterEnvironment, asked: pl.Trainer, arguments: Mapping[str, Any]) -> Ranks:
    """The ranks that torchrun or SLURM has started."""
    if asked.num_devices * asked.num_nodes > 1:
        environment.validate_settings(asked.num_devices, asked.num_nodes)
    # Flags that name one device leave it to the environment which one this is.
    devices = asked.device_ids if asked.num_devices > 1 else range(torch.accelerator.device_count() or 1)
    device = _one_device(asked, devices[environment.local_rank() % len(devices)])
    elastic = isinstance(environment, TorchElasticEnvironment)
    return Ranks(
        environment.global_rank(),
        environment.world_size(),
        "torchrun" if elastic else "SLURM",
        {**arguments, "devices": device, "num_nodes": 1},
        job=_torchrun_job() if elastic else "slurm-{SLURM_JOB_ID}.{SLURM_STEP_ID}".format_map(os.environ),
    )


def _one_device(asked: pl.Trainer, device: int) -> int | list[int]:
    """The argument `devices` of a Trainer on this device."""
    return 1 if isinstance(asked.accelerator, CPUAccelerator) else [device]


def _torchrun_job() -> str:
    """The name that the first rank gives to the job; torchrun's agent keeps it while ranks are restarted."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined]  # some builds of torch lack it

    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        raise CommandError("torchrun must keep the rendezvous store itself: give it --rdzv_backend c10d")
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = TCPStore(address, port, is_master=False, timeout=PATIENCE)
    return store.compare_set("digit-duel", "", f"{datetime.now():%Y%m%d-%H%M%S}-{token_hex(2)}").decode()
