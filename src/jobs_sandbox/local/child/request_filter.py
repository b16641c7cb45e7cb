"""Keeps everything from MiniStack's HTTP port that is not a request to AWS."""

import json
from typing import Any

_OPEN_PATHS = ("/_ministack/health", "/_ministack/iot/ca.pem")


class RequestFilter:
    """MiniStack's ASGI app for AWS requests alone.

    MiniStack's own controls, such as a reset that wipes it, are closed, and so is everything to a
    web page, which
    could reach loopback: a browser sends an ``Origin``. The app's lifespan, which would look after
        Docker containers,
    the EventBridge scheduler and scripts in the root folder, is not run.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Let a request through, or refuse it with status 403."""
        if scope["type"] == "lifespan":
            return
        if reason := _refusal(scope):
            await _refuse(scope, send, reason)
        else:
            await self._app(scope, receive, send)


def _refusal(scope: Any) -> str:
    if any(name.lower() == b"origin" for name, _ in scope["headers"]):
        return "no web page may use this: a request with an Origin is refused"
    path = scope["path"]
    if path.startswith("/_") and not (path in _OPEN_PATHS and scope.get("method") == "GET"):
        return f"{path} is closed here"
    return ""


async def _refuse(scope: Any, send: Any, reason: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps({"message": reason}).encode()})
