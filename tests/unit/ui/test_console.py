"""The one writer: whole blocks in order, and nobody waits for the terminal."""

import asyncio
import errno
import io
import json
import os
from collections.abc import Callable

import pytest

from jobs_sandbox.core.blocks import Block
from jobs_sandbox.core.errors import SandboxError
from jobs_sandbox.ui import console as console_module
from jobs_sandbox.ui.console import Console
from tests.unit.fakes import Screen, titles


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


class Broken(io.StringIO):
    """A stream that cannot be written."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self._error = error

    def write(self, _: str) -> int:
        raise self._error


FULL = OSError(errno.ENOSPC, "No space left on device")


class Gate:
    """Runs writes once it is open, and records the titles of each."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self.open = asyncio.Event()
        self.reached = asyncio.Event()
        self.written: list[list[str]] = []
        screen.console.write_with(self._paint)

    async def _paint(self, write: Callable[[], None]) -> None:
        self.reached.set()
        await self.open.wait()
        before = self._screen.out.getvalue()
        write()
        self.written.append(titles(self._screen.out.getvalue().removeprefix(before)))


def make(stdout: io.StringIO, stderr: io.StringIO, output: str = "text") -> Console:
    return Console(output, stdout, stderr, colour=True, on_closed=lambda: None)


def show_everything(console: Console) -> None:
    console.response(Block("A", {}))
    console.notice("notice")
    console.event(Block("B", {}))
    console.warning("warning\nmore")
    console.echo("> help")
    console.prompt("> ")
    console.rejected(Block("C", {}))
    console.error(SandboxError("error", cause="cause"), line=3, command="frob")
    console.device("ready")


async def test_streams(screen: Screen) -> None:
    """Blocks, echoes and prompts go to stdout; everything about the program goes to stderr."""
    show_everything(screen.console)
    shown = await screen.stdout()
    assert titles(shown.replace("> ─", "─")) == ["A", "B", "C"]
    assert "{}\n\n> help\n> ─── C ─" in shown
    assert await screen.stderr() == (
        "notice\nwarning\nmore\nline 3: error\n  likely cause: cause\ndevice: ready\n"
    )


async def test_json() -> None:
    """With JSON, each stream has one object a line, apart from what a person typed."""
    screen = Screen("json")
    show_everything(screen.console)
    screen.console.notice("text for people", port=1)
    shown = (await screen.stdout()).replace("> help\n> ", "").splitlines()
    assert [json.loads(line)["type"] for line in shown] == ["A", "B", "C"]
    assert [json.loads(line) for line in (await screen.stderr()).splitlines()] == [
        {"type": "Notice", "message": "notice"},
        {"type": "Warning", "message": "warning\nmore"},
        {"type": "Error", "message": "error", "cause": "cause", "line": 3, "command": "frob"},
        {"type": "Device", "message": "ready"},
        {"type": "Notice", "port": 1},
    ]


async def test_nothing_drives_the_terminal(screen: Screen) -> None:
    """Notices, warnings, echoes and the device's lines are escaped."""
    screen.console.notice("a\x1b[2J\nb")
    screen.console.warning("c\x9b")
    screen.console.device("d\x1b\ne")
    screen.console.echo("f\x1b")
    assert await screen.stderr() == "a\\u001b[2J\nb\nc\\u009b\ndevice: d\\u001b\\u000ae\n"
    assert await screen.stdout() == "f\\u001b\n"


async def test_colours() -> None:
    """A terminal gets colours by kind; a file beside it gets none, and JSON has none anywhere."""
    stdout, stderr = Terminal(), Terminal()
    console = make(stdout, stderr)
    show_everything(console)
    await console.close()
    for code, begin in ((32, "─── A"), (36, "─── B"), (31, "─── C")):
        assert f"\x1b[{code}m{begin}" in stdout.getvalue()
    assert "\x1b[35mwarning\x1b[0m\nmore\n" in stderr.getvalue()
    for output, err in (("text", io.StringIO()), ("json", Terminal())):
        console = make(Terminal(), err, output)
        show_everything(console)
        await console.close()
        assert "\x1b" not in err.getvalue()


