"""A server on loopback whose event loop runs on a thread of its own."""

import asyncio
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from jobs_sandbox.local import HOST
from tests.support.waiting import PATIENCE


class Server:
    """Accepts connections; a context manager.

    Attributes:
        port: where it listens; it stays the same when `listen` follows `refuse`.

    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._loop = self._runner.get_loop()
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self.port = 0
        self.listen()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()
        self.call(self._ended.set)
        self._thread.join(PATIENCE)

    def listen(self) -> None:
        """Accept connections."""
        starting = asyncio.start_server(self._accept, HOST, self.port, ssl=self._tls)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result(PATIENCE)
        self.port = self._server.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """Cut all connections, and accept no more."""
        if self._server:
            self.call(self._server.close)
            self._server = None
        self.drop()

    def drop(self) -> None:
        """Cut all connections without a word."""
        self.call(self._abort)

    def call(self, work: Callable[[], object]) -> None:
        """Run something on the loop, and wait for its end."""
        if threading.current_thread() is self._thread:
            work()
            return

        async def run() -> None:
            work()

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(PATIENCE)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection to its end; defined by each kind of server."""
        raise NotImplementedError

    def _run(self) -> None:
        with self._runner:  # its end cancels the connections
            self._runner.run(self._ended.wait())

    def _abort(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with suppress(OSError, asyncio.CancelledError):
            await self.serve(reader, writer)
        self._writers.discard(writer)
        writer.transport.abort()
