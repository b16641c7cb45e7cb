"""Signals as cancellation: SIGINT, SIGTERM and SIGHUP end the program in good order, a second one at once."""

import asyncio
import os
import signal
import sys
import termios
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, Self, TypeVarTuple

_Ts = TypeVarTuple("_Ts")

# The main thread may be stuck in a write to a terminal that nobody reads; then nothing that it awaits can be cancelled.
_STUCK_TIMEOUT = 4  # seconds

_IGNORE: Callable[[], None] = lambda: None  # noqa: E731 - typed


class Loop(asyncio.SelectorEventLoop):
    """An event loop that says nothing when a signal finds its wake-up pipe full.

    Python would write that to stderr, which may be the very terminal that nobody reads: the main thread, stuck in one
    write already, would be stuck in this one before it came to the signal's handler. A full pipe wakes the loop anyway.
    """

    def add_signal_handler(self, sig: int, callback: Callable[[*_Ts], Any], *args: *_Ts) -> None:
        """Add a handler, as prompt_toolkit does too; each time asyncio sets the wake-up pipe anew."""
        super().add_signal_handler(sig, callback, *args)
        signal.set_wakeup_fd(signal.set_wakeup_fd(-1), warn_on_full_buffer=False)


class Signals:
    """Cancels a task at the first signal; a context manager, on the event loop of the main thread.

    Attributes:
        task: what a signal cancels.
        interrupt: what SIGINT calls instead, on the event loop, if set.
        leaving: the program is ending: a signal ends it at once.
        number: of the signal that ends the program; 0 while there is none.

    """

    def __init__(self) -> None:
        self.task: asyncio.Task[Any] | None = None
        self.interrupt: Callable[[], None] | None = None
        self.leaving = False
        self.number = 0
        self._previous: dict[int, Any] = {}
        self._terminal: list[Any] | None = None

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        with suppress(OSError, ValueError, AttributeError, termios.error):
            self._terminal = termios.tcgetattr(sys.stdin.fileno())
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
            previous = signal.getsignal(number)
            if previous == signal.SIG_IGN:  # nohup, or in the background
                continue
            # asyncio's own handler would wait for its turn on the loop, which may be stuck. But through it the loop
            # wakes up for every signal, also for one that arrives in the instant before it begins to wait.
            self._loop.add_signal_handler(number, _IGNORE)
            self._previous[number] = previous
            signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()
        for number, previous in self._previous.items():
            self._loop.remove_signal_handler(number)
            signal.signal(number, previous)

    def leave(self) -> None:
        """From here on nothing is left that could be stuck, and a signal ends the program at once."""
        signal.alarm(0)
        self.leaving = True

    def cancel(self) -> None:
        """Cancel the task, once."""
        if self.task is not None and not self.leaving and not self.task.cancelling():
            self.task.cancel()

    def _handle(self, number: int, _: FrameType | None) -> None:
        """Run between two bytecodes of the main thread, or in the middle of a system call that waits."""
        if self.leaving or self.number:
            self._end(number)
        if number == signal.SIGINT and self.interrupt is not None:
            self._loop.call_soon_threadsafe(self.interrupt)
            return
        self.number = number
        signal.alarm(_STUCK_TIMEOUT)
        self._loop.call_soon_threadsafe(self.cancel)

    def _end(self, number: int) -> None:
        """End at once: whatever would be cleaned up may be what is stuck. No child outlives us even so."""
        if self._terminal:
            with suppress(termios.error):
                termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, self._terminal)
        os._exit(128 + (self.number if number == signal.SIGALRM else number))
