"""The one writer of stdout and stderr, so that nothing else waits for a write."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import TextIO

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

EVENT_LIMIT = 20_000
"""An event is dropped if so many texts wait to be written, because the terminal is blocked."""

Write = Callable[[], None]
"""Writes to the terminal, and may block."""

_Texts = list[tuple[TextIO, str]]


class Console:
    """Writes blocks to stdout and everything about the program itself to stderr, each in one piece.

    It is made on the event loop. Only its writer task waits for a write.

    Args:
        output: ``text`` or ``json``.
        stdout, stderr: where to write.
        colour: whether terminals get colours.
        on_closed: called when stdout cannot be written any more.

    Attributes:
        closed: stdout cannot be written any more.
        failure: the reason, or ``""`` if its reader has ended.

    """

    def __init__(
        self,
        output: str,
        stdout: TextIO,
        stderr: TextIO,
        *,
        colour: bool,
        on_closed: Callable[[], object],
    ) -> None:
        self._json = output == "json"
        self._stdout = stdout
        self._stderr = stderr
        self._colour = colour and not self._json
        self._on_closed = on_closed
        self._paint: Callable[[Write], Awaitable[None]] = in_thread
        self.closed = False
        self.failure = ""
        self._texts: _Texts = []
        self._flushes: list[asyncio.Future[None]] = []
        self._dropped = 0
        self._work = asyncio.Event()
        self._writer = asyncio.create_task(self._write_all())

    def write_with(self, paint: Callable[[Write], Awaitable[None]]) -> None:
        """From now on let ``paint`` run each write, so that it does not disturb a prompt."""
        self._paint = paint

    # To stdout

    def response(self, block: Block) -> None:
        """Show the answer to a request."""
        self._show(block, "response")

    def rejected(self, block: Block) -> None:
        """Show that the service rejected a request."""
        self._show(block, "rejected")

    def event(self, block: Block) -> None:
        """Show an event; if too much waits to be written, only count it."""
        if len(self._texts) < EVENT_LIMIT:
            self._show(block, "event")
        else:
            self._dropped += 1

    def echo(self, line: str) -> None:
        """Repeat a typed line, above the blocks that belong to it."""
        self._enqueue(self._stdout, escape_lines(line) + "\n")

    def line(self, text: str, block: Block) -> None:
        """Show text or, as JSON, the block that says the same."""
        self._enqueue(self._stdout, block_json(block) if self._json else escape_lines(text) + "\n")

    def prompt(self, text: str) -> None:
        """Show a prompt, without a line end."""
        self._enqueue(self._stdout, text)

    # To stderr

    def error(self, error: SandboxError, **place: object) -> None:
        """Report a failure; ``place`` is the ``line`` and ``command`` of a script that failed."""
        text = error_json(error, place) if self._json else error_text(error, place)
        self._enqueue(self._stderr, text, "warning")

    def warning(self, message: str) -> None:
        """Report something that the user should know."""
        self._report("warning", escape_lines(message), message=message)

    def notice(self, message: str, **fields: object) -> None:
        """Report what the program does; as JSON, with ``fields`` if there are any."""
        self._report("notice", escape_lines(message), **(fields or {"message": message}))

    def device(self, line: str) -> None:
        """Show a line that the device under test has printed."""
        self._report("device", f"device: {escape(line)}", message=line)

    async def flush(self) -> None:
        """Wait until everything enqueued so far has been written, or cannot be."""
        written = asyncio.get_running_loop().create_future()
        self._flushes.append(written)
        self._work.set()
        await written

    async def close(self, seconds: float | None = None) -> None:
        """Write what is left, for at most so many seconds, if given, and end the writer."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.flush(), seconds)
        self._writer.cancel()

    def report_failure(self) -> None:
        """Report on stderr why stdout cannot be written. It blocks; for the very end."""
        error = SandboxError(f"the output cannot be written: {self.failure}")
        with suppress(OSError):
            self._stderr.write(error_json(error) if self._json else error_text(error))
            self._stderr.flush()

    def _show(self, block: Block, kind: str) -> None:
        if self._json:
            text = block_json(block)
        else:
            text = block_text(block, _width(self._stdout), _line_character(self._stdout))
        self._enqueue(self._stdout, text, kind)

    def _report(self, kind: str, text: str, **fields: object) -> None:
        line = json_line({"type": kind.title(), **fields}) if self._json else f"{text}\n"
        self._enqueue(self._stderr, line, kind)

    def _enqueue(self, stream: TextIO, text: str, kind: str = "") -> None:
        if self._colour and stream.isatty():
            from jobs_sandbox.ui.colours import coloured  # Pygments, which only a terminal needs

            text = coloured(text, kind)
        self._texts.append((stream, text))
        self._work.set()

    async def _write_all(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            if self._dropped:
                self.warning(
                    f"{self._dropped} events were dropped: the terminal was blocked or too slow; "
                    "get-pending-job-executions shows what is pending."
                )
                self._dropped = 0
            texts, self._texts = self._texts, []
            flushes, self._flushes = self._flushes, []
            if texts and not self.closed:
                await self._write_texts(texts)
            for written in flushes:
                if not written.done():
                    written.set_result(None)

    async def _write_texts(self, texts: _Texts) -> None:
        try:
            await self._paint(partial(self._write, texts))
        except Exception as error:  # whatever it is, `flush` must not wait for ever
            if not isinstance(error, BrokenPipeError):
                self.failure = str(error) or type(error).__name__
            self.closed = True
            self._on_closed()

    def _write(self, texts: _Texts) -> None:
        """Write texts, in a thread. A failure of stderr is ignored: stdout may still work."""
        for stream, group in groupby(texts, itemgetter(0)):
            try:
                stream.writelines(text for _, text in group)
                stream.flush()
            except OSError:
                if stream is self._stdout:
                    raise


def _width(stream: TextIO) -> int:
    """The columns of a terminal, or the default width of a header."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or WIDTH
    except OSError:
        return WIDTH


def _line_character(stream: TextIO) -> str:
    """The character that headers are drawn with, in the stream's encoding."""
    try:
        "─".encode(stream.encoding or "utf-8")
    except UnicodeEncodeError:
        return "-"
    return "─"
