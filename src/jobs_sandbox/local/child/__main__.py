"""The child process of ``--local``: MiniStack's app on loopback, until standard input ends.

Standard input and output carry JSON objects, one a line. The first line has the arguments of
`provisioning.provision`; the answer is what a client needs, or ``error``. Each later line is a
request with ``name`` and ``arguments``; its answer has a ``result`` or an ``error``. Standard input
ends when the parent ends, whatever the reason. Then the process removes its folder, which
``TMPDIR`` names, and ends.
"""

import asyncio
import json
import os
import shutil
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jobs_sandbox.local import HOST

# The first Python without gh-103607.
_FIXED = (3, 11, 4)
# Bytes of a line on standard input.
_LONGEST_LINE = 1 << 20

Answer = Callable[[dict[str, Any]], None]


def main() -> None:  # pragma: no cover - in the child alone
    """Run MiniStack until the end of standard input."""
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    # Whatever MiniStack prints belongs to the log.
    os.dup2(2, 1)

    def answer(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    try:
        if sys.version_info < _FIXED:
            keep_paused_transports_paused()
        control, mqtt = listener(), listener()
        # MiniStack reads its settings while it loads.
        os.environ["GATEWAY_PORT"] = str(control.getsockname()[1])
        os.environ["IOT_MTLS_PORT"] = str(mqtt.getsockname()[1])
        asyncio.run(_serve(control, mqtt, answer))
    # A damaged installation and a limit of the system raise errors of many types.
    except Exception as error:
        traceback.print_exc()
        answer({"error": f"{type(error).__name__}: {error}"})


def listener() -> socket.socket:
    """A socket that listens on a free port of loopback; clients that connect wait to be served."""
    # asyncio sends at once (TCP_NODELAY) only on sockets that name their protocol: on others, an
    # answer takes 40 ms now and then.
    listening = socket.socket(proto=socket.IPPROTO_TCP)
    listening.bind((HOST, 0))
    listening.listen()
    listening.settimeout(0)
    return listening


def keep_paused_transports_paused() -> None:
    """Let `pause_reading` in `connection_made` take effect, as since Python 3.11.4.

    MiniStack's upgrade to TLS relies on it. Before (gh-103607; Debian 12 has Python 3.11.2), the
    transport read the ClientHello all the same, and no TLS handshake ever ended.
    """
    from asyncio import selector_events

    def add_reader(self: Any, descriptor: int, callback: Any, *arguments: Any) -> None:
        if self.is_reading():
            self._loop._add_reader(descriptor, callback, *arguments)

    transport: Any = selector_events._SelectorSocketTransport  # type: ignore[attr-defined]
    transport._add_reader = add_reader


async def _serve(
    control: socket.socket, mqtt: socket.socket, answer: Answer
) -> None:  # pragma: no cover - in the child alone
    from hypercorn.asyncio import serve
    from hypercorn.config import Config
    from ministack import app
    from ministack.services import iot

    from jobs_sandbox.local.child import activity, corrections, faults, provisioning
    from jobs_sandbox.local.child.request_filter import RequestFilter

    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=_LONGEST_LINE)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    corrections.apply()
    provisioning.set_content_types()
    request = await _next(lines)
    report = await provisioning.provision(Path(os.environ["TMPDIR"]), **request)
    faults.apply(report.pop("device_certificate_id"))
    # MiniStack itself would listen on every interface.
    iot._mtls_server = await loop.create_server(activity.Acceptor, sock=mqtt)
    config = Config()
    config.bind = [f"fd://{control.fileno()}"]
    # In seconds, as MiniStack serves itself: clients keep their connections.
    config.keep_alive_timeout = 75
    config.loglevel = "ERROR"
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(
            serve(RequestFilter(app.app), config, shutdown_trigger=asyncio.Event().wait)
        )
        # In a thread; otherwise the certificate of MQTT would be made for the first client.
        tasks.create_task(iot._mtls_context())
        where = {
            "endpoint_url": f"http://{HOST}:{control.getsockname()[1]}",
            "port": mqtt.getsockname()[1],
        }
        answer(where | report)
        while True:
            request = await _next(lines)
            answer(await _carry_out(request["name"], request["arguments"]))


async def _carry_out(
    name: str, arguments: dict[str, Any]
) -> dict[str, Any]:  # pragma: no cover - in the child alone
    from jobs_sandbox.local.child import activity, faults

    try:
        if name == "fault":
            await faults.cause(**arguments)
            return {"result": None}
        return {"result": activity.activity(faults.clients(**arguments))}
    except ValueError as error:
        return {"error": str(error)}


async def _next(lines: asyncio.StreamReader) -> Any:  # pragma: no cover - in the child alone
    """The next line, or the end of this process.

    MiniStack holds everything in memory, so nothing has to be shut down in good order.
    """
    line = await lines.readline()
    if not line:
        shutil.rmtree(os.environ["TMPDIR"], ignore_errors=True)
        os._exit(0)
    return json.loads(line)


if __name__ == "__main__":  # pragma: no cover
    main()
