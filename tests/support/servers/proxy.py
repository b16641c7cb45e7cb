"""A TCP proxy on loopback that can cut connections, refuse them, or swallow their bytes."""

import asyncio
from contextlib import suppress

from jobs_sandbox.local import HOST
from tests.support.servers.loop import Server


class Proxy(Server):
    """Forwards connections to a port of this machine.

    Attributes:
        silent: bytes are thrown away in both directions, and no connection ends: the network has
            gone silent.

    """

    def __init__(self, target: int) -> None:
        self._target = target
        self.silent = False
        super().__init__()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward in both directions."""
        target_reader, target_writer = await asyncio.open_connection(HOST, self._target)
        try:
            await asyncio.gather(
                self._forward(reader, target_writer), self._forward(target_reader, writer)
            )
        finally:
            target_writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if not self.silent:
                    writer.write(data)
                    await writer.drain()
        if self.silent:
            await asyncio.Event().wait()
        writer.transport.abort()
