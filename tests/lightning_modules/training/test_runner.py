"""A study in this process: shards one after the other, and nothing of a finished one stays."""

import gc
import weakref
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning.utilities import rank_zero_only

from datamodules import DigitPairs
from lightning_modules import PlainCNN
from lightning_modules.models.settings import PlainCNNSettings
from lightning_modules.training.execution import ExecutionConfig
from lightning_modules.training.runner import Study, make_trainer, run_study
from lightning_modules.training.shard_checkpoint import ShardCheckpoint
from lightning_modules.training.studies import make_study


def a_study(folder: Path, choice: ExecutionConfig) -> Study:
    trainer = {"max_epochs": 1, "accelerator": "cpu", "precision": "64-true"}
    return Study(
        module=PlainCNN,
        settings=PlainCNNSettings(),
        seeds=range(3),
        data=partial(DigitPairs, train_pairs=40, val_pairs=20, test_pairs=30),
        trainer=trainer,
        execution=choice.resolve(make_trainer(trainer), 3),
        checkpoint=folder / "checkpoint.ckpt",
    )


def test_one_worker_trains_shards_one_after_the_other_to_the_same_results_and_checkpoint(
    tmp_path: Path,
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "three").mkdir()
    reports: list[int] = []
    together = run_study(a_study(tmp_path / "one", ExecutionConfig(workers=1)), lambda first, figures: None)
    apart = run_study(
        a_study(tmp_path / "three", ExecutionConfig(workers=1, replicas=1)),
        lambda first, figures: reports.append(first),
    )
    assert apart.runs == together.runs
    assert reports == [0, 1, 2]
    states = [
        torch.load(tmp_path / name / "checkpoint.ckpt", weights_only=True)["state_dict"]
        for name in ("one", "three")
    ]
    for name, value in states[0].items():
        assert torch.equal(states[1][name], value), name
    assert [path.name for path in (tmp_path / "three").iterdir()] == ["checkpoint.ckpt"]


def test_finished_modules_are_forgotten_though_the_collector_is_told_what_stays(tmp_path: Path) -> None:
    modules: list[weakref.ref[PlainCNN]] = []

    class Watched(PlainCNN):
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            modules.append(weakref.ref(self))

    study = a_study(tmp_path, ExecutionConfig(workers=1, replicas=1))
    run_study(replace(study, module=Watched), lambda first, figures: None)
    gc.collect()
    assert len(modules) == 3
    assert [module() for module in modules] == [None] * 3


OTHER_JOBS = {
    "a rank": {"RANK": "1"},
    "a local rank": {"LOCAL_RANK": "1", "NODE_RANK": "1"},
    "torchrun": {
        "TORCHELASTIC_RUN_ID": "x",
        "RANK": "3",
        "LOCAL_RANK": "1",
        "WORLD_SIZE": "4",
        "MASTER_ADDR": "nowhere.example",
        "MASTER_PORT": "1",
    },
    "Slurm": {"SLURM_JOB_NAME": "train", "SLURM_NTASKS": "4", "SLURM_PROCID": "2", "SLURM_LOCALID": "2"},
    "IBM": {"JSM_NAMESPACE_RANK": "1", "JSM_NAMESPACE_SIZE": "2", "LSB_JOBID": "1", "LSB_DJOB_RANKFILE": "x"},
}


@pytest.mark.parametrize("job", OTHER_JOBS)
@pytest.mark.parametrize(
    "arguments", [{}, {"devices": 1}, {"devices": "1"}, {"devices": "auto", "strategy": "ddp"}]
)
def test_a_trainer_of_one_device_is_the_main_process_whatever_job_it_is_started_in(
    job: str, arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in OTHER_JOBS[job].items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    trainer = make_trainer({"accelerator": "cpu", **arguments})
    environment = trainer._accelerator_connector.cluster_environment
    assert (trainer.world_size, trainer.global_rank, trainer.is_global_zero) == (1, 0, True)
    assert (environment.local_rank(), environment.main_address) == (0, "127.0.0.1")
    assert vars(rank_zero_only)["rank"] == 0


def test_a_trainer_of_several_devices_reads_which_process_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_zero_only, "rank", 0)
    monkeypatch.setenv("LOCAL_RANK", "1")
    trainer = make_trainer({"accelerator": "cpu", "devices": 2, "strategy": "ddp"})
    assert (trainer.world_size, trainer.global_rank, vars(rank_zero_only)["rank"]) == (2, 1, 1)


def test_a_study_in_another_jobs_environment_keeps_its_nets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    assert (
        run_study(a_study(tmp_path, ExecutionConfig(workers=1)), lambda first, figures: None).unsaved is None
    )
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.ckpt"]


def test_a_study_that_ends_without_its_checkpoint_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ShardCheckpoint, "save_fit", lambda *_: None)
    fit = run_study(a_study(tmp_path, ExecutionConfig(workers=1)), lambda first, figures: None)
    assert fit.unsaved is not None
    assert "checkpoint.0.part" in fit.unsaved


@pytest.mark.parametrize(
    ("seeds", "data", "message"),
    [
        ([], {}, "the number of seeds must be at least 1, got 0"),
        (range(0), {}, "the number of seeds must be at least 1, got 0"),
        ([0, -1], {}, "seed must be at least 0, got -1"),
        ([2**32], {}, "seed must be below 2"),
        ([0.5], {}, "seed must be a whole number, got 0.5"),
        ([3, 3], {}, "must name each .* once, got 3 2 times"),
        ([0], {"train_pairs": 1}, "train_pairs must be at least 2, got 1"),
    ],
)
@pytest.mark.parametrize("ensemble", [1, 2])
def test_seeds_and_data_of_a_study_are_refused_before_it_is_trained(
    seeds: Any, data: dict[str, Any], message: str, ensemble: int
) -> None:
    settings = PlainCNNSettings(ensemble=ensemble)
    with pytest.raises(ValueError, match=message):
        make_study(settings, seeds, partial(DigitPairs, **data), {"accelerator": "cpu"}, ExecutionConfig())
