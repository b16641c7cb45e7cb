"""The HTTP port of the embedded AWS IoT answers AWS requests of local programs alone."""

import asyncio
import json
from typing import Any

import pytest

from jobs_sandbox.local.child.request_filter import RequestFilter


def ask(line: str, kind: str = "http", **headers: str) -> list[Any]:
    """What an ASGI server gets for a request line: ``"let through"``, or a refusal's messages."""
    sent: list[Any] = []

    async def app(*_: object) -> None:
        sent.append("let through")

    async def send(message: object) -> None:
        sent.append(message)

    method, _, target = line.partition(" ")
    path, _, query = target.partition("?")
    given = {"host": "127.0.0.1:4566"} | headers
    scope = {
        "type": kind,
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }
    asyncio.run(RequestFilter(app)(scope, None, send))
    return sent


@pytest.mark.parametrize(
    ("line", "headers"),
    [
        ("GET /things/T?maxResults=5", {}),
        ("PUT /jobs/J", {"host": "LOCALHOST"}),
    ],
)
def test_requests_that_pass(line: str, headers: dict[str, str]) -> None:
    """AWS requests pass, by both names of this machine."""
    assert ask(line, **headers) == ["let through"]


@pytest.mark.parametrize(
    ("line", "headers", "reason"),
    [
        ("POST /_ministack/reset", {}, "closed"),
        ("GET /things", {"origin": "null"}, "web page"),
        ("GET /things", {"sec-fetch-site": "none"}, "web page"),
        ("GET /things", {"host": "evil.example"}, "Host"),
        ("GET /things", {"host": "127.0.0.1.evil.example:80"}, "Host"),
        ("GET /things", {"host": ""}, "Host"),
        ("GET /?Action=CreatePolicy&X-Amz-Credential=test/20261129", {}, "credentials"),
        ("GET /?x%2Damz-credential=test", {}, "credentials"),
        ("GET /?AWSAccessKeyId=test&Signature=x", {}, "credentials"),
    ],
)
def test_requests_that_are_refused(line: str, headers: dict[str, str], reason: str) -> None:
    """MiniStack's own controls, and requests that a web page can make, are refused."""
    start, body = ask(line, **headers)
    assert start["status"] == 403
    assert reason in json.loads(body["body"])["message"]


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
def test_other_scopes(kind: str) -> None:
    """A WebSocket is not served, and the app's lifespan is not run."""
    assert ask("GET /mqtt", kind) == []
