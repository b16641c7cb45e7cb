"""A MiniStack that keeps its state and its ports, to be killed and started again."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil

from jobs_sandbox.local import HOST, REGION
from jobs_sandbox.local.child import __main__ as child
from jobs_sandbox.local.service import ministack_settings
from tests.support.account import PATIENCE, Account
from tests.support.program import environment


class MiniStack:
    """A MiniStack with ``account`` in it; its ``child`` is the process."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        with socket.create_server((HOST, 0)) as control, socket.create_server((HOST, 0)) as mqtt:
            self._ports = [str(listener.getsockname()[1]) for listener in (control, mqtt)]
        self.child = self._start()
        url = f"http://{HOST}:{self._ports[0]}"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{url}/_ministack/iot/ca.pem", timeout=PATIENCE) as response:
            (folder / "ca.pem").write_bytes(response.read())
        local: Any = SimpleNamespace(
            endpoint=HOST,
            port=int(self._ports[1]),
            ca_file=str(folder / "ca.pem"),
            region=REGION,
            endpoint_url=url,
            environment={},
        )
        self.account = Account(local, folder)

    def _start(self) -> psutil.Popen:
        settings = ministack_settings(self._folder) | {
            "PERSIST_STATE": "1",
            "STATE_DIR": str(self._folder / "state"),
            "GATEWAY_PORT": self._ports[0],
            "IOT_MTLS_PORT": self._ports[1],
        }
        with (self._folder / "log").open("ab") as log:
            started = psutil.Popen(
                [sys.executable, "-m", "tests.support.ministack"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment(settings),
            )
        assert started.stdout.readline() == b"listening\n"
        return started

    def end(self, number: signal.Signals) -> None:
        """Send a signal, and wait for its end; SIGTERM lets it save its state."""
        self.child.send_signal(number)
        self.child.wait(PATIENCE)
        self.child.stdout.close()

    def start_again(self) -> None:
        """Start it on the same ports, with the state that it saved."""
        self.child = self._start()


async def _serve(control: socket.socket, mqtt: socket.socket) -> None:
    from hypercorn.asyncio import serve
    from hypercorn.config import Config
    from ministack.app import app

    await child.start_mqtt(mqtt)
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    config = Config()
    config.bind = [f"fd://{control.fileno()}"]
    served: Any = app  # with its lifespan, which loads the state and saves it
    await serve(served, config)


def main() -> None:
    """MiniStack itself, without our corrections, on loopback."""
    if sys.version_info < (3, 11, 4):
        child.keep_paused_transports_paused()
    control, mqtt = (
        socket.create_server((HOST, int(os.environ[name])))
        for name in ("GATEWAY_PORT", "IOT_MTLS_PORT")
    )
    asyncio.run(_serve(control, mqtt))


if __name__ == "__main__":
    main()
