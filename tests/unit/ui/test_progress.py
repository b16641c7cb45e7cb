"""The line at the end of a terminal that shows what is going on."""

import asyncio
import os
import sys

import pyte
import pytest

from jobs_sandbox.ui.console import Console
from jobs_sandbox.ui.progress import progress_line
from tests.unit.fakes import until

COLUMNS, ROWS = 80, 24


class Terminal:
    """The far end of a pseudo-terminal without a size, on a screen.

    Attributes:
        near: its end for the program.

    """

    def __init__(self) -> None:
        self._far, near = os.openpty()
        self.near = os.fdopen(near, "w")
        self._screen = pyte.Screen(COLUMNS, ROWS)
        self._stream = pyte.ByteStream(self._screen)
        asyncio.get_running_loop().add_reader(self._far, self._read)

    def _read(self) -> None:
        self._stream.feed(os.read(self._far, 65536))

    def lines(self) -> list[str]:
        return [line.rstrip() for line in self._screen.display if line.strip()]

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._far)
        self.near.close()
        os.close(self._far)


async def test_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line stays below what is written, follows its text, and is gone in the end."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal.near)
    monkeypatch.setenv("TERM", "xterm")
    near = terminal.near
    console = Console("text", near, near, colour=False, on_closed=lambda: None)
    text = "first \x1b[2J" + "x" * COLUMNS
    async with progress_line(console, lambda: text):
        await until(lambda: terminal.lines()[-1:] == [("first \\u001b[2J" + "x" * 80)[:79]])
        console.echo("one")
        await until(lambda: len(terminal.lines()) == 2)
        text = "second"
        console.echo("two")
        await until(lambda: terminal.lines() == ["one", "two", "second"])
    await until(lambda: terminal.lines() == ["one", "two"])
    console.echo("three")
    await until(lambda: terminal.lines() == ["one", "two", "three"])
    await console.close()
    terminal.close()
