"""Lets only the AWS requests of programs on this machine through MiniStack's HTTP port."""

import json
from typing import Any
from urllib.parse import parse_qs

_HOSTS = ("127.0.0.1", "localhost")
_CREDENTIALS = {"x-amz-credential", "awsaccesskeyid"}


class RequestFilter:
    """MiniStack's ASGI app, limited to AWS requests over HTTP.

    MiniStack's own controls, such as a reset that wipes it, are closed. So is everything to web
    pages, which can reach loopback: a browser sends ``Origin`` or ``Sec-Fetch-…``, a page whose
    name leads to 127.0.0.1 has another ``Host``, and an image has credentials only in its query.
    WebSockets are refused. The app's lifespan, which would look after Docker containers, the
    EventBridge scheduler and scripts in the root folder, is not run.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Let a request through, or refuse it with status 403."""
        if scope["type"] != "http":
            return
        reason = _refusal(scope)
        if not reason:
            await self._app(scope, receive, send)
            return
        headers = [(b"content-type", b"application/json")]
        body = json.dumps({"message": reason}).encode()
        await send({"type": "http.response.start", "status": 403, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _refusal(scope: Any) -> str:
    headers = dict(scope["headers"])
    host = headers.get(b"host", b"").decode("latin-1").lower()
    if host.partition(":")[0] not in _HOSTS:
        return "the Host of a request must be 127.0.0.1 or localhost"
    if any(name == b"origin" or name.startswith(b"sec-fetch-") for name in headers):
        return "a request of a web page is refused"
    query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    if _CREDENTIALS.intersection(map(str.lower, query)):
        return "credentials in the query are refused"
    if scope["path"].startswith("/_"):
        return "MiniStack's own controls are closed"
    return ""
