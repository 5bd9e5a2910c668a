"""Ranks share shards: each is trained once, a dead rank's are taken over, and no figure depends on it."""

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Timer

import pytest
from events import scalars

import train
from datamodules import DigitPairs
from lightning_modules.command.cli import CommandError
from lightning_modules.models.recipes import PAPER
from lightning_modules.results.tensorboard import EpochMetrics
from lightning_modules.training.execution import ExecutionConfig
from lightning_modules.training.ranks import Ranks
from lightning_modules.training.runner import Study, fit, run_study
from lightning_modules.training.shard_checkpoint import ShardCheckpoint
from lightning_modules.training.sharing import Claims, share, train_shards
from lightning_modules.training.studies import make_study

TINY = ["--accelerator", "cpu", "--train_pairs", "60", "--val_pairs", "20", "--test_pairs", "40"]
TINY += ["--runs", "3", "--max_epochs", "2", "--replicas", "2", "--model", "cnn"]

HELD: list[AbstractContextManager[bool]] = []  # by another process, until it ends


def a_study(folder: Path) -> Study:
    """Three runs in two shards, if ranks share it."""
    return make_study(
        replace(PAPER.settings["cnn"], max_epochs=3),
        range(3),
        partial(DigitPairs, train_pairs=60, val_pairs=20, test_pairs=40),
        {"accelerator": "cpu"},
        ExecutionConfig(replicas=2),
        shared=True,
        checkpoint=folder / "cnn" / "checkpoint.ckpt",
        study_id="a study",
        checkpoint_every=0.0,
    )


def shards_of(study: Study) -> dict[int, Study]:
    return dict(enumerate(study.shards()))


@pytest.fixture
def another_process() -> Iterator[Callable[[Callable[[], None]], int]]:
    """Runs a function in a process that then waits; gives its number once the function is done."""
    children: list[int] = []

    def begin(act: Callable[[], None]) -> int:
        ready, done = os.pipe()
        if not (child := os.fork()):
            act()
            os.write(done, b".")
            signal.pause()
        children.append(child)
        assert os.read(ready, 1) == b"."
        return child

    yield begin
    for child in children:
        end(child)


def end(child: int) -> None:
    try:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    except (ProcessLookupError, ChildProcessError):
        pass  # a test has ended it


def holding(path: Path, number: int) -> Callable[[], None]:
    def act() -> None:
        HELD.append(Claims(path, 2).claim(number))
        assert HELD[0].__enter__()

    return act


def test_a_shard_is_one_ranks_until_that_ends_however_it_ends(
    tmp_path: Path, another_process: Callable[[Callable[[], None]], int]
) -> None:
    other = another_process(holding(tmp_path / "claims", 1))
    with Claims(tmp_path / "claims", 2) as claims:
        with claims.claim(0) as is_ours:
            assert is_ours
        with claims.claim(1) as is_ours:
            assert not is_ours
        end(other)
        with claims.claim(1) as is_ours:
            assert is_ours
            assert not claims.is_done(1)
            claims.finish(1)
        with claims.claim(1) as is_ours:
            assert not is_ours
        assert [claims.is_done(number) for number in range(2)] == [False, True]
    assert (tmp_path / "claims").read_bytes() == b"\x001"


def test_what_a_dead_rank_leaves_is_taken_over_where_it_stopped(
    tmp_path: Path, another_process: Callable[[Callable[[], None]], int]
) -> None:
    """The other rank has trained an epoch of shard 0, and dies while this one waits for it."""
    whole = run_study(a_study(tmp_path / "whole"), lambda first, epoch: None)
    shards, path = shards_of(a_study(tmp_path / "shared")), tmp_path / "shared" / "claims"
    (tmp_path / "shared" / "cnn").mkdir(parents=True)

    def stop(epoch: EpochMetrics) -> None:
        if epoch.epoch == 1:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fit(shards[0], stop)
    other = another_process(holding(path, 0))
    Timer(0.5, partial(end, other)).start()
    told: list[tuple[int, int]] = []
    train_shards(shards, path, lambda number, epoch: told.append((number, epoch.epoch)))
    assert told == [(1, 0), (1, 1), (1, 2), (0, 0), (0, 1), (0, 2)]
    assert run_study(a_study(tmp_path / "shared"), lambda first, epoch: None).runs == whole.runs


