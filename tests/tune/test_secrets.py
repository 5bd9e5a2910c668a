"""A password in a URL is nowhere to be seen: on no stream, in no file, in no other process's command line."""

import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest
from processes import workers_of

from lightning_modules.command import cli
from lightning_modules.command.cli import CommandError
from tune.__main__ import main
from tune.study.storage import StudyStorage
from tune.workers.worker import Job

ROOT = Path(__file__).parents[2]
CANARY = "canary7"
# Wrong ones of many kinds; port 9 has no server.
URLS = [
    f"postgresql://me:{CANARY}@127.0.0.1:9/db",
    f"postgresql://me:{CANARY}@127.0.0.1:port/db",
    f"postgresql://me:x@{CANARY}@127.0.0.1:9/db",
    f"postgresql://me:{CANARY}@x/y@127.0.0.1:9/db",
    f"postgresql://me:{CANARY}%40x@127.0.0.1:9/db",
    f"postgresql://me:{CANARY} and more@127.0.0.1:9/db",
    f"postgresql://me:{{{CANARY}}}@127.0.0.1:9/db",
    f"postgresql://127.0.0.1:9/db?user=me&password={CANARY}",
    f"postgresql://127.0.0.1:9/db?sslpassword={CANARY}%20x&user=me",
    f"postgresql+none://me:{CANARY}@host/db",
    f"sybase://me:{CANARY}@host/db",
    f"mssql+pyodbc:///?odbc_connect=DRIVER%3Dx%3BUID%3Dme%3BPWD%3D{CANARY}",
    f"postgres//me:{CANARY}@host/db",
    f"me:{CANARY}@host/db",
    f"sqlite:///no/such/folder/x.db?password={CANARY}",
]


@pytest.mark.parametrize("verbose", [[], ["--verbose"]])
@pytest.mark.parametrize("flag", ["--storage", "--storge", "--seed"])
@pytest.mark.parametrize("start", [[], ["report", "--study_name", "mine"]])
def test_no_wrong_url_is_printed_with_its_password(
    start: list[str],
    flag: str,
    verbose: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for url in URLS:
        for given in ([flag, url], [f"{flag}={url}"]):
            args = [
                *start,
                *given,
                "--log_dir",
                str(tmp_path),
                *verbose,
                *([] if start else ["--model", "disc"]),
            ]
            with pytest.raises((SystemExit, Exception)) as stop:
                main(args)
            if not isinstance(stop.value, SystemExit):  # what the interpreter prints then
                sys.excepthook(stop.type, stop.value, stop.tb)
            said = capsys.readouterr()
            assert said.err, url
            assert "***" in said.err or flag == "--seed", said.err
            assert CANARY not in said.out + said.err
            assert CANARY not in cli.command_line()


@pytest.mark.parametrize("url", [*URLS, f"postgresql://127.0.0.1:9/db?user=me&password={CANARY} {CANARY}"])
def test_python_alone_does_not_show_it_either(url: str, tmp_path: Path) -> None:
    storage = StudyStorage(tmp_path, url)
    cli.run(lambda verbose=False: None, "another", [])  # forgets the arguments of other commands
    for shown in (repr(storage), str(storage), repr(Job(storage, "mine", 1, "cpu", None))):
        assert CANARY not in shown
    with pytest.raises(CommandError) as refused:
        storage.open()
    error: BaseException | None = refused.value
    while error is not None:
        assert CANARY not in f"{error!r} {error}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_printed_settings_hold_no_password(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--storage", f"postgresql://me:{CANARY}@host/db?sslpassword={CANARY}", "--print_config"])
    assert stop.value.code == 0
    assert "storage: postgresql://me:***@host/db?sslpassword=***" in capsys.readouterr().out


@pytest.mark.slow
def test_a_whole_study_leaves_no_password_behind(postgresql: str, tmp_path: Path) -> None:
    """Not in its output, its files and TensorBoard's events, nor in its workers' command lines."""
    url = postgresql.replace("tune@", f"tune:{quote(f'{CANARY}@/x', safe='')}@")
    where = ["--storage", url, "--log_dir", str(tmp_path), "--verbose"]
    sizes = ["--model", "cnn", "--n_trials", "1", "--repeats", "1", "--train_size", "40", "--val_size", "20"]
    with (tmp_path / "output").open("wb") as output:
        command = [sys.executable, "-m", "tune", *sizes, *where]
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output, start_new_session=True)
        lines = set[bytes]()
        while process.poll() is None:
            for worker in workers_of(process.pid):
                with suppress(OSError):
                    lines.add(Path(f"/proc/{worker}/cmdline").read_bytes())
            time.sleep(0.1)
    assert process.returncode == 0, (tmp_path / "output").read_text()
    assert lines
    assert not [line for line in lines if CANARY.encode() in line]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"output", "trials.csv", "best.yaml"} <= {path.name for path in files}
    assert [path for path in files if path.name.startswith("events.")]
    assert not [path for path in files if CANARY.encode() in path.read_bytes()]
