"""Every command of docs/distributed.md runs, made smaller as `SMALLER` says, on loopback."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from postgresql_server import binaries, free_port, lent_user
from slurm_cluster import serve

import train

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "distributed.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```", PAGE, re.M | re.S)
SCRIPT, *_ = [block for block in BLOCKS if block.startswith("#!")]
COMMANDS = [
    line.partition(" #")[0].strip() for block in BLOCKS if block is not SCRIPT for line in block.splitlines()
]
NOT_RUN = ("apt-get ", "su postgres ", "pip install ", "optuna-dashboard ")  # install, or ask for a password

TINY = "--runs 5 --replicas 2 --model cnn --max_epochs 2 --train_pairs 60 --val_pairs 20 --test_pairs 40"
TUNE = "--model disc --study_name auxiliary-paper-grid --n_trials 4 --max_epochs 1 --repeats 1 --workers 1"
TUNE += " --train_size 20 --val_size 10"
SMALLER = {
    "--accelerator cpu": "",
    "--runs 1000": f"{TINY} --accelerator cpu",
    "-m benchmarks.ablation": "-m benchmarks.ablation --table '2x2, paper' --runs 2 --max_epochs 1",
    "-m tune --storage": f"-m tune {TUNE} --storage",
    "--nproc_per_node 4": "--nproc_per_node 1",
    "--ntasks-per-node 4": "--ntasks-per-node 1",
    "--num_nodes 2 --devices 4": "--num_nodes 2 --devices 1",
    "--devices 4": "--devices 2",
    "#SBATCH --gres gpu:4\n": "",
    "train.py": str(ROOT / "train.py"),
    "python ": f"{sys.executable} ",
    "torchrun": f"{sys.executable} -m torch.distributed.run",
}


def smaller(command: str) -> str:
    for text, other in SMALLER.items():
        command = command.replace(text, other)
    return command


def commands(*starts: str) -> list[str]:
    """The commands of the page that begin so, made smaller, each once."""
    return list(
        dict.fromkeys(" ".join(smaller(line).split()) for line in COMMANDS if line.startswith(starts))
    )


def run(lines: Sequence[str], folder: Path, environment: dict[str, str] | None = None) -> None:
    """Run commands at the same time."""
    environment = {**(environment or os.environ), "PYTHONPATH": str(ROOT)}
    started = [
        subprocess.Popen(shlex.split(line), cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
        for line in lines
    ]
    for process in started:
        _, complaint = process.communicate(timeout=300)
        assert process.returncode == 0, complaint


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> object:
    """Of the study of one process."""
    log_dir = tmp_path_factory.mktemp("alone")
    train.main([*TINY.split(), "--accelerator", "cpu", "--workers", "1", "--log_dir", str(log_dir)])
    return rows_of(next(log_dir.iterdir()))


def rows_of(study: Path) -> object:
    return json.loads((study / "results.json").read_text())["rows"]


def test_every_command_of_the_page_is_run_or_installs_something() -> None:
    kinds = ("python train.py ", "torchrun ", "sbatch ", "initdb ", "postgres ", "python -m tune ")
    assert not [command for command in COMMANDS if not command.startswith((*kinds, *NOT_RUN))]
    for kind in (*kinds, *NOT_RUN):
        assert any(command.startswith(kind) for command in COMMANDS), kind


@pytest.mark.slow
def test_devices_of_one_machine(rows: object, tmp_path: Path) -> None:
    here, resume = commands("python train.py ")
    run([here], tmp_path)
    (study,) = (tmp_path / "runs").iterdir()
    assert rows_of(study) == rows
    study.rename(study.with_name("thousand"))
    (tmp_path / "runs" / "thousand" / "results.json").unlink()
    run([resume], tmp_path)
    assert rows_of(tmp_path / "runs" / "thousand") == rows


@pytest.mark.slow
def test_two_machines_by_torchrun(rows: object, tmp_path: Path) -> None:
    for command in commands("torchrun "):
        own = command.replace("192.168.1.10:29400", f"127.0.0.1:{free_port()}")
        run([own, own], tmp_path)
    assert rows_of(tmp_path / "runs" / "thousand") == rows
    table = (tmp_path / "runs" / "ablation" / "2x2-paper.csv").read_text()
    assert len(table.splitlines()) == 1 + 4 * 2


@pytest.mark.slow
def test_two_machines_of_slurm(rows: object, tmp_path: Path) -> None:
    with serve() as environment:
        (tmp_path / "share.sbatch").write_text(smaller(SCRIPT))
        run(commands("sbatch "), tmp_path, environment)
    assert "shared out among 2 ranks, started by SLURM" in next(tmp_path.glob("slurm-*.out")).read_text()
    (study,) = (tmp_path / "runs").iterdir()
    assert rows_of(study) == rows


@pytest.fixture
def own_server() -> Iterator[str]:
    """URL of the server that the page makes, by a user who is not root."""
    make, start = commands("initdb ", "postgres ")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="postgresql", ignore_cleanup_errors=True) as folder:
        who = lent_user(folder)
        subprocess.run(f"{binaries()}/{make}".split(), check=True, capture_output=True, **who)
        line = f"{binaries()}/{start.replace('5433', str(port))}"
        with subprocess.Popen(line.split(), stderr=subprocess.DEVNULL, **who) as server:
            ready = [str(binaries() / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
            while subprocess.run(ready).returncode:
                assert server.poll() is None
                time.sleep(0.1)
            yield f"postgresql://tune@127.0.0.1:{port}/postgres"
            server.send_signal(signal.SIGINT)


@pytest.mark.slow
def test_tuning_on_two_machines(own_server: str, tmp_path: Path) -> None:
    tune, report = commands("python -m tune ")
    url = "postgresql://tune:PASSWORD@192.168.1.10/tune"
    tune, report = (command.replace(url, own_server) for command in (tune, report))
    run([f"{tune} --log_dir one", f"{tune} --log_dir two"], tmp_path)
    assert len((tmp_path / "one" / "auxiliary-paper-grid" / "trials.csv").read_text().splitlines()) == 5
    run([report], tmp_path)
