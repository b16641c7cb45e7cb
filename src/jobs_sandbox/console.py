"""The one writer of the terminal: a queue and a thread, so that no SDK thread ever waits for a terminal."""

import math
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import groupby
from typing import NamedTuple, TextIO

from jobs_sandbox.blocks import Block
from jobs_sandbox.errors import SandboxError
from jobs_sandbox.formatting import block_json, block_text, error_json, error_text, escape_lines, json_line
from jobs_sandbox.threads import start_thread, wait_for

# While the terminal is blocked, so many events wait, with so many bytes of payload; later ones are counted only.
EVENT_LIMIT = 20_000
EVENT_BYTES = 16 * 2**20

_COLOURS = {"response": "\x1b[32m", "event": "\x1b[36m", "rejected": "\x1b[31m", "warning": "\x1b[35m"}
_PLAIN = "\x1b[0m"


class _Item(NamedTuple):
    kind: str
    content: Block | SandboxError | str
    fields: dict[str, object] | None = None


class Console:
    """Writes blocks to stdout and everything about the program itself to stderr, each in one piece.

    Attributes:
        paint: calls the function that it is given, which writes, when that does not disturb a prompt.
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
        on_closed: Callable[[], None] = lambda: None,
    ) -> None:
        self._json = output == "json"
        self._stdout = stdout
        self._stderr = stderr
        self._colour = colour and not self._json
        self._on_closed = on_closed
        self.paint: Callable[[Callable[[], None]], None] = lambda write: write()
        self.closed = False
        self.failure = ""
        self._changed = threading.Condition()
        self._items: deque[_Item] = deque()
        self._events = self._event_bytes = self._dropped = 0
        self._put = self._written = 0
        self._ending = self._ended = False
        start_thread(self._write_all, "console")

    def response(self, answer: Block) -> None:
        """Show the answer to a request."""
        self._enqueue(_Item("response", answer))

    def rejected(self, answer: Block) -> None:
        """Show that the service rejected a request."""
        self._enqueue(_Item("rejected", answer))

    def event(self, answer: Block) -> None:
        """Show an event; when too many wait for a blocked terminal, count it instead."""
        with self._changed:
            if self._events >= EVENT_LIMIT or self._event_bytes >= EVENT_BYTES:
                self._dropped += 1
                return
            self._events += 1
            self._event_bytes += len(answer.payload)
            self._enqueue(_Item("event", answer))

    def error(self, error: SandboxError, **place: object) -> None:
        """Report a failure; ``place`` is the ``line`` and ``command`` of a script that failed."""
        self._enqueue(_Item("warning", error, place))

    def warning(self, message: str) -> None:
        """Tell something that the user should know."""
        self._enqueue(_Item("warning", message))

    def notice(self, message: str, **fields: object) -> None:
        """Tell what the program does; as JSON, with ``fields`` instead of the message where there are any."""
        self._enqueue(_Item("notice", message, fields))

    def flush(self) -> None:
        """Wait until all that was enqueued before is written, or cannot be."""
        with self._changed:
            put = self._put
            wait_for(self._changed, lambda: self._written >= put)

    def close(self, patience: float = math.inf) -> None:
        """Write what is left, for so many seconds at most, and end the writer."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
            wait_for(self._changed, lambda: self._ended, patience)

    def _enqueue(self, item: _Item) -> None:
        with self._changed:
            self._items.append(item)
            self._put += 1
            self._changed.notify_all()

    def _write_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or self._ending)
                if not self._items:
                    self._ended = True
                    self._changed.notify_all()
                    return
                batch, self._items = self._items, deque()
                if self._dropped:
                    batch.append(_Item("warning", f"{self._dropped} events were dropped: the terminal was blocked"))
                    self._put += 1
                    self._dropped = 0
            if not self.closed:
                try:
                    self.paint(partial(self._write, batch))
                except Exception as error:  # whatever it is, who waits for this thread must not wait for ever
                    self.failure = "" if isinstance(error, BrokenPipeError) else str(error) or type(error).__name__
                    self.closed = True
                    self._on_closed()
            with self._changed:
                self._written += len(batch)
                events = [item.content for item in batch if item.kind == "event"]
                self._events -= len(events)
                self._event_bytes -= sum(len(event.payload) for event in events if isinstance(event, Block))
                self._changed.notify_all()

    def _write(self, batch: deque[_Item]) -> None:
        """Write a batch; stderr may be gone, and stdout goes on."""
        for to_stdout, items in groupby(batch, lambda item: isinstance(item.content, Block)):
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
            text = block_json(content) if self._json else block_text(content)
        elif isinstance(content, SandboxError):
            text = error_json(content, fields or {}) if self._json else error_text(content, fields or {})
        elif self._json:
            text = json_line({"type": kind.title()} | (fields or {"message": content}))
        else:
            text = escape_lines(content) + "\n"
        if self._colour and kind in _COLOURS and stream.isatty():
            first, rest = text.split("\n", 1)
            text = f"{_COLOURS[kind]}{first}{_PLAIN}\n{rest}"
        return text
