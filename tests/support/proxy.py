"""A TCP proxy on loopback that can swallow bytes, cut connections, or refuse them."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Self, TypeVar

T = TypeVar("T")

PATIENCE = 10.0
HOST = "127.0.0.1"


class LoopThread:
    """An event loop on a thread of its own; a context manager that ends its tasks with it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop, and wait for its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE)

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function on the loop, and wait for its result."""

        async def called() -> T:
            return function(*arguments)

        return self.run(called())

    def close(self) -> None:
        self.run(self._cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    async def _cancel_all(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Proxy:
    """Forwards connections to a port of this machine; a context manager.

    Attributes:
        port: where it listens.
        silent: bytes are read and thrown away, in both directions, and no connection ends: a network gone silent.
        accepted: how many connections were made.

    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._loop = LoopThread()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.silent = False
        self.accepted = 0
        self.port = 0
        self.listen()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()
        self._loop.close()

    def listen(self) -> None:
        """Accept connections, on the same port as before."""
        self._server = self._loop.run(asyncio.start_server(self._serve, HOST, self.port))
        self.port = self._server.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """Cut the connections, and refuse new ones."""
        if self._server:
            self._loop.call(self._server.close)
            self._server = None
        self.cut()

    def cut(self) -> None:
        """Cut the connections."""
        self._loop.call(self._cut)

    def _cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._writers.add(writer)
        with suppress(OSError, asyncio.CancelledError):  # cancelled when the loop ends
            target_reader, target_writer = await asyncio.open_connection(HOST, self._target)
            self._writers.add(target_writer)
            await asyncio.gather(
                self._forward(reader, target_writer), self._forward(target_reader, writer)
            )
        writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if not self.silent:
                    writer.write(data)
                    await writer.drain()
        if self.silent:  # a network gone silent carries no end either
            await asyncio.Event().wait()
        writer.transport.abort()
        self._writers.discard(writer)
