"""The child process of ``--local``: MiniStack, on loopback only, for as long as its standard input lasts."""

import asyncio
import os
import shutil
import sys
from typing import Any

from jobs_sandbox.threads import start_thread

HOST = "127.0.0.1"
READY = "ready"
_LISTENERS = 2  # the control plane and the MQTT endpoint


def serve() -> None:  # pragma: no cover - runs in a process of its own, where the integration tests meet it
    """Be MiniStack; print that it is ready, or why not, as the first line, and no other."""
    create_server = asyncio.BaseEventLoop.create_server
    listening = []

    async def create_loopback_server(
        loop: asyncio.BaseEventLoop, factory: Any, host: Any = None, port: Any = None, **options: Any
    ) -> Any:
        """MiniStack's MQTT listener asks for every interface, and lets in who shows no certificate: not here."""
        try:
            host = None if options.get("sock") else HOST  # a socket is bound already, as BIND_HOST says
            server = await create_server(loop, factory, host, port, **options)
        except OSError as error:
            os.write(1, f"port {port}: {error}\n".encode())
            raise
        listening.append(server)
        if len(listening) == _LISTENERS:
            os.write(1, f"{READY}\n".encode())
            os.dup2(2, 1)  # from here on nobody reads the pipe
        return server

    def stop_at_end_of_input() -> None:
        while os.read(0, 4096):
            pass
        shutil.rmtree(os.environ["TMPDIR"], ignore_errors=True)
        os._exit(0)

    asyncio.BaseEventLoop.create_server = create_loopback_server  # type: ignore[method-assign, assignment]
    start_thread(stop_at_end_of_input, "stdin")
    sys.argv = ["ministack"]
    from ministack.app import main  # not before the listeners are in hand

    main()


if __name__ == "__main__":  # pragma: no cover
    serve()
