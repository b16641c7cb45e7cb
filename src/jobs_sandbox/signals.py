"""The first SIGINT, SIGTERM or SIGHUP cancels the main task; a second one ends the program."""

import asyncio
import os
import signal
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signals:
    """Handles signals for one event loop, which runs on the main thread.

    Args:
        task: canceled by the first signal.

    Attributes:
        number: of the signal that ended the program; 0 before it.

    """

    def __init__(self, task: "asyncio.Task[Any]") -> None:
        self._task = task
        self._interrupt: Callable[[], object] | None = None
        self._last_steps: list[Callable[[], object]] = []
        self._terminal = _terminal_attributes()
        self.number = 0
        self._loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup, or in the background
                self._loop.add_signal_handler(number, self._handle, number)

    def close(self) -> None:
        """Give the signals their default actions: the loop closes its pipe before it does so."""
        for number in _SIGNALS:
            self._loop.remove_signal_handler(number)

    @contextmanager
    def interrupt_with(self, interrupt: Callable[[], object]) -> Iterator[None]:
        """Meanwhile SIGINT calls a function and does not end the program."""
        self._interrupt = interrupt
        try:
            yield
        finally:
            self._interrupt = None

    def before_exit(self, step: Callable[[], object]) -> None:
        """Let a second signal call a function, which must not block, before it ends the program."""
        self._last_steps.append(step)

    def _handle(self, number: int) -> None:
        if self.number:
            self._end_at_once(number)
        if number == signal.SIGINT and self._interrupt:
            self._interrupt()
            return
        self.number = number
        self._task.cancel()

    def _end_at_once(self, number: int) -> None:
        for step in self._last_steps:
            step()
        if self._terminal:
            with suppress(termios.error):
                termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, self._terminal)
        os._exit(128 + number)


def _terminal_attributes() -> list[Any] | None:
    """The attributes of the terminal on standard input, or None if it is not one."""
    try:
        return termios.tcgetattr(sys.stdin.fileno())
    except (OSError, termios.error):
        return None
