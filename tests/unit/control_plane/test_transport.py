"""No answer of a server ends the program, fills its memory, or passes for what AWS IoT did not say."""

import json
import socket
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count

import pytest
import trustme

from jobs_sandbox.control_plane.client import ControlPlane
from jobs_sandbox.core.errors import NotFound, RequestFailed
from tests.support.control import ARN, Answer, Control
from tests.support.servers import answering, server_tls, serving
from tests.unit.control_plane.conftest import Connect
from tests.unit.control_plane.test_client import CHANGING, OPERATIONS, failure

NOT_AWS = "the control plane answered, but not as AWS IoT does: "
HTML = b"<!doctype html><html><title>Log in</title></html>"
LARGE = 1 << 20  # bytes
DEEP = b"[" * 60_000 + b"]" * 60_000
NEEDED = {
    "iot:DescribeThing": "thingArn",
    "iot:CreateJob": "jobArn",
    "iot:CancelJob": "jobArn",
    "iot:DescribeJobExecution": "execution",
}


def http(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "\r\n"]).encode() + body


@pytest.mark.parametrize("action", OPERATIONS)
@pytest.mark.parametrize(
    ("body", "what"),
    [
        (HTML, "no JSON"),
        (b"\xff\xfe\x80", "no JSON"),
        (b'{"jobArn": NaN}', "no JSON"),
        (DEEP, "no JSON"),
        (b"9" * 5000, "no JSON"),
        (b"[]", "no JSON object"),
        (b"null", "no JSON object"),
        (b'"arn:aws:iot:us-east-1:1:job/Job1"', "no JSON object"),
        (b"x" * (LARGE + 1), f"more than {LARGE} bytes"),
    ],
    ids=["html", "no text", "NaN", "deep", "long number", "list", "null", "string", "large"],
)
def test_success_that_is_none(
    plane: ControlPlane, service: Control, action: str, body: bytes, what: str
) -> None:
    """A 200 that is no JSON object is no success; the outcome of what should have changed something is unknown."""
    service.script(Answer(200, body, {"Content-Type": "text/html"}))
    error = failure(plane, action)
    unknown = "; its outcome is unknown" if action in CHANGING else ""
    assert error.message == f"{action}: {NOT_AWS}{what}{unknown}"
    assert "--endpoint-url" in error.cause
    assert error.uncertain
    assert len(service.requests) == 1


@pytest.mark.parametrize("action", NEEDED)
@pytest.mark.parametrize("found", [None, "", 5, ["arn"], {"a": 1}, {"status": None}, {"status": 5}])
def test_success_without_what_it_must_have(
    plane: ControlPlane, service: Control, action: str, found: object
) -> None:
    """A 200 without an ARN, or without an execution, is no success."""
    for body in ({NEEDED[action]: found}, {}, b"", b" \r\n"):
        service.script(Answer(200, body))
        error = failure(plane, action)
        assert error.message.startswith(f"{action}: {NOT_AWS}without {NEEDED[action]}")
        assert error.uncertain


def test_a_created_thing_without_arn(plane: ControlPlane, service: Control) -> None:
    """A 200 for CreateThing that has no ARN created nothing that is known of."""
    service.script(
        Answer(404, b"", {"x-amzn-ErrorType": "ResourceNotFoundException"}), Answer(200, {})
    )
    assert failure(plane, "iot:DescribeThing").message.startswith(
        f"iot:CreateThing: {NOT_AWS}without thingArn"
    )


@pytest.mark.parametrize("body", [b"", b"{}", {"odd": None}])
def test_deletion_has_nothing_to_say(plane: ControlPlane, service: Control, body: object) -> None:
    """DeleteJob is answered by an empty body, or by a JSON object."""
    service.script(Answer(200, body))
    plane.delete_job("Job1")


def test_deletion_by_nobody(plane: ControlPlane, service: Control) -> None:
    """An empty 200 without a request id is none of AWS's: whether the job is deleted is unknown."""
    service.script(http(b"", "Content-Length: 0"))
    error = failure(plane, "iot:DeleteJob")
    assert error.message == f"iot:DeleteJob: {NOT_AWS}without a request id; its outcome is unknown"
    assert error.uncertain


@pytest.mark.parametrize("action", OPERATIONS)
def test_odd_members_of_a_success(plane: ControlPlane, service: Control, action: str) -> None:
    """Members that are of no use here may be anything."""
    good = {
        "thingArn": f"{ARN}:thing/T",
        "jobArn": f"{ARN}:job/Job1",
        "execution": {"status": "QUEUED"},
    }
    service.script(
        Answer(200, good | {"attributes": 5, "version": "x", "description": [1], "jobId": {}})
    )
    OPERATIONS[action](plane)


