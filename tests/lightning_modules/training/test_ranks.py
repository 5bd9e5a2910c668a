"""Which rank of whose job a process is, and on which device it trains."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from lightning_modules.command.cli import CommandError
from lightning_modules.training.ranks import find_ranks

SLURM = {
    "SLURM_JOB_NAME": "train",
    "SLURM_JOB_ID": "71",
    "SLURM_STEP_ID": "0",
    "SLURM_NTASKS": "4",
    "SLURM_NTASKS_PER_NODE": "2",
    "SLURM_NNODES": "2",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
}
CPU = {"accelerator": "cpu"}


@pytest.fixture
def torchrun(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environment of rank 2 of 3, and the store of its agent."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    variables = {
        "TORCHELASTIC_RUN_ID": "none",
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "RANK": "2",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "3",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    yield
    del store


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("devices", [1, "1", "auto"])
def test_on_one_device_nobody_shares_also_in_a_job_of_slurm(devices: Any, slurm: None) -> None:
    assert find_ranks({**CPU, "devices": devices}) is None


@pytest.mark.parametrize("job", [{}, SLURM])
def test_where_a_strategy_is_asked_for_lightning_distributes(
    job: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in job.items():
        monkeypatch.setenv(name, value)
    assert find_ranks({**CPU, "devices": 2, "num_nodes": 2, "strategy": "ddp"}) is None


def test_several_devices_of_one_machine_each_have_a_worker_process() -> None:
    ranks = find_ranks({**CPU, "devices": 3})
    assert ranks
    assert (ranks.rank, ranks.size, ranks.job) == (0, 3, None)
    assert list(ranks.devices) == [1, 1, 1]
    assert ranks.trainer == {**CPU, "devices": 1}
    said = ranks.describe([16, 16, 15])
    assert said == "3 shards of at most 16 runs are shared out among 3 ranks, started by this command"


def test_slurm_says_which_rank_this_is_and_names_the_job(slurm: None) -> None:
    ranks = find_ranks({**CPU, "devices": 2, "num_nodes": 2})
    assert ranks
    assert (ranks.rank, ranks.size, ranks.started_by, ranks.job) == (3, 4, "SLURM", "slurm-71.0")
    assert ranks.trainer == {**CPU, "devices": 1, "num_nodes": 1}
    assert not ranks.devices


@pytest.mark.parametrize("asked", [{"devices": 4, "num_nodes": 2}, {"devices": 2, "num_nodes": 3}])
def test_flags_that_do_not_fit_to_what_slurm_started_are_refused(asked: dict[str, int], slurm: None) -> None:
    with pytest.raises(CommandError, match="does not match"):
        find_ranks({**CPU, **asked})


@pytest.mark.parametrize("asked", [{}, {"devices": 3}])
def test_torchruns_ranks_need_no_flags_and_agree_on_the_name_of_their_job(
    asked: dict[str, int], torchrun: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranks = find_ranks({**CPU, **asked})
    assert ranks
    assert (ranks.rank, ranks.size, ranks.started_by) == (2, 3, "torchrun")
    monkeypatch.setenv("RANK", "0")  # another rank, or this one after a restart
    other = find_ranks({**CPU, **asked})
    assert other
    assert other.job == ranks.job
    assert ranks.job


def test_torchrun_must_keep_the_store(torchrun: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "False")
    with pytest.raises(CommandError, match="give it --rdzv_backend c10d"):
        find_ranks(CPU)


def test_one_process_of_torchrun_is_alone(torchrun: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert find_ranks(CPU) is None


@pytest.mark.parametrize(
    ("devices", "local_rank", "expected"), [(1, 0, [0]), (1, 1, [1]), (1, 5, [1]), ("2,3", 1, [3])]
)
def test_a_rank_takes_the_gpu_of_its_number_on_its_machine(
    devices: Any, local_rank: int, expected: list[int], torchrun: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lightning is told that there are GPUs; nothing is computed on them."""
    gpus = 2 if devices == 1 else 4
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: gpus)
    for module in ("lightning_fabric.accelerators.cuda", "pytorch_lightning.accelerators.cuda"):
        monkeypatch.setattr(f"{module}.num_cuda_devices", lambda: gpus)
    monkeypatch.setenv("LOCAL_RANK", str(local_rank))
    monkeypatch.setenv("WORLD_SIZE", "2" if devices != 1 else "3")
    ranks = find_ranks({"accelerator": "cuda", "devices": devices})
    assert ranks
    assert ranks.trainer["devices"] == expected


def test_no_variable_is_left_behind(torchrun: None) -> None:
    before = dict(os.environ)
    find_ranks(CPU)
    assert dict(os.environ) == before
