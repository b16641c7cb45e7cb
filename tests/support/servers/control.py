"""A small control plane on loopback: things and jobs, as AWS IoT answers for them.

It accepts any credentials. A test scripts what it answers otherwise.
"""

import json
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, urlsplit

from jobs_sandbox.local import HOST

ARN = "arn:aws:iot:us-east-1:000000000000"
NOW = 1748981622.125  # seconds; the control plane's times have a fraction


class Request(NamedTuple):
    """A request: ``kind`` is ``things`` or ``jobs``, ``rest`` follows the name in the path."""

    method: str
    kind: str
    name: str
    rest: tuple[str, ...]
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


class Answer(NamedTuple):
    """An answer: its body is a document, or bytes that are sent as they are."""

    status: int
    body: object = b""
    headers: Mapping[str, str] = MappingProxyType({})


def refusal(status: int, code: str, message: str = "no", **fields: object) -> Answer:
    """An error as AWS IoT answers it."""
    kind = f"{code}:http://internal.amazon.com/"
    return Answer(status, {"message": message} | fields, {"x-amzn-ErrorType": kind})


NOT_FOUND = refusal(404, "ResourceNotFoundException")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # An answer is sent in one piece; its body would wait for the acknowledgement of its head.
    wbufsize = -1
    control: "Control"

    def _answer(self) -> None:
        body: Any = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        kind, name, *rest = [*url.path.strip("/").split("/"), ""]
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        headers = {key.lower(): value for key, value in self.headers.items()}
        body = json.loads(body) if body.startswith(b"{") else body
        request = Request(self.command, kind, name, tuple(filter(None, rest)), query, headers, body)
        self.control.requests.append(request)
        answer = self.control.answer(request)
        if isinstance(answer, bytes):
            self.wfile.write(answer)
            self.close_connection = True
            return
        content = answer.body
        if not isinstance(content, bytes):
            content = json.dumps(content).encode()
        self.send_response(answer.status)
        given = {"Content-Type": "application/json", "Content-Length": str(len(content))}
        for header, value in (given | dict(answer.headers)).items():
            self.send_header(header, value)
        self.end_headers()
        self.wfile.write(content)

    # The base class calls them by these names.
    do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


class Control:
    """An HTTP server; a context manager.

    Attributes:
        requests: all requests so far.
        answer: answers each request; bytes are sent as they are, and the connection is closed.
        things: the names of the things that exist.
        jobs: the jobs that exist, by id, with the status of each thing's execution.
        url: its URL.

    """

    def __init__(self, *things: str) -> None:
        self.reset(*things)
        handler = type("Handler", (_Handler,), {"control": self})
        self._server = ThreadingHTTPServer((HOST, 0), handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        # A program that has waited long enough hangs up, which is no error.
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.url = f"http://{HOST}:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def reset(self, *things: str) -> None:
        """Know these things, and nothing else."""
        self.requests: list[Request] = []
        self.answer: Callable[[Request], Answer | bytes] = self._truthful
        self.things = set(things)
        self.jobs: dict[str, dict[str, str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def script(self, *answers: Answer | bytes) -> None:
        """Answer the next requests so, and every further one as the last."""
        waiting = list(answers)
        self.answer = lambda _: waiting.pop(0) if len(waiting) > 1 else waiting[0]

    def _truthful(self, request: Request) -> Answer:
        """Answer as AWS IoT documents it."""
        name = request.name
        if request.kind == "things":
            if request.method == "POST":
                self.things.add(name)
            if name not in self.things:
                return NOT_FOUND
            return Answer(200, {"thingName": name, "thingArn": f"{ARN}:thing/{name}"})
        if request.method == "DELETE":
            del self.jobs[name]
            return Answer(200)
        if request.rest:
            ending = {"QUEUED", "IN_PROGRESS"} if request.query["force"] == "true" else {"QUEUED"}
            for thing, status in self.jobs[name].items():
                if status in ending:
                    self.jobs[name][thing] = "CANCELED"
        else:
            targets = request.body["targets"]
            self.jobs[name] = {target.rpartition("/")[2]: "QUEUED" for target in targets}
        return Answer(200, {"jobArn": f"{ARN}:job/{name}", "jobId": name})
