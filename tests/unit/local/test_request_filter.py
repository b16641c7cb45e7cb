"""The HTTP port of the embedded AWS IoT answers AWS requests alone."""

import asyncio
import json
from typing import Any

import pytest

from jobs_sandbox.local.child.request_filter import RequestFilter

GET, POST, PUT = "GET", "POST", "PUT"
HOST = (b"host", b"127.0.0.1:4566")


def ask(
    path: str,
    method: str = GET,
    headers: tuple[tuple[bytes, bytes], ...] = (HOST,),
    kind: str = "http",
    query: bytes = b"",
) -> Any:
    """What an ASGI server gets: ``"let through"``, or the messages of a refusal."""
    sent: list[Any] = []

    async def app(*_: object) -> None:
        sent.append("let through")

    async def send(message: object) -> None:
        sent.append(message)

    scope = {"type": kind, "path": path, "method": method, "headers": headers}
    asyncio.run(RequestFilter(app)(scope | {"query_string": query}, None, send))
    return sent


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/things/T", GET),
        ("/jobs/J", PUT),
        ("/_ministack/health", GET),
        ("/_ministack/iot/ca.pem", GET),
    ],
)
def test_requests_that_pass(path: str, method: str) -> None:
    """AWS requests, the health request and the CA pass."""
    assert ask(path, method) == ["let through"]


@pytest.mark.parametrize(
    ("path", "method", "headers"),
    [
        ("/_ministack/reset", POST, ()),
        ("/_ministack/health", POST, ()),
        ("/_localstack/health", GET, ()),
        ("/jobs/J", PUT, ((b"Origin", b"https://example.com"),)),
        ("/_ministack/iot/ca.pem", GET, ((b"origin", b"null"),)),
    ],
)
def test_requests_that_are_refused(path: str, method: str, headers: Any) -> None:
    """MiniStack's own controls, and requests of web pages, are refused in one line of JSON."""
    start, body = ask(path, method, (HOST, *headers))
    assert (start["type"], start["status"]) == ("http.response.start", 403)
    assert "\n" not in body["body"].decode()
    assert list(json.loads(body["body"])) == ["message"]


def test_a_websocket_is_closed() -> None:
    """A WebSocket of a web page is closed."""
    headers = (HOST, (b"origin", b"https://example.com"))
    assert ask("/mqtt", headers=headers, kind="websocket") == [
        {"type": "websocket.close", "code": 1008}
    ]


def test_the_lifespan_is_not_run() -> None:
    """What MiniStack would do at start and end, such as looking after containers, is left out."""
    assert ask("", kind="lifespan") == []
