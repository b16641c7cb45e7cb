"""The child process of ``--local``: MiniStack's app, on loopback only, for as long as standard input lasts.

It reads one line of JSON from standard input, what `provisioning` takes, and writes one line of JSON to standard
output: what its parent needs to know, or ``error``. It ends when standard input ends, which happens however the
parent dies, and removes its folder, which ``TMPDIR`` names.
"""

import asyncio
import json
import os
import shutil
import socket
import sys
from pathlib import Path
from typing import Any

from jobs_sandbox.local import HOST

_OPEN_PATHS = ("/_ministack/health", "/_ministack/iot/ca.pem")
_FIXED = (3, 11, 4)  # the first Python with the correction of gh-103607


class LoopbackLoop(asyncio.SelectorEventLoop):
    """An event loop that hands MiniStack's MQTT listener, which asks for every interface, a socket of ours."""

    def __init__(self, mqtt: socket.socket) -> None:
        super().__init__()
        self._mqtt = mqtt

    async def create_server(self, protocol_factory: Any, *_: Any, **options: Any) -> asyncio.Server:
        """Serve on the socket that is given, or, where an address is, on the one for MQTT."""
        asked = {name: value for name, value in options.items() if name not in ("host", "port")}
        return await super().create_server(protocol_factory, **{"sock": self._mqtt, **asked})


class Gate:
    """MiniStack's ASGI app for AWS requests alone.

    Its own controls, such as a reset that wipes it, are closed, and so is everything to a web page, which could
    reach loopback: a browser sends an ``Origin``. The app's lifespan, which would look after Docker containers, the
    EventBridge scheduler and scripts in the root folder, is not run.
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


def keep_paused_transports_paused() -> None:
    """Let `pause_reading` in `connection_made` count, as Python 3.11.4 does: MiniStack's TLS upgrade relies on it.

    Before (gh-103607), the transport read the ClientHello all the same, and no TLS handshake ever ended.
    """
    from asyncio import selector_events

    def add_reader(self: Any, descriptor: int, callback: Any, *arguments: Any) -> None:
        if self.is_reading():
            self._loop._add_reader(descriptor, callback, *arguments)  # noqa: SLF001 - asyncio's own line

    selector_events._SelectorSocketTransport._add_reader = add_reader  # type: ignore[attr-defined]  # noqa: SLF001


async def _serve(
    control: socket.socket, mqtt: socket.socket
) -> None:  # pragma: no cover - in the child alone
    from hypercorn.asyncio import serve
    from hypercorn.config import Config
    from ministack import app

    from jobs_sandbox.local.child import corrections, provisioning

    warnings = corrections.apply()
    try:
        request = json.loads(sys.stdin.buffer.readline())
        report = await provisioning.provision(Path(os.environ["TMPDIR"]), **request)
    except provisioning.Refused as refused:
        _tell({"refused": str(refused)})
        return
    await app._start_iot_mtls()  # noqa: SLF001 - so that its health request tells the truth
    where = {"endpoint_url": f"http://{HOST}:{_port(control)}", "port": _port(mqtt)}
    _tell(where | report | {"warnings": warnings})
    await provisioning.make_ready()  # while the parent loads what it needs

    config = Config()
    config.bind = [f"fd://{control.fileno()}"]
    config.keep_alive_timeout = (
        75  # seconds, as MiniStack serves itself: clients keep their connections
    )
    config.loglevel = "ERROR"
    await serve(
        Gate(app.app), config, shutdown_trigger=lambda: asyncio.to_thread(_stop_at_end_of_input)
    )


def _stop_at_end_of_input() -> None:  # pragma: no cover - in the child alone
    """Wait for the end of standard input, and end this process, even if its event loop is busy.

    All that MiniStack holds is in memory and goes with it: there is nothing to shut down in good order.
    """
    sys.stdin.buffer.read()
    shutil.rmtree(os.environ["TMPDIR"], ignore_errors=True)
    os._exit(0)


def _tell(report: dict[str, object]) -> None:  # pragma: no cover - in the child alone
    """Write the one line that the parent reads; whatever is printed later belongs to the log."""
    sys.stdout.write(json.dumps(report) + "\n")
    sys.stdout.flush()
    sys.stdout = sys.stderr


def _listener() -> socket.socket:
    """A socket on a port of loopback that nobody else has; from now on, who connects waits to be served."""
    # asyncio sends at once (TCP_NODELAY) on sockets alone that name their protocol: others wait 40 ms now and then.
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.bind((HOST, 0))
    listener.listen()
    listener.settimeout(0)
    return listener


def _port(listener: socket.socket) -> int:  # pragma: no cover - in the child alone
    port: int = listener.getsockname()[1]
    return port


def main() -> None:  # pragma: no cover - in the child alone
    """Run MiniStack; print one line: what the parent needs to know, or why it failed."""
    if sys.version_info < _FIXED:
        keep_paused_transports_paused()
    control, mqtt = _listener(), _listener()
    # MiniStack reads its settings while it loads.
    os.environ |= {"GATEWAY_PORT": str(_port(control)), "IOT_MTLS_PORT": str(_port(mqtt))}
    with asyncio.Runner(loop_factory=lambda: LoopbackLoop(mqtt)) as runner:
        runner.run(_serve(control, mqtt))


if __name__ == "__main__":  # pragma: no cover
    main()