ERRORS: list[object] = [
    {"code": 403, "message": "Forbidden"},
    {"message": None},
    {"message": 5},
    {"message": ["a"], "code": {"b": 1}, "__type": 7, "Message": True},
    {"__type": None, "resourceArn": 5, "resourceId": []},
    [],
    [1, 2],
    "text",
    7,
    None,
    b"",
    HTML,
    b"\xff\xfe",
    b'{"message": NaN}',
    b'{"message": "\\ud800"}',
    DEEP,
    b"9" * 5000,
    b"x" * 1000,
]


@pytest.mark.parametrize("action", OPERATIONS)
@pytest.mark.parametrize("body", ERRORS, ids=range(len(ERRORS)))
def test_odd_errors(plane: ControlPlane, service: Control, action: str, body: object) -> None:
    """Whatever the body of an error is, it is a failure with its status, and never a traceback."""
    for status, headers in (
        (300, {}),
        (302, {"Location": "http://127.0.0.1:9/"}),
        (400, {}),
        (403, {"x-amzn-ErrorType": ":#:"}),
        (404, {"x-amzn-ErrorType": "ResourceNotFoundException"}),
        (418, {}),
        (599, {}),
    ):
        service.script(Answer(status, body, headers))
        error = failure(plane, action)
        assert error.message.startswith((f"{action} failed: ", "iot:CreateThing failed: "))
        assert len(error.message) < 1200
        assert error.uncertain is (status >= 500)
        assert isinstance(error, NotFound) is (status == 404)


def test_an_error_of_no_aws(plane: ControlPlane, service: Control) -> None:
    """An error without a code of AWS's is put down to what answers in its place, by its status and its words."""
    service.script(Answer(403, {"code": 403, "message": "Forbidden"}))
    error = failure(plane, "iot:DeleteJob")
    assert error.message == "iot:DeleteJob failed: 403: Forbidden"
    assert "--endpoint-url" in error.cause
    service.script(Answer(302, HTML))
    assert failure(plane, "iot:DeleteJob").message == "iot:DeleteJob failed: 302: Found"
    service.script(Answer(403, {"message": "x" * 5000}))
    assert failure(plane, "iot:DeleteJob").message == f"iot:DeleteJob failed: 403: {'x' * 1000}"


def test_redirects_are_not_followed(plane: ControlPlane, service: Control) -> None:
    """A redirect is a failure: the signed request goes nowhere else."""
    service.script(Answer(307, b"", {"Location": f"{service.url}/jobs/Other"}))
    assert (
        failure(plane, "iot:DeleteJob").message == "iot:DeleteJob failed: 307: Temporary Redirect"
    )
    assert [it.name for it in service.requests] == ["Job1"]


