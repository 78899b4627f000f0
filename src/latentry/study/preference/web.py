"""A small server of pages for this machine alone: loopback, bounded, and for its own pages only.

The Host header must name this machine (else a page of another site could reach it by a name of its own), requests of
other origins are refused, nothing is allowed to them (no CORS), and bodies are short JSON.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from latentry.errors import UsageError

HOSTS = ("127.0.0.1", "localhost", "[::1]")
LONGEST_BODY = 4096  # bytes
POLICY = (
    "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Request(NamedTuple):
    """method: GET or POST. body: that of a POST."""

    method: str
    path: str
    body: bytes


class Reply(NamedTuple):
    """kind: the media type of the body."""

    status: int
    kind: str
    body: bytes


App = Callable[[Request], Reply]


class Server(ThreadingHTTPServer):
    """Serves `app`, which is set before it begins, at `url`.

    port: 0 takes a free one. Errors: `UsageError` where it is taken.
    """

    app: App
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int) -> None:
        try:
            super().__init__(("127.0.0.1", port), Handler)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            why = "is taken by another program" if error.errno == errno.EADDRINUSE else "is kept for the system"
            raise UsageError(f"--port: {port} {why}; accepted: a free port, or 0, which finds one.") from None

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.server_port}/"


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "latentry", ""
    timeout = 30  # seconds that a connection may be idle

    def do_GET(self) -> None:
        """Pages, images, states."""
        self._reply("GET", b"")

    def do_POST(self) -> None:
        """What a person does."""
        length = self.headers.get("Content-Length", "")
        if "Transfer-Encoding" in self.headers or not (length.isascii() and length.isdigit()):
            self._refuse(411, "a request must say its length")
        elif len(length) > 9 or int(length) > LONGEST_BODY:
            self._refuse(413, f"a request holds at most {LONGEST_BODY} bytes")
        elif self.headers.get_content_type() != "application/json":
            self._refuse(415, "a request holds JSON")
        else:
            self._reply("POST", self.rfile.read(int(length)))

    def _reply(self, method: str, body: bytes) -> None:
        hosts, origin = self.headers.get_all("Host") or [], self.headers.get("Origin")
        host = hosts[0] if len(hosts) == 1 else ""
        name = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
        if name.lower() not in HOSTS or origin not in (None, f"http://{host}"):
            self._refuse(403, "this page is for this machine alone")
            return
        if method == "GET" and ("Content-Length" in self.headers or "Transfer-Encoding" in self.headers):
            self.close_connection = True  # what follows is no request
        self._send(self.server.app(Request(method, self.path, body)))

    def _refuse(self, status: int, why: str) -> None:
        self.close_connection = True  # the body was not read
        self._send(Reply(status, "text/plain; charset=utf-8", why.encode()))

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        headers = {
            "Content-Type": reply.kind,
            "Content-Length": str(len(reply.body)),
            "Cache-Control": "no-store",
            "Content-Security-Policy": POLICY,
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
        if self.close_connection:
            headers["Connection"] = "close"
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: answers are kept in the study, and the terminal stays readable."""
