"""The demo's server answers its own page about drawings, and nobody and nothing else."""

import http.client
import io
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import zlib
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.transform import resize

from datamodules import load_digits
from lightning_modules.demo.__main__ import main
from lightning_modules.demo.drawings import LARGEST, read_drawings
from lightning_modules.demo.nets import load_nets
from lightning_modules.demo.server import LIMIT, DemoServer
from lightning_modules.predict.handwriting import as_mnist

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def server(small_study: Path) -> Iterator[DemoServer]:
    with DemoServer(0, load_nets([small_study])) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def ask(
    server: DemoServer, method: str = "POST", path: str = "/answer", body: Any = b"", **headers: str
) -> tuple[int, Any, http.client.HTTPMessage]:
    """Status, what JSON says (or the page), headers."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request(method, path, body if isinstance(body, bytes) else json.dumps(body), named)
        reply = connection.getresponse()
        said = reply.read()
    finally:
        connection.close()
    kind = reply.headers["Content-Type"]
    return reply.status, json.loads(said) if kind == "application/json" else said.decode(), reply.headers


def png(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "png")
    return b64encode(file.getvalue()).decode()


def drawn(digit: torch.Tensor) -> np.ndarray:
    """A test digit as ink on the page's field, (280, 280) in 0..1."""
    return np.pad(resize(digit.double().numpy().reshape(14, 14) / 255, (200, 200), order=1), 40)


def field(ink: np.ndarray) -> str:
    """As the page sends it: black, transparent where nothing is drawn."""
    image = Image.new("RGBA", ink.shape[::-1], (0, 0, 0, 0))
    image.putalpha(Image.fromarray((255 * ink).round().astype(np.uint8)))
    return png(image)


def test_drawn_digits_are_compared_and_read(server: DemoServer) -> None:
    _, test = load_digits(None)
    labels = test.labels[:40].tolist()
    fields = [field(drawn(image)) for image in test.images[:40]]
    right = read = 0
    for first in range(0, 40, 2):
        status, said, _ = ask(server, body={"left": fields[first], "right": fields[first + 1]})
        cnn, auxiliary = said["answers"]
        assert status == 200
        assert (cnn["model"], cnn["study"], cnn["count"], cnn["digits"]) == ("cnn", "study", "1 net", None)
        assert (auxiliary["model"], auxiliary["count"]) == ("auxiliary", "3 nets")
        assert 0 < cnn["greater"] < 1
        right += (auxiliary["greater"] > 0.5) == (labels[first] > labels[first + 1])
        read += sum(a == b for a, b in zip(auxiliary["digits"], labels[first : first + 2], strict=True))
    assert right >= 17  # of 20
    assert read >= 34  # of 40


def test_the_page_is_told_what_the_nets_saw(server: DemoServer) -> None:
    _, test = load_digits(None)
    fields = [drawn(image) for image in test.images[:2]]
    _, said, _ = ask(server, body={"right": field(fields[1]), "left": field(fields[0])})
    for ink, seen in zip(fields, said["seen"], strict=True):
        assert len(seen) == 14 * 14
        np.testing.assert_allclose(np.reshape(seen, (14, 14)), as_mnist(1 - ink), atol=3)


@pytest.mark.parametrize("nothing", [None, "blank", "filled"])
def test_fields_that_show_nothing_have_no_answer_and_no_error(
    nothing: str | None, server: DemoServer
) -> None:
    blank = nothing and field(np.full((280, 280), float(nothing == "filled")))
    one = field(drawn(load_digits(None)[1].images[0]))
    for left, right in ((blank, blank), (one, blank), (blank, one)):
        status, said, _ = ask(server, body={"left": left, "right": right})
        assert status == 200
        assert [seen is not None for seen in said["seen"]] == [left == one, right == one]
        assert [(nets["greater"], nets["digits"]) for nets in said["answers"]] == [(None, None)] * 2


