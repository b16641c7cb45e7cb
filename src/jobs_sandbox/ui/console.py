"""The one writer of the terminal: a queue and a task, so that nothing else waits for a terminal."""

import asyncio
import os
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from itertools import groupby
from typing import NamedTuple, TextIO

from jobs_sandbox.core.blocks import Block
from jobs_sandbox.core.errors import SandboxError
from jobs_sandbox.core.text import escape, escape_lines
from jobs_sandbox.core.threads import in_thread
from jobs_sandbox.ui.formatting import (
    WIDTH,
    block_json,
    block_text,
    error_json,
    error_text,
    json_line,
)

# While output is blocked, so many events wait, with so many bytes of payload; later ones are counted only.
EVENT_LIMIT = 20_000
EVENT_BYTES = 16 * 2**20

_TOO_SLOW = "the terminal was blocked, or too slow for them"

_TO_STDOUT = ("response", "rejected", "event", "echo")

Write = Callable[[], None]


class _Item(NamedTuple):
    kind: str
    content: Block | SandboxError | str
    fields: dict[str, object] | None = None


class Console:
    """Writes blocks to stdout and everything about the program itself to stderr, each in one piece.

    To be made on the event loop, whose other tasks never wait for a write.

    Attributes:
        paint: awaited with a function that writes and may block; runs it when that does not disturb a prompt.
        closed: stdout takes nothing any more.
        failure: why, or ``""`` when its reader has simply gone.

    """

    def __init__(
        self,
        output: str,
        stdout: TextIO,
        stderr: TextIO,
        *,
        colour: bool = False,
        on_closed: Callable[[], object] = lambda: None,
    ) -> None:
        self._json = output == "json"
        self._stdout = stdout
        self._stderr = stderr
        self._colour = colour and not self._json
        self._on_closed = on_closed
        self.paint: Callable[[Write], Awaitable[None]] = in_thread
        self.closed = False
        self.failure = ""
        self._items: deque[_Item] = deque()
        self._events = self._event_bytes = self._dropped = 0
        self._put = self._written = 0
        self._has_items = asyncio.Event()
        self._progress = asyncio.Condition()
        self._writer = asyncio.create_task(self._write_all())

    def response(self, block: Block) -> None:
        """Show the answer to a request."""
        self._enqueue(_Item("response", block))

    def rejected(self, block: Block) -> None:
        """Show that the service rejected a request."""
        self._enqueue(_Item("rejected", block))

    def event(self, block: Block) -> None:
        """Show an event; when too many wait to be written, count it instead."""
        if self._events >= EVENT_LIMIT or self._event_bytes >= EVENT_BYTES:
            self._put += (
                not self._dropped
            )  # the line that tells their number: `flush` waits for it, too
            self._dropped += 1
            return
        self._events += 1
        self._event_bytes += len(block.payload)
        self._enqueue(_Item("event", block))

    def error(self, error: SandboxError, **place: object) -> None:
        """Report a failure; ``place`` is the ``line`` and ``command`` of a script that failed."""
        self._enqueue(_Item("warning", error, place))

    def warning(self, message: str) -> None:
        """Say something that the user should know."""
        self._enqueue(_Item("warning", message))

    def notice(self, message: str, **fields: object) -> None:
        """Say what the program does; as JSON, with ``fields`` instead of the message where there are any."""
        self._enqueue(_Item("notice", message, fields))

    def device(self, line: str) -> None:
        """Show a line that the device under test has printed."""
        self._enqueue(_Item("device", line))

    def echo(self, line: str) -> None:
        """Show on stdout what was typed, where the blocks that follow belong to."""
        self._enqueue(_Item("echo", line))

    async def flush(self) -> None:
        """Wait until all that was enqueued before is written, or cannot be."""
        put = self._put
        async with self._progress:
            await self._progress.wait_for(lambda: self._written >= put)

    async def close(self, seconds: float | None = None) -> None:
        """Write what is left, for so many seconds at most (None: as long as it takes), and end the writer."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.flush(), seconds)
        self._writer.cancel()

    def report_failure(self) -> None:
        """Say on stderr, if that is possible, why stdout takes nothing any more. Blocks; for the very end."""
        message = f"the output cannot be written: {self.failure}"
        with suppress(OSError, ValueError):
            self._stderr.write(
                json_line({"type": "Error", "message": message}) if self._json else f"{message}\n"
            )
            self._stderr.flush()

    def _enqueue(self, item: _Item) -> None:
        self._items.append(item)
        self._put += 1
        self._has_items.set()

    async def _write_all(self) -> None:
        while True:
            await self._has_items.wait()
            batch, self._items = self._items, deque()
            if self._dropped:
                batch.append(_Item("warning", f"{self._dropped} events were dropped: {_TOO_SLOW}"))
                self._dropped = 0
            if not self.closed:
                try:
                    await self.paint(partial(self._write, batch))
                except (
                    Exception
                ) as error:  # whatever it is, who waits for this task must not wait for ever
                    self.failure = (
                        ""
                        if isinstance(error, BrokenPipeError)
                        else str(error) or type(error).__name__
                    )
                    self.closed = True
                    self._on_closed()
            events = [item.content for item in batch if item.kind == "event"]
            self._events -= len(events)
            self._event_bytes -= sum(
                len(event.payload) for event in events if isinstance(event, Block)
            )
            if not self._items and not self._dropped:
                self._has_items.clear()
            async with self._progress:
                self._written += len(batch)
                self._progress.notify_all()

    def _write(self, batch: deque[_Item]) -> None:
        """Write a batch, in a thread; stderr may be gone, and stdout goes on."""
        for to_stdout, items in groupby(batch, lambda item: item.kind in _TO_STDOUT):
            stream = self._stdout if to_stdout else self._stderr
            try:
                for item in items:
                    stream.write(self._text(item, stream))
                stream.flush()
            except (OSError, ValueError):
                if to_stdout:
                    raise

    def _text(self, item: _Item, stream: TextIO) -> str:
        kind, content, fields = item
        if isinstance(content, Block):
            text = block_json(content) if self._json else block_text(content, _width(stream))
        elif isinstance(content, SandboxError):
            text = (
                error_json(content, fields or {})
                if self._json
                else error_text(content, fields or {})
            )
        elif self._json and kind != "echo":
            text = json_line({"type": kind.title()} | (fields or {"message": content}))
        else:
            text = (
                f"device: {escape(content)}\n" if kind == "device" else escape_lines(content) + "\n"
            )
        if self._colour and stream.isatty():
            from jobs_sandbox.ui.colours import coloured  # Pygments, which only a terminal needs

            return coloured(text, kind)
        return text


def _width(stream: TextIO) -> int:
    """The columns of a terminal; of anything else, as many as a header has."""
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return WIDTH
