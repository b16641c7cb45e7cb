"""A line below the output of a terminal that shows what is going on."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from prompt_toolkit.application import Application, in_terminal
from prompt_toolkit.data_structures import Size
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.layout import FormattedTextControl, Layout, Window
from prompt_toolkit.output.vt100 import Vt100_Output

from jobs_sandbox.core.text import escape
from jobs_sandbox.core.threads import in_thread
from jobs_sandbox.ui.console import Console

_REFRESH = 0.5  # seconds


@asynccontextmanager
async def progress_line(console: Console, text: Callable[[], str]) -> AsyncIterator[None]:
    """Meanwhile show ``text`` in the last line of the terminal, below what the console writes."""

    def size() -> Size:
        columns, rows = _size()
        return Size(rows=rows, columns=columns)

    def line() -> str:
        return escape(text())[: _size()[0] - 1]

    async def paint(write: Callable[[], None]) -> None:
        if application.is_running:
            async with in_terminal():
                await in_thread(write)
        else:
            await in_thread(write)

    # The keyboard is left alone, so the terminal itself turns Ctrl-C into a signal.
    with create_pipe_input() as no_keys:
        application: Application[None] = Application(
            Layout(Window(FormattedTextControl(line), height=1)),
            input=no_keys,
            # Nothing would read the terminal's answer to a question for the cursor's position.
            output=Vt100_Output(sys.stdout, size, enable_cpr=False),
            erase_when_done=True,
            refresh_interval=_REFRESH,
        )
        running = asyncio.create_task(
            application.run_async(handle_sigint=False, set_exception_handler=False)
        )
        console.write_with(paint)
        try:
            yield
        finally:
            await console.flush()
            if application.is_running:
                application.exit()
            await asyncio.wait({running})


def _size() -> tuple[int, int]:
    import os

    try:
        columns, rows = os.get_terminal_size(sys.stdout.fileno())
    except OSError:
        columns, rows = 0, 0
    return columns or 80, rows or 24
