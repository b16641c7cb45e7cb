"""The terminal around a prompt of prompt_toolkit: writes above it, hides keys between two of them, shows the bar."""

import asyncio
import os
import signal
import sys
import termios
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import (
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
    nullcontext,
    suppress,
)
from typing import Any, TextIO

from prompt_toolkit.application import Application, in_terminal
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.filters import Condition
from prompt_toolkit.input.typeahead import store_typeahead
from prompt_toolkit.input.vt100 import Vt100Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.layout import FormattedTextControl, HSplit, Layout, Window
from prompt_toolkit.output import ColorDepth, Output

from jobs_sandbox.core.threads import in_thread

_BAR_AFTER = 0.3  # seconds that a command takes before the bar comes back: most are faster

Write = Callable[[], None]


class TerminalInput(Vt100Input):
    """The terminal's keys; while something is written above the prompt, they wait unseen."""

    def __init__(self, stdin: TextIO) -> None:
        super().__init__(stdin)
        self._found = termios.tcgetattr(stdin)
        self._raw_in: asyncio.Task[Any] | None = None

    @contextmanager
    def staying_raw(self) -> Iterator[None]:
        """Let `cooked_mode` do nothing: prompt_toolkit's switches the echo on, and keys would tear what is written.

        In this task alone: the shell after Ctrl-Z, which another one waits for, needs the echo.
        """
        self._raw_in = asyncio.current_task()
        try:
            yield
        finally:
            self._raw_in = None

    def cooked_mode(self) -> AbstractContextManager[None]:
        """What `in_terminal` enters: the terminal as it was found, which prompt_toolkit's restores in part only."""
        stays_raw = self._raw_in is not None and self._raw_in is asyncio.current_task()
        return nullcontext() if stays_raw else _set(self._found)


class Painter:
    """Writes above the prompt while one is shown, and straight to the terminal otherwise."""

    def __init__(self, keys: TerminalInput) -> None:
        self._keys = keys
        self._writing = asyncio.Lock()

    async def written(self) -> None:
        """Wait until nothing is being written. What follows without another await draws on a quiet terminal."""
        async with self._writing:
            pass

    async def __call__(self, write: Write) -> None:
        """Run ``write``, in a thread."""
        async with self._writing:
            with self._keys.staying_raw():
                async with in_terminal():
                    await in_thread(write)


class DumbPainter:
    """The same for a terminal that cannot move its cursor: what was typed is shown again below what is written.

    It is the echo of such a terminal, too: `show` is called when the buffer changes.
    """

    def __init__(self, prompt: str, typed: Callable[[], str]) -> None:
        self._prompt = prompt
        self._typed = typed
        self._shown = ""
        self._prompting = False
        self._writing = asyncio.Lock()

    async def written(self) -> None:
        """Wait until nothing is being written."""
        async with self._writing:
            pass

    async def __call__(self, write: Write) -> None:
        """Run ``write``, in a thread."""
        async with self._writing:
            if self._prompting:
                write_out("\n")
            await in_thread(write)
            if self._prompting:
                self._show_again()

    async def suspend(self) -> None:
        """Suspend the program from its prompt, which is shown again when the program goes on."""
        async with self._writing:
            async with in_terminal():
                os.kill(0, signal.SIGTSTP)
            self._show_again()

    def _show_again(self) -> None:
        self._shown = self._typed()
        write_out(self._prompt + self._shown)

    async def begin(self) -> None:
        """Show an empty prompt."""
        await self.written()
        self._prompting, self._shown = True, ""
        write_out(self._prompt)

    async def end(self) -> None:
        """End the line of the prompt."""
        await self.written()
        self._prompting = False
        write_out("\n")

    def show(self, buffer: Buffer) -> None:
        """Show what is added, or else all of it on a new line; what is typed during a write is shown after it."""
        if self._writing.locked():
            return
        text = buffer.text
        if text.startswith(self._shown):
            write_out(text[len(self._shown) :])
        elif text:
            write_out("\n" + self._prompt + text)
        self._shown = text


class Bar:
    """The bar alone, while a command waits; what is typed meanwhile is kept for the next prompt."""

    def __init__(
        self,
        keys: TerminalInput,
        output: Output,
        color_depth: ColorDepth | None,
        *,
        text: Callable[[], str],
        on_interrupt: Callable[[], None],
        before_drawing: Callable[[], Awaitable[None]],
    ) -> None:
        self._before_drawing = before_drawing
        bindings = KeyBindings()
        is_key = Condition(lambda: self.app.key_processor.key_buffer[-1].key != Keys.CPRResponse)

        @bindings.add(Keys.Any, eager=is_key, filter=is_key)
        def _(event: KeyPressEvent) -> None:
            store_typeahead(keys, list(event.key_sequence))

        bindings.add("c-c", eager=True)(lambda _: on_interrupt())
        bindings.add("c-z", eager=True)(lambda event: event.app.suspend_to_background())
        bar = Window(FormattedTextControl(text), height=1, style="class:bottom-toolbar")
        self.app: Application[None] = Application(
            Layout(HSplit([Window(), bar])),
            key_bindings=bindings,
            input=keys,
            output=output,
            refresh_interval=1.0,
            erase_when_done=True,
            color_depth=color_depth,
        )

    @asynccontextmanager
    async def shown(self) -> AsyncIterator[None]:
        """Show it as soon as what runs inside has taken a while."""
        showing = asyncio.create_task(self._show())
        try:
            yield
        finally:
            if not self.app.is_running:
                showing.cancel()
            elif not self.app.is_done:
                self.app.exit()
            await asyncio.wait({showing})

    async def _show(self) -> None:
        await asyncio.sleep(_BAR_AFTER)
        await self._before_drawing()
        await self.app.run_async(handle_sigint=False)


def keys_unseen() -> AbstractContextManager[None]:
    """Between two prompts what is typed is not echoed, and waits for the next prompt as it is, Ctrl-D and Ctrl-Z too.

    A program that is suspended must leave the terminal as it found it, which `TerminalInput` sees to.
    """
    unseen = termios.tcgetattr(sys.stdin)
    unseen[3] &= ~(termios.ECHO | termios.ICANON)
    unseen[6][termios.VMIN], unseen[6][termios.VTIME] = 1, 0
    unseen[6][termios.VSUSP] = os.fpathconf(sys.stdin.fileno(), "PC_VDISABLE").to_bytes(1, "little")
    return _set(unseen)


@contextmanager
def _set(attributes: list[Any]) -> Iterator[None]:
    """Set the terminal's attributes, and at the end those that it had before."""
    before = termios.tcgetattr(sys.stdin)
    termios.tcsetattr(sys.stdin, termios.TCSANOW, attributes)
    try:
        yield
    finally:
        with suppress(termios.error):  # the terminal may be gone
            termios.tcsetattr(sys.stdin, termios.TCSANOW, before)


def write_out(text: str) -> None:
    """Write a few characters to standard output."""
    sys.stdout.write(text)
    sys.stdout.flush()
