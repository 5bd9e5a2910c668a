"""The server of the page: for this computer alone, and for two requests.

``GET /`` gives the page. ``POST /answer`` takes ``{"left": PNG, "right": PNG}``, in base64, null where
nothing is drawn yet, and gives ``{"seen": [pixels, pixels], "answers": [...]}``, as JSON. What is refused
gets ``{"error": "a line"}``.
"""

import json
import re
import sys
from collections.abc import Callable, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any

from lightning_modules.command.blame import origin
from lightning_modules.demo.drawings import read_drawings
from lightning_modules.demo.nets import Nets
from lightning_modules.demo.page import content_security_policy, read_page

LOOPBACK = "127.0.0.1"
OWN = re.compile(r"(127\.0\.0\.1|localhost)(:\d{1,5})?", re.IGNORECASE)
LIMIT = 1_000_000  # bytes of a request; two drawings have some 10,000
PATIENCE = 60  # seconds until an idle connection is closed


class DemoServer(ThreadingHTTPServer):
    """Serves the page, and the nets' answers."""

    def __init__(self, port: int, nets: Sequence[Nets], verbose: bool = False) -> None:
        """Listen.

        Args:
            port: Of 127.0.0.1; 0 is any that is free.
            nets: What to ask.
            verbose: Whether to print a line for each request.

        Raises:
            OSError: The port is taken, or not ours to take.
        """
        self.nets, self.verbose, self.turn = nets, verbose, Lock()
        self.page = read_page()
        self.policy = content_security_policy(self.page)
        super().__init__((LOOPBACK, port), Handler)

    @property
    def address(self) -> str:
        """Of the page."""
        return f"http://{LOOPBACK}:{self.server_port}/"

    def answer(self, request: bytes) -> dict[str, Any]:
        """Ask all nets.

        Args:
            request: See `read_drawings`.

        Raises:
            ValueError: It is not as it should be.
        """
        with self.turn:  # several at once would only wait for each other
            seen = read_drawings(request)
            answers = [nets.answer(seen) for nets in self.nets]
        pixels = [None if digit is None else digit.round().ravel().tolist() for digit in seen]
        return {"seen": pixels, "answers": answers}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say what went wrong; a browser that goes away is nothing wrong."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _RefusedError(Exception):
    """A request that gets no answer."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Handler(BaseHTTPRequestHandler):
    """The requests of one connection."""

    server: DemoServer
    protocol_version = "HTTP/1.1"  # the page asks many times: a connection is kept
    server_version, sys_version = "DigitDuel", ""
    timeout = PATIENCE
    disable_nagle_algorithm = True  # which would hold an answer back for 40 ms

    def do_GET(self) -> None:
        """Give the page."""
        self._reply("/", "text/html; charset=utf-8", lambda: self.server.page)

    def do_POST(self) -> None:
        """Give an answer."""
        self._reply("/answer", "application/json", self._answer)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse a request and end the connection, as its rest may be anything.

        Args:
            code: HTTP's.
            message: Why.
            explain: More, by the standard library.
        """
        self.close_connection = True
        status = HTTPStatus(code)
        self._send(status, "application/json", json.dumps({"error": message or status.phrase}).encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the standard library's name)
        """Print a line about a request, if so asked."""
        if self.server.verbose:
            super().log_message(format, *args)

    def _reply(self, path: str, kind: str, make: Callable[[], bytes]) -> None:
        try:
            self._check(path)
            body = make()
        except _RefusedError as error:
            self.send_error(error.status, str(error))
        else:
            self._send(HTTPStatus.OK, kind, body)

    def _check(self, path: str) -> None:
        """Another site must not ask this one, nor read it under a name of its own (DNS rebinding)."""
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        if not OWN.fullmatch(host) or origin not in (None, f"http://{host}"):
            raise _RefusedError(HTTPStatus.FORBIDDEN, "only the page of 127.0.0.1 or localhost may ask")
        if self.path != path:
            raise _RefusedError(HTTPStatus.NOT_FOUND, "there are only GET / and POST /answer")

    def _answer(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"[0-9]{1,18}", length):
            raise _RefusedError(HTTPStatus.LENGTH_REQUIRED, "Content-Length must be a number of bytes")
        if int(length) > LIMIT:
            reason = f"a request must have {LIMIT} bytes at most, got {length}"
            raise _RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, reason)
        request = self.rfile.read(int(length))
        try:
            return json.dumps(self.server.answer(request)).encode()
        except Exception as error:
            if where := origin(error):  # the program's mistake, not the page's
                reason = f"unexpected {type(error).__name__}: {error} (at {where})"
                raise _RefusedError(HTTPStatus.INTERNAL_SERVER_ERROR, reason) from error
            raise _RefusedError(HTTPStatus.BAD_REQUEST, str(error)) from error

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", self.server.policy)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
