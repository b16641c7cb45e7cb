"""A small control plane on loopback: things, jobs and executions as AWS IoT answers for them.

It takes any credentials. A test scripts what is to be answered otherwise.
"""

import json
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, urlsplit

from tests.support.proxy import HOST, PATIENCE

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
    """What is answered: a document, or bytes as they are."""

    status: int
    body: object = b""
    headers: Mapping[str, str] = MappingProxyType({})

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


def refusal(status: int, code: str, message: str = "no", **fields: object) -> Answer:
    """An error as AWS IoT answers it."""
    return Answer(
        status,
        {"message": message} | fields,
        {"x-amzn-ErrorType": f"{code}:http://internal.amazon.com/"},
    )


NOT_FOUND = refusal(404, "ResourceNotFoundException")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = (
        -1
    )  # an answer in one piece: the body does not wait for the acknowledgement of the headers
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
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        kind, name, *rest = [*url.path.strip("/").split("/"), ""]
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        headers = {key.lower(): value for key, value in self.headers.items()}
        request = Request(
            self.command,
            kind,
            name,
            tuple(filter(None, rest)),
            query,
            headers,
            json.loads(body) if body.startswith(b"{") else body,
        )
        answer = self.server.control.take(request)
        if isinstance(answer, bytes):  # as they are, and no more
            self.wfile.write(answer)
            self.close_connection = True
            return
        self.send_response(answer.status)
        for header, value in {
            "Content-Type": "application/json",
            "x-amzn-RequestId": "1",
            **answer.headers,
        }.items():
            self.send_header(header, value)
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has in the base class
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    control: "Control"

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay silent: a program that has had enough hangs up."""


class Control:
    """An HTTP server on loopback; a context manager.

    Attributes:
        requests: what was asked so far.
        answer: answers each request; bytes are sent as they are, and the connection is closed.
        things: the names of those there are.
        jobs: those there are, by id, with the status of each thing's execution.

    """

    def __init__(self, *things: str) -> None:
        self.reset(*things)
        self._server = _Server((HOST, 0), _Handler)
        self._server.control = self
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )
        self._thread.start()

    def reset(self, *things: str) -> None:
        """Know these things, and nothing else."""
        self.requests: list[Request] = []
        self.answer: Callable[[Request], Answer | bytes] = self.truthful
        self.things = set(things)
        self.jobs: dict[str, dict[str, str]] = {}

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._server.server_port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(PATIENCE)

    def script(self, *answers: Answer | bytes) -> None:
        """Answer the next requests so, and every further one as the last."""
        waiting = list(answers)
        self.answer = lambda _: waiting.pop(0) if len(waiting) > 1 else waiting[0]

    def take(self, request: Request) -> Answer | bytes:
        """Note a request, and answer it."""
        self.requests.append(request)
        return self.answer(request)

    def truthful(self, request: Request) -> Answer:
        """Answer as AWS IoT documents it."""
        match request:
            case Request(kind="things", rest=()):
                return self._thing(request)
            case Request(method="GET", kind="things", rest=("jobs", job_id)):
                return self._describe_execution(request.name, job_id)
            case Request(method="PUT", kind="jobs", rest=()):
                return self._create(request.name, request.body["targets"])
            case Request(method="PUT", kind="jobs", rest=("cancel",)):
                return self._cancel(request.name, forced=request.query.get("force") == "true")
            case Request(method="DELETE", kind="jobs", rest=()):
                return self._delete(request.name)
        return refusal(404, "UnknownOperationException")

    def _thing(self, request: Request) -> Answer:
        if request.method == "POST":
            self.things.add(request.name)
        if request.name not in self.things:
            return NOT_FOUND
        return Answer(200, {"thingName": request.name, "thingArn": f"{ARN}:thing/{request.name}"})

    def _create(self, job_id: str, targets: list[str]) -> Answer:
        if job_id in self.jobs:
            arn = f"{ARN}:job/{job_id}"
            return refusal(
                409, "ResourceAlreadyExistsException", resourceArn=arn, resourceId=job_id
            )
        self.jobs[job_id] = {target.rpartition("/")[2]: "QUEUED" for target in targets}
        return self._job(job_id)

    def _cancel(self, job_id: str, *, forced: bool) -> Answer:
        if job_id not in self.jobs:
            return NOT_FOUND
        ending = ("QUEUED", "IN_PROGRESS") if forced else ("QUEUED",)
        executions = self.jobs[job_id]
        executions |= {
            thing: "CANCELED" for thing, status in executions.items() if status in ending
        }
        return self._job(job_id)

    def _delete(self, job_id: str) -> Answer:
        if job_id not in self.jobs:
            return NOT_FOUND
        if {"QUEUED", "IN_PROGRESS"} & set(self.jobs[job_id].values()):
            return refusal(409, "InvalidStateTransitionException")
        del self.jobs[job_id]
        return Answer(200)

    def _describe_execution(self, thing: str, job_id: str) -> Answer:
        status = self.jobs.get(job_id, {}).get(thing)
        if status is None:
            return NOT_FOUND
        execution = {
            "jobId": job_id,
            "status": status,
            "statusDetails": {"detailsMap": {"step": "1"}},
            "thingArn": f"{ARN}:thing/{thing}",
            "queuedAt": NOW,
            "lastUpdatedAt": NOW,
            "executionNumber": 1,
            "versionNumber": 1,
        }
        return Answer(200, {"execution": execution})

    def _job(self, job_id: str) -> Answer:
        return Answer(200, {"jobArn": f"{ARN}:job/{job_id}", "jobId": job_id})
