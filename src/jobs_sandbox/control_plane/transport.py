"""How a call goes over the wire: each attempt is noted, each answer is bounded and read strictly.

botocore reads an answer to its end, however long it is, and its parser stumbles over what AWS would not send. Knows no
operation and no words for users.
"""

import json
import re
from contextvars import ContextVar
from http import HTTPStatus
from http.client import responses
from types import SimpleNamespace
from typing import Any

import urllib3
from botocore import exceptions as boto
from botocore.awsrequest import AWSResponse

from jobs_sandbox.core.text import parse_json

_CHUNK = 1 << 16
_LARGEST = 1 << 20  # bytes; what AWS IoT answers is some kB at most
_LONGEST_WORDS = 1000  # characters of a message


class NotAsDocumented(Exception):
    """An answer that AWS IoT does not give; its text says what is wrong with it."""


class Exchange:
    """What one call sent and met.

    Attributes:
        attempts: for each attempt, whether it may have been carried out.
        answer: the JSON object of a successful answer.
        request_id: the id that the service gave it, or ``""``.
        credentials: what the requests carried of them.

    """

    def __init__(self) -> None:
        self.attempts: list[bool] = []
        self.answer: dict[str, Any] = {}
        self.request_id = ""
        self.credentials: set[str] = set()


EXCHANGE: ContextVar[Exchange] = ContextVar("exchange")
"""The call that this thread is at."""


def send(session: Any, request: Any, **_: object) -> AWSResponse:
    """Send a request in botocore's place: a handler of its ``before-send`` event.

    A successful answer goes to `EXCHANGE`; botocore is left with what it needs to know of a failed one.

    Raises:
        NotAsDocumented: a successful answer that is no JSON object, or too long.
        botocore.exceptions.HTTPClientError, botocore.exceptions.ConnectionError: the attempt failed on its way.

    """
    exchange = EXCHANGE.get()
    exchange.credentials |= _credentials(request.headers)
    exchange.attempts.append(True)
    request.stream_output = True  # or the session would read the body, all of it
    try:
        response = session.send(request)
    except boto.BotoCoreError as error:
        exchange.attempts[-1] = not _never_left(error)
        raise
    status = response.status_code
    exchange.attempts[-1] = (
        not HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.INTERNAL_SERVER_ERROR
    )
    body = _read(response.raw)
    if status < HTTPStatus.MULTIPLE_CHOICES:
        exchange.request_id = response.headers.get("x-amzn-RequestId", "")
        exchange.answer, left = _object(body), b""
    else:
        left = _error(body, status)
    return AWSResponse(
        response.url, status, response.headers, SimpleNamespace(stream=lambda: [left])
    )


def _credentials(headers: Any) -> set[str]:
    values = [
        value.decode("latin-1") if isinstance(value, bytes) else value for value in headers.values()
    ]
    key_ids = {found[1] for value in values if (found := re.search(r"Credential=([^/]*)/", value))}
    token = headers.get("X-Amz-Security-Token", "")
    return key_ids | {token.decode("latin-1") if isinstance(token, bytes) else token}


def _never_left(error: boto.BotoCoreError) -> bool:
    """Whether an attempt that ended so cannot have reached the service."""
    cause = error.kwargs.get("error")
    if isinstance(
        error, boto.SSLError
    ):  # a certificate is refused at once; what else happens to TLS may happen later
        cause = next(iter(cause.args), None)
    elif isinstance(error, boto.ConnectionError):
        return True
    return isinstance(cause, ValueError)  # as is what cannot be a certificate, a URL or a header


def _read(raw: Any) -> bytes:
    body = bytearray()
    try:
        for chunk in raw.stream(_CHUNK):
            body += chunk
            if len(body) > _LARGEST:
                raise NotAsDocumented(f"more than {_LARGEST} bytes")
    except urllib3.exceptions.HTTPError as error:
        raise boto.ResponseStreamingError(error=error) from error
    finally:
        raw.close()
    return bytes(body)


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = parse_json(body) if body.strip() else {}
    except ValueError as error:
        raise NotAsDocumented("no JSON") from error
    if not isinstance(found, dict):
        raise NotAsDocumented("no JSON object")
    return found


def _error(body: bytes, status: int) -> bytes:
    """An error's document, reduced to the strings that botocore's parser expects; with a message, if it has none."""
    try:
        found = parse_json(body)
    except ValueError:
        found = None
    words = {"message": responses.get(status, "")}
    if isinstance(found, dict):
        words |= {
            name: value[:_LONGEST_WORDS] for name, value in found.items() if isinstance(value, str)
        }
    return json.dumps(words).encode()