def test_two_digits_in_a_field_are_said(server: DemoServer) -> None:
    digits = load_digits(None)[1].images[:2].double().numpy().reshape(2, 14, 14)
    both = np.pad(resize(np.hstack(list(digits)) / 255, (120, 240), order=1), ((80, 80), (20, 20)))
    status, said, _ = ask(server, body={"left": field(both), "right": None})
    assert status == 400
    assert "left: it shows 2 digits" in said["error"]


def test_the_page_is_one_file_that_may_do_nothing_but_ask(server: DemoServer) -> None:
    status, page, headers = ask(server, "GET", "/")
    assert status == 200
    assert "//" not in "".join(line.partition("  //")[0] for line in page.splitlines())  # no address
    assert page.count("<script") == page.count("<style") == 1
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:8000"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "127.0.0.1:8000@evil.example"},
        {"Host": "localhost.evil"},
        {"Host": "0.0.0.0"},
        {"Host": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
    ],
    ids=str,
)
def test_other_hosts_and_pages_are_refused(headers: dict[str, str], server: DemoServer) -> None:
    for method, path in (("GET", "/"), ("POST", "/answer")):
        status, said, _ = ask(server, method, path, {"left": None, "right": None}, **headers)
        assert status == 403
        assert "only the page of 127.0.0.1 or localhost" in said["error"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LocalHost:9000"])
def test_its_own_names_are_answered(host: str, server: DemoServer) -> None:
    nothing = {"left": None, "right": None}
    assert ask(server, body=nothing, Host=host, Origin=f"http://{host}")[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/answer", 404),
        ("GET", "/page.html", 404),
        ("GET", "/../../pyproject.toml", 404),
        ("POST", "/", 404),
        ("PUT", "/answer", 501),
        ("OPTIONS", "/answer", 501),
    ],
)
def test_there_is_nothing_else_to_get(method: str, path: str, status: int, server: DemoServer) -> None:
    got, said, headers = ask(server, method, path)
    assert got == status
    assert said["error"]
    assert headers["Connection"] == "close"


