"""A MiniStack of one's own that keeps its state, on ports that stay; to be killed and started again."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import psutil

from jobs_sandbox.local import HOST, REGION
from jobs_sandbox.local.child import __main__ as child
from jobs_sandbox.local.service import LocalIoT, ministack_settings
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
        place = (HOST, int(self._ports[1]), str(folder / "ca.pem"), "", "", REGION, "", url)
        self.account = Account(LocalIoT(*place, environment={}), folder)

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


async def _serve(control: socket.socket) -> None:
    from hypercorn.asyncio import serve
    from hypercorn.config import Config
    from ministack.app import app

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
    sys.stdout.write("listening\n")  # who connects from now on waits to be served
    sys.stdout.flush()
    with asyncio.Runner(loop_factory=lambda: child.LoopbackLoop(mqtt)) as runner:
        runner.run(_serve(control))


if __name__ == "__main__":
    main()
