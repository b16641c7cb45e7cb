"""A control plane that agrees to everything: DescribeThing, CreateThing, CreateJob, DeleteJob, any credentials."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.support.proxy import HOST, PATIENCE


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kind, _, name = self.path.partition("?")[0].strip("/").partition("/")
        self.server.requests.append((self.command, kind, name))
        arn = f"arn:aws:iot:us-east-1:000000000000:{kind.removesuffix('s')}/{name}"
        body: dict[str, Any] = {f"{kind.removesuffix('s')}Arn": arn}
        body |= {"thingName": name} if kind == "things" else {"jobId": name}
        content = b"" if self.command == "DELETE" else json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has in the base class
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__((HOST, 0), _Handler)
        self.requests: list[tuple[str, str, str]] = []


class Control:
    """An HTTP server on loopback; a context manager.

    Attributes:
        requests: method, kind (``things`` or ``jobs``) and name of each request so far.

    """

    def __init__(self) -> None:
        self._server = _Server()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        self.requests = self._server.requests

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._server.server_port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(PATIENCE)