@pytest.mark.parametrize(
    ("length", "status", "reason"),
    [
        (None, 411, "Content-Length must be a number"),
        ("-1", 411, "Content-Length must be a number"),
        ("1e3", 411, "Content-Length must be a number"),
        (str(LIMIT + 1), 413, f"{LIMIT} bytes at most, got {LIMIT + 1}"),
        ("9" * 18, 413, f"{LIMIT} bytes at most"),
    ],
)
def test_requests_without_a_length_or_too_long_are_not_read(
    length: str | None, status: int, reason: str, server: DemoServer
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.putrequest("POST", "/answer")
    if length is not None:
        connection.putheader("Content-Length", length)
    connection.endheaders()
    reply = connection.getresponse()
    assert reply.status == status
    assert reason in json.loads(reply.read())["error"]
    connection.close()


def damaged(kind: str) -> str:
    """A PNG in base64 with something wrong."""
    good = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 50), np.uint8)).save(good, "png")
    data = good.getvalue()
    if kind == "cut":
        return b64encode(data[:500]).decode()
    if kind == "huge":  # says so, and holds nothing
        header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
        check = struct.pack(">I", zlib.crc32(b"IHDR" + header))
        return b64encode(data[:8] + struct.pack(">I", 13) + b"IHDR" + header + check + data[33:]).decode()
    return b64encode(data.replace(b"IDAT", b"IDOT")).decode()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        ([], "an object of left and right"),
        ({"left": None}, "an object of left and right"),
        ({"left": None, "right": None, "more": 1}, "an object of left and right"),
        ({"left": 3, "right": None}, "left must be a PNG in base64, or null"),
        ({"left": None, "right": "%%%"}, "right: "),
        ({"left": None, "right": "é"}, "right: "),
        ({"left": "", "right": None}, "left: it is no PNG"),
        ({"left": b64encode(b"GIF89a").decode(), "right": None}, "left: it is no PNG"),
        ({"left": None, "right": damaged("cut")}, "right: it is no PNG"),
        ({"left": None, "right": damaged("huge")}, "right: it is no PNG that can be read: Image size"),
        ({"left": None, "right": damaged("hollow")}, "right: "),
        ({"left": png(Image.new("L", (LARGEST + 1, 1))), "right": None}, f"left: a side must have {LARGEST}"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_garbage_is_refused_in_one_line(body: Any, reason: str, server: DemoServer) -> None:
    status, said, _ = ask(server, body=body)
    assert status == 400
    assert reason in said["error"]
    assert "\n" not in said["error"]


def test_a_mistake_of_the_program_is_not_called_the_pages(
    server: DemoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "answer", lambda body: int("x"))
    status, said, _ = ask(server, body={"left": None, "right": None})
    assert status == 500
    assert said["error"].startswith("unexpected ValueError: invalid literal")


def test_no_damage_to_a_picture_raises_anything_else() -> None:
    random = np.random.default_rng(0)
    file = io.BytesIO()
    Image.fromarray((255 * drawn(load_digits(None)[1].images[0])[::4, ::4]).astype(np.uint8)).save(
        file, "png"
    )
    good = np.frombuffer(file.getvalue(), np.uint8)
    refused = 0
    for _ in range(200):
        bad = good.copy()
        bad[random.integers(0, 80, random.integers(1, 4))] = random.integers(0, 256)
        body = json.dumps(
            {"left": b64encode(bad[: random.integers(8, len(bad) + 1)].tobytes()).decode(), "right": None}
        )
        try:
            read_drawings(body.encode())
        except ValueError:
            refused += 1
    assert refused > 50


def test_it_listens_on_loopback_only(server: DemoServer) -> None:
    assert server.socket.getsockname()[0] == "127.0.0.1"
    with socket.socket() as other, pytest.raises(OSError, match="refused"):
        other.connect(("127.0.0.2", server.server_port))  # reaches what listens on all addresses


@pytest.mark.slow
def test_a_command_serves_what_it_says_and_ends_by_ctrl_c(small_study: Path) -> None:
    command = [sys.executable, "-m", "lightning_modules.demo", str(small_study), "--port", "0"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(3)]
        assert lines[0] == f"{small_study / 'cnn' / 'checkpoint.ckpt'}: 1 net\n"
        assert lines[1] == f"{small_study / 'auxiliary' / 'checkpoint.ckpt'}: 3 nets\n"
        address = lines[2].split()[2]
        with socket.create_connection(("127.0.0.1", int(address.strip("/").rpartition(":")[2]))):
            process.send_signal(signal.SIGINT)  # while a browser keeps its connection
            assert process.wait(60) == 0


def test_wrong_arguments_are_refused_in_one_line(
    small_study: Path, tmp_path: Path, server: DemoServer, capsys: pytest.CaptureFixture[str]
) -> None:
    diverged = torch.load(small_study / "cnn" / "checkpoint.ckpt", weights_only=True)
    next(iter(diverged["state_dict"].values())).fill_(float("nan"))
    torch.save(diverged, tmp_path / "diverged.ckpt")
    cases = [
        ([str(tmp_path / "diverged.ckpt")], "not finite in net 0: its training diverged; take another"),
        ([], "give the folder of a study, such as runs/NAME; `python train.py --name NAME`"),
        ([str(tmp_path)], "must be the folder of a study"),
        ([str(tmp_path / "none")], "is no file"),
        ([str(small_study), str(small_study / "cnn")], "is given several times"),
        ([str(small_study), "--port", "70000"], "port must be from 0 to 65535, got 70000"),
        ([str(small_study), "--port", str(server.server_port)], "cannot be had: Address already in use"),
    ]
    for arguments, message in cases:
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 2
        said = capsys.readouterr()
        assert message in said.err
        assert said.err.count("\n") == 1
        assert not said.out