@pytest.mark.parametrize(
    ("encoding", "columns", "header"),
    [
        ("utf-8", 20, f"─── A {'─' * 14}"),
        ("utf-8", 0, f"─── A {'─' * 66}"),
        ("latin-1", 300, f"--- A {'-' * 66}"),
    ],
)
async def test_headers(
    monkeypatch: pytest.MonkeyPatch, encoding: str, columns: int, header: str
) -> None:
    """A header fits a narrow window, and consists of characters that the terminal has."""
    stdout = Terminal()
    monkeypatch.setattr(Terminal, "encoding", encoding)
    monkeypatch.setattr(Terminal, "fileno", lambda _: 1)
    monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((columns, columns)))
    console = make(stdout, stdout)
    console.response(Block("A", {}))
    await console.close()
    assert header in stdout.getvalue()


async def test_order_across_streams() -> None:
    """A text on one stream is flushed before a later one on the other is written."""
    story: list[str] = []

    class Recorded(io.StringIO):
        def flush(self) -> None:
            story.extend(self.getvalue().split())
            self.seek(0)
            self.truncate()

    console = make(Recorded(), Recorded())
    for number in range(3):
        console.echo(f"out{number}")
        console.notice(f"err{number}")
    await console.close()
    assert story == ["out0", "err0", "out1", "err1", "out2", "err2"]


async def test_flush(screen: Screen) -> None:
    """``flush`` waits until everything before it is written, which happens in one go."""
    gate = Gate(screen)
    screen.console.response(Block("A", {}))
    screen.console.response(Block("B", {}))
    flushing = asyncio.create_task(screen.console.flush())
    await gate.reached.wait()
    assert not flushing.done()
    gate.open.set()
    await flushing
    assert gate.written == [["A", "B"]]


async def test_dropped_events(monkeypatch: pytest.MonkeyPatch, screen: Screen) -> None:
    """Events beyond the bound are dropped, and their number is reported; answers never are."""
    monkeypatch.setattr(console_module, "EVENT_LIMIT", 2)
    gate = Gate(screen)
    screen.console.response(Block("First", {}))
    await gate.reached.wait()
    for number in range(4):
        screen.console.event(Block(f"E{number}", {}))
    screen.console.response(Block("Last", {}))
    gate.open.set()
    assert titles(await screen.stdout()) == ["First", "E0", "E1", "Last"]
    assert (await screen.stderr()).startswith("2 events were dropped")
    screen.console.event(Block("E4", {}))
    assert titles(await screen.stdout())[-1] == "E4"


@pytest.mark.parametrize("output", ["text", "json"])
@pytest.mark.parametrize("error", [BrokenPipeError(), FULL, OSError()])
async def test_stdout_that_cannot_be_written(error: OSError, output: str) -> None:
    """That stdout is closed is reported once, with the reason unless its reader has ended."""
    calls: list[bool] = []
    stderr = io.StringIO()
    console = Console(
        output, Broken(error), stderr, colour=False, on_closed=lambda: calls.append(console.closed)
    )
    for _ in range(2):
        console.response(Block("A", {}))
        await console.flush()
    await console.close()
    reason = "" if isinstance(error, BrokenPipeError) else str(error) or "OSError"
    assert (calls, console.failure, stderr.getvalue()) == ([True], reason, "")
    console.report_failure()
    written = stderr.getvalue().removesuffix("\n")
    message = json.loads(written)["message"] if output == "json" else written
    assert message == f"the output cannot be written: {reason}"


async def test_stderr_that_cannot_be_written() -> None:
    """Blocks are shown although stderr cannot be written."""
    stdout = io.StringIO()
    console = make(stdout, Broken(FULL))
    console.notice("lost")
    console.response(Block("A", {}))
    await console.close()
    console.report_failure()
    assert (titles(stdout.getvalue()), console.closed) == (["A"], False)
