"""The terminal's keys, and writes above the prompt."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TextIO

from prompt_toolkit.application import in_terminal
from prompt_toolkit.input.ansi_escape_sequences import ANSI_SEQUENCES
from prompt_toolkit.input.vt100 import Vt100Input
from prompt_toolkit.keys import Keys

from jobs_sandbox.core.threads import in_thread

# A terminal whose focus reports are on, for example in tmux, sends these when its window gains or
# loses the focus. prompt_toolkit does not know them and would insert their brackets as text.
ANSI_SEQUENCES.setdefault("\x1b[I", Keys.Ignore)
ANSI_SEQUENCES.setdefault("\x1b[O", Keys.Ignore)


class TerminalInput(Vt100Input):
    """The terminal's keys. During a write above the prompt they are not echoed, and wait."""

    def __init__(self, stdin: TextIO) -> None:
        super().__init__(stdin)
        self._painter: asyncio.Task[Any] | None = None

    async def paint(self, write: Callable[[], None]) -> None:
        """Run ``write`` in a thread, above the prompt if one is shown. For one task."""
        self._painter = asyncio.current_task()
        async with in_terminal():
            await in_thread(write)

    def cooked_mode(self) -> AbstractContextManager[None]:
        """The mode that `in_terminal` enters.

        prompt_toolkit's own switches the echo on, and keys typed during a write would tear its
        lines. Other tasks need the echo: the shell after Ctrl-Z, for example.
        """
        if asyncio.current_task() is self._painter:
            return nullcontext()
        return super().cooked_mode()
