"""What was heard from AWS IoT: events, executions, and the state of the connection."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable

from jobs_sandbox.core.blocks import Block
from jobs_sandbox.core.protocols import Output
from jobs_sandbox.session.executions import Executions


class Monitor:
    """The data plane's `Listener`: it shows events and reports the connection's state.

    Attributes:
        executions: what is known about the thing's job executions.
        state: of the connection: ``connecting``, ``connected``, ``reconnecting`` or ``stopped``.
        since: when that state began, in seconds of the monotonic clock.
        last_event: when the last event arrived, in seconds since 1970; 0 if none has.

    """

    def __init__(self, output: Output) -> None:
        self._output = output
        self.executions = Executions()
        self.state = "connecting"
        self.since = time.monotonic()
        self.last_event = 0.0
        self._untaken: Counter[str] = Counter()  # events by title that no `wait` has taken
        self._arrived: dict[str, float] = {}  # by title, when the last of these arrived
        self._arrival: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._observers: list[Callable[[], object]] = []

    def observe(self, observer: Callable[[], object]) -> None:
        """Call a function after each change."""
        self._observers.append(observer)

    # Called by the data plane

    def event(self, block: Block) -> None:
        """Show an event, and wake everything that waits for one."""
        self.executions.record(block)
        self._output.event(block)
        self.last_event = time.time()
        if not block.note:
            self._untaken[block.title] += 1
            self._arrived[block.title] = self.last_event
            arrival = self._arrival
            self._arrival = asyncio.get_running_loop().create_future()
            arrival.set_result(None)
        self._changed()

    def caught_up(self, pending: Block) -> None:
        """Show what is pending now, after a reconnect without the old session."""
        note = "pending now; events may have been lost meanwhile"
        self._output.event(pending.with_note(note))
        self.record(pending)

    def connection(self, state: str, message: str) -> None:
        """Record the state of the connection, and report the reason."""
        if state != self.state:
            self.state = state
            self.since = time.monotonic()
        if message and state == "connected":
            self._output.notice(message)
        elif message:
            self._output.warning(message)
        self._changed()

    def warning(self, message: str) -> None:
        """Report something that the user should know."""
        self._output.warning(message)

    # Called by the session

    def record(self, block: Block, job_id: str = "", status: str = "") -> None:
        """Record the answer to a request; see `Executions.record`."""
        self.executions.record(block, job_id, status)
        self._changed()

    def forget_events(self) -> None:
        """Forget the events that arrived so far: only new ones can be taken."""
        self._untaken.clear()

    def arrival(self) -> "asyncio.Future[None]":
        """A future that is done when the next event arrives."""
        return self._arrival

    def take_event(self, title: str) -> bool:
        """Take an event of this title that no earlier call took, if one has arrived."""
        if not self._untaken[title]:
            return False
        self._untaken[title] -= 1
        return True

    def last_arrival(self, title: str) -> float:
        """When the last event of this title arrived, in seconds since 1970, or 0."""
        return self._arrived.get(title, 0.0)

    def _changed(self) -> None:
        for observer in self._observers:
            observer()