@pytest.mark.parametrize(
    "answer",
    [
        http(b'{"jobArn": "arn', "Content-Length: 100"),
        http(b'{"jobArn": "arn', "Transfer-Encoding: chunked"),
        http(b"5\r\n{}", "Transfer-Encoding: chunked"),
        http(b"zz\r\n{}\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
        http(b"{}", "Content-Length: x"),
        http(b"{}", "Content-Length: 2", "Content-Length: 3"),
        http(b"{}", "Content-Length: -1"),
        http(b"{}", *(f"X-{number}: y" for number in range(200))),
        http(b"{}", f"X: {'y' * 70_000}"),
        http(b"", status="abc"),
        b"\x16\x03\x01\x02\x00",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200",
        b"",
    ],
    ids=count(),
)
@pytest.mark.parametrize("action", CHANGING)
def test_answers_cut_or_garbled(
    plane: ControlPlane, service: Control, action: str, answer: bytes
) -> None:
    """An answer that is cut short, or no HTTP, leaves it open whether the request was carried out."""
    service.script(answer)
    error = failure(plane, action)
    assert error.uncertain
    assert error.cause
    assert "\n" not in error.message


def test_shorter_than_it_is(plane: ControlPlane, service: Control) -> None:
    """An answer whose length is said to be less than it is ends there."""
    service.script(http(b'{"jobArn": "arn:aws:iot:us-east-1:1:job/Job1"}', "Content-Length: 10"))
    assert failure(plane, "iot:CreateJob").message.startswith(f"iot:CreateJob: {NOT_AWS}no JSON")


# Bounds


def _chunks() -> Iterator[bytes]:
    yield http(b"", "Transfer-Encoding: chunked")
    while True:
        yield b"10000\r\n" + b"x" * 0x10000 + b"\r\n"


def _lengthy() -> Iterator[bytes]:
    yield http(b"", f"Content-Length: {1 << 40}")
    while True:
        yield b"x" * 0x10000


def _one_chunk() -> Iterator[bytes]:
    yield http(b"ffffffffff\r\n", "Transfer-Encoding: chunked")
    while True:
        yield b"x" * 0x10000


@pytest.mark.parametrize("pieces", [_chunks, _lengthy, _one_chunk])
def test_endless_answers(connect: Connect, pieces: Callable[[], Iterator[bytes]]) -> None:
    """An answer without end is given up when it is larger than AWS's can be, and costs no more memory than that."""

    def pour(connection: socket.socket) -> None:
        connection.recv(65536)
        for piece in pieces():
            connection.sendall(piece)

    with serving(pour) as port:
        plane = connect(f"http://127.0.0.1:{port}")
        tracemalloc.start()
        try:
            error = failure(plane, "iot:CreateJob")
            assert tracemalloc.get_traced_memory()[1] < 8 * LARGE
        finally:
            tracemalloc.stop()
    assert f"more than {LARGE} bytes" in error.message
    assert error.uncertain


def test_an_endless_error(connect: Connect) -> None:
    """The same for an error."""

    def pour(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(http(b"", status="403 Forbidden"))
        while True:
            connection.sendall(b"x" * 65536)

    with serving(pour) as port:
        error = failure(connect(f"http://127.0.0.1:{port}"), "iot:DeleteJob")
    assert f"more than {LARGE} bytes" in error.message
    assert not error.uncertain  # for it said 403 first


def test_the_largest_answer(plane: ControlPlane, service: Control) -> None:
    """An answer of just that size is read."""
    answer = {"jobArn": f"{ARN}:job/Job1", "description": ""}
    answer["description"] = "x" * (LARGE - len(json.dumps(answer)))
    service.script(Answer(200, answer))
    plane.create_job("Job1", "{}")


def test_silence_within_an_answer(connect: Connect) -> None:
    """A server that falls silent in the middle of its answer is given up after the timeout."""

    def stall(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(http(b'{"jobArn', "Content-Length: 100"))
        while connection.recv(65536):
            pass

    with serving(stall) as port:
        error = failure(connect(f"http://127.0.0.1:{port}", timeout=0.1), "iot:CreateJob")
    assert error.message.startswith("iot:CreateJob: no answer from http://127.0.0.1:")
    assert "Read timed out" in error.message
    assert error.uncertain


def test_one_connection(
    connect: Connect, service: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers are read to their end, so that the next request finds the connection open."""
    connections = []
    accept = service._server.get_request

    def accepting() -> tuple[socket.socket, object]:
        connections.append(1)
        return accept()

    monkeypatch.setattr(service._server, "get_request", accepting)
    plane = connect()
    for _ in range(3):
        plane.ensure_thing()
        failure(plane, "iot:DeleteJob")
    assert len(connections) == 1


# TLS


@pytest.fixture
def tls(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> trustme.CA:
    """A CA that boto3 trusts."""
    ca = trustme.CA()
    bundle = tmp_path_factory.mktemp("tls") / "ca.pem"
    ca.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    return ca


def test_tls_that_breaks_off(connect: Connect, tls: trustme.CA) -> None:
    """TLS that breaks off after the request leaves it open whether that was carried out."""

    def break_off(connection: socket.socket) -> None:
        connection.recv(65536)
        with suppress(OSError), socket.socket(fileno=connection.detach()) as bare:
            bare.sendall(b"no TLS record" * 10)

    with serving(break_off, server_tls(tls.issue_cert("127.0.0.1"))) as port:
        error = failure(connect(f"https://127.0.0.1:{port}"), "iot:CreateJob")
    assert error.uncertain


def test_a_server_that_is_not_trusted(connect: Connect, tls: trustme.CA) -> None:
    """To a server of another name, or one that is not trusted, nothing is sent."""
    with serving(answering(b""), server_tls(tls.issue_cert("elsewhere.example"))) as port:
        error = failure(connect(f"https://127.0.0.1:{port}"), "iot:CreateJob")
    assert "doesn't match 'elsewhere.example'" in error.message
    assert not error.uncertain
    with serving(answering(b""), server_tls(trustme.CA().issue_cert("127.0.0.1"))) as port:
        error = failure(connect(f"https://127.0.0.1:{port}"), "iot:CreateJob")
    assert "certificate verify failed" in error.message
    assert not error.uncertain


def test_failure_is_an_error_of_ours(plane: ControlPlane, service: Control) -> None:
    """What was raised stays the cause, for whoever looks for it."""
    service.script(Answer(403))
    with pytest.raises(RequestFailed) as caught:
        plane.delete_job("Job1")
    assert type(caught.value.__cause__).__name__ == "ClientError"