def test_a_rank_does_not_sleep_once_all_is_done(
    tmp_path: Path,
    another_process: Callable[[Callable[[], None]], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The other rank ends shard 0 while this one trains shard 1."""
    shards, path = shards_of(a_study(tmp_path)), tmp_path / "claims"
    other = another_process(holding(path, 0))

    def finish_the_other(number: int, epoch: EpochMetrics) -> None:
        if epoch.epoch == 2:
            with Claims(path, 2) as claims:
                claims.finish(0)
            end(other)

    monkeypatch.setattr("lightning_modules.training.sharing.time.sleep", lambda seconds: 1 / 0)
    train_shards(shards, path, finish_the_other)
    assert path.read_bytes() == b"11"


def test_shards_that_others_have_done_are_told_and_left_alone(tmp_path: Path) -> None:
    shards, path = shards_of(a_study(tmp_path)), tmp_path / "claims"
    train_shards({0: shards[0]}, path, lambda number, epoch: None)
    before = shards[0].shard
    assert before
    modified = before.path.stat().st_mtime_ns
    told: list[tuple[int, int]] = []
    ranks = Ranks(0, 2, "torchrun", {})
    share(shards, path, ranks, lambda number, epoch: told.append((number, epoch.epoch)))
    assert sorted(told) == [(number, epoch) for number in (0, 1) for epoch in range(3)]
    assert before.path.stat().st_mtime_ns == modified
    told.clear()
    share(shards, path, replace(ranks, rank=1), lambda number, epoch: told.append((number, epoch.epoch)))
    assert not told


def test_a_shard_that_cannot_be_kept_is_not_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ShardCheckpoint, "save_fit", full)
    with pytest.raises(CommandError, match=r"checkpoint\.0\.part could not be written: .*No space left"):
        train_shards(shards_of(a_study(tmp_path)), tmp_path / "claims", lambda number, epoch: None)
    assert b"1" not in (tmp_path / "claims").read_bytes()


def test_the_size_of_shards_depends_on_the_study_alone() -> None:
    assert a_study(Path()).divide() == [1, 2]
    many = replace(
        a_study(Path()), seeds=range(1000), execution=replace(a_study(Path()).execution, replicas=16)
    )
    assert many.divide() == replace(many, execution=replace(many.execution, workers=1)).divide()
    assert {*many.divide()} == {15, 16}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log_dir with the study of one process."""
    log_dir = tmp_path_factory.mktemp("alone")
    train.main([*TINY, "--workers", "1", "--log_dir", str(log_dir), "--name", "study"])
    return log_dir


def outcome(study: Path) -> tuple[object, object]:
    return json.loads((study / "results.json").read_text())["rows"], scalars(study / "cnn")


def test_devices_that_share_a_study_give_the_figures_of_one_process(
    alone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train.main([*TINY, "--devices", "2", "--log_dir", str(tmp_path), "--name", "study"])
    said = capsys.readouterr().out
    assert "2 shards of at most 2 runs are shared out among 2 ranks, started by this command" in said
    assert outcome(tmp_path / "study") == outcome(alone / "study")
    assert not list(tmp_path.rglob("*.part*"))


def job(monkeypatch: pytest.MonkeyPatch, rank: int, number: int = 7) -> list[str]:
    """Make this process a rank of a SLURM job with two tasks; return the flags for it."""
    variables = {
        "JOB_ID": number,
        "STEP_ID": 0,
        "NTASKS": 2,
        "NTASKS_PER_NODE": 2,
        "PROCID": rank,
        "LOCALID": rank,
    }
    for name, value in variables.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    monkeypatch.delenv("SLURM_JOB_NAME", raising=False)
    return [*TINY, "--devices", "2"]


def test_a_job_that_was_ended_goes_on_with_the_same_command_and_another_job_is_refused(
    alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rank 0 ends before it merges, rank 1 does the rest; the job and others of its name start again."""
    where, study = ["--log_dir", str(tmp_path)], tmp_path / "slurm-7.0"
    with monkeypatch.context() as patch:
        patch.setattr("lightning_modules.training.experiment.share", lambda *_: 1 / 0)
        with pytest.raises(SystemExit):
            train.main([*job(patch, 0), *where])
    train.main([*job(monkeypatch, 1), *where])
    assert (study / ".claims").read_bytes() == b"11"
    assert not (study / "results.json").exists()
    for rank in (0, 1):
        with pytest.raises(SystemExit):
            train.main([*job(monkeypatch, rank, number=8), *where, "--name", study.name])
    said = capsys.readouterr().err
    assert said.count("exists; choose another name") == 1
    train.main([*job(monkeypatch, 0), *where])
    assert outcome(study) == outcome(alone / "study")


@pytest.mark.slow
def test_a_study_of_one_process_is_resumed_by_many_and_the_other_way_round(
    alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, flags in enumerate((["--workers", "1"], job(monkeypatch, 0)[len(TINY) :])):
        log_dir = tmp_path / str(number)
        shutil.copytree(alone, log_dir)
        (log_dir / "study" / "results.json").unlink()
        train.main([*TINY, *flags, "--log_dir", str(log_dir), "--name", "study", "--resume"])
        assert outcome(log_dir / "study") == outcome(alone / "study")


def test_a_rank_does_not_wait_for_ever_for_rank_0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning_modules.training.manifest.PATIENCE", 0.2)
    with pytest.raises(SystemExit):
        train.main([*job(monkeypatch, 1), "--log_dir", str(tmp_path)])
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
