"""The one writer: whole blocks in order, and nobody ever waits for the terminal."""

import asyncio
import errno
import io
import json
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs_sandbox.core.blocks import Block
from jobs_sandbox.core.errors import SandboxError
from jobs_sandbox.core.threads import in_thread
from jobs_sandbox.ui import console as console_module
from jobs_sandbox.ui.console import Console
from jobs_sandbox.ui.formatting import block_text
from tests.unit.fakes import TIMEOUT, Screen, titles, until


class Blocked(io.StringIO):
    """A stream whose writes wait until it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()
        self.opened = threading.Event()

    def write(self, text: str) -> int:
        self.reached.set()
        assert self.opened.wait(TIMEOUT)
        return super().write(text)


class Gone(io.StringIO):
    """A stream whose reader has gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


class Full(io.StringIO):
    """A stream of a disk that is full."""

    def write(self, _: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


class BlockedScreen(Screen):
    """A console whose terminal is blocked, its writer stuck in a first block."""

    def __init__(self) -> None:
        super().__init__()
        self.terminal = self.console._stdout = Blocked()
        self.console.response(Block("First", {}))

    async def open(self) -> list[str]:
        """Let it write; the titles of all that it wrote."""
        self.terminal.opened.set()
        await self.console.flush()
        return titles(self.terminal.getvalue())


@pytest.fixture
async def blocked() -> AsyncIterator[BlockedScreen]:
    """A console whose terminal is blocked."""
    screen = BlockedScreen()
    await until(screen.terminal.reached.is_set)
    yield screen
    screen.terminal.opened.set()
    await screen.console.close()


class Gate:
    """A painter that writes when it is told to.

    Attributes:
        writing: a batch waits to be written.

    """

    def __init__(self, console: Console) -> None:
        self._go = asyncio.Event()
        self.writing = False
        console.paint = self._paint

    async def _paint(self, write: Callable[[], None]) -> None:
        self.writing = True
        await self._go.wait()
        self._go.clear()
        self.writing = False
        write()

    def open(self) -> None:
        """Let one batch through."""
        self._go.set()

    async def open_until_done(self, waiting: Coroutine[Any, Any, None]) -> None:
        """Let through what comes, until who waits for it is done."""
        task = asyncio.create_task(waiting)
        async with asyncio.timeout(TIMEOUT):
            while not task.done():
                self.open()
                await asyncio.sleep(0)


def everything(console: Console) -> None:
    console.response(Block("R", {}))
    console.event(Block("E", {}))
    console.rejected(Block("X", {}))
    console.echo("echo")
    console.notice("notice")
    console.warning("warning\nmore")
    console.error(SandboxError("error", cause="cause"))


def make_terminals(screen: Screen) -> None:
    screen.out.isatty = screen.err.isatty = lambda: True  # type: ignore[method-assign]


# What is written, and where


async def test_where_things_go(screen: Screen) -> None:
    """Blocks, and the commands they belong to, go to stdout, everything about the program itself to stderr."""
    console = screen.console
    console.response(Block("A", {}))
    console.notice("notice")
    console.event(Block("B", {}))
    console.warning("warning")
    console.echo("jobs-sandbox> help")
    console.rejected(Block("C", {}))
    console.error(SandboxError("error", cause="cause"))
    console.error(SandboxError("error"), line=3, command="frob")
    console.device("ready")
    shown = await screen.stdout()
    assert titles(shown) == ["A", "B", "C"]
    assert "}\n\njobs-sandbox> help\n─── C ─" in shown
    assert (
        await screen.stderr()
        == "notice\nwarning\nerror\n  likely cause: cause\nline 3: error\ndevice: ready\n"
    )


async def test_json_lines() -> None:
    """With ``--output json``, everything is one object a line."""
    screen = Screen("json")
    console = screen.console
    console.response(Block("A", {"x": 1}))
    console.event(Block("B", None, b"?", "why"))
    console.rejected(Block("C", {}))
    console.notice("connected")
    console.notice("text\nfor people", endpoint="e", port=1)
    console.warning("careful\x1b")
    console.error(SandboxError("failed", next_step="retry"), line=3, command="frob")
    console.device("ready")
    await console.close()
    assert [json.loads(line) for line in screen.out.getvalue().splitlines()] == [
        {"type": "A", "body": {"x": 1}},
        {"type": "B", "raw": "?", "note": "why"},
        {"type": "C", "body": {}},
    ]
    assert [json.loads(line) for line in screen.err.getvalue().splitlines()] == [
        {"type": "Notice", "message": "connected"},
        {"type": "Notice", "endpoint": "e", "port": 1},
        {"type": "Warning", "message": "careful\x1b"},
        {"type": "Error", "message": "failed", "next": "retry", "line": 3, "command": "frob"},
        {"type": "Device", "message": "ready"},
    ]


async def test_nothing_drives_the_terminal(screen: Screen) -> None:
    """Notices, warnings, errors and what was typed are escaped, their lines kept."""
    screen.console.notice("a\x1b[2J\nb\u202e")
    screen.console.warning("c\x9b\rd")
    screen.console.error(SandboxError("e\x07"))
    screen.console.echo("f\x1b[2J\ng")
    screen.console.device("h\x1b[2J\ni")
    expected = "a\\u001b[2J\nb\\u202e\nc\\u009b\\u000dd\ne\\u0007\ndevice: h\\u001b[2J\\u000ai\n"
    assert await screen.stderr() == expected
    assert await screen.stdout() == "f\\u001b[2J\ng\n"


@pytest.mark.parametrize("output", ["text", "json"])
async def test_no_colour(output: str) -> None:
    """Unless colour is asked for, and in JSON always, no escape code is written to a terminal."""
    screen = Screen(output, colour=output == "json")
    make_terminals(screen)
    everything(screen.console)
    await screen.console.close()
    assert "\x1b" not in screen.out.getvalue() + screen.err.getvalue()


async def test_colours() -> None:
    """Responses, events, rejections and warnings each have a colour, on their first line alone; the rest has none."""
    screen = Screen(colour=True)
    make_terminals(screen)
    everything(screen.console)
    await screen.console.close()
    lines = (screen.out.getvalue() + screen.err.getvalue()).splitlines()
    coloured = [
        (line[:5], line[5:-4].strip("─ "))
        for line in lines
        if line.startswith("\x1b") and line.endswith("\x1b[0m")
    ]
    assert coloured == [
        ("\x1b[32m", "R"),
        ("\x1b[36m", "E"),
        ("\x1b[31m", "X"),
        ("\x1b[35m", "warning"),
        ("\x1b[35m", "error"),
    ]
    assert [line for line in lines if "\x1b" not in line and line.strip("{}")] == [
        "echo",
        "notice",
        "more",
        "  likely cause: cause",
    ]


async def test_no_colour_in_a_file() -> None:
    """A stream that is no terminal gets no escape codes, whatever the other one is."""
    screen = Screen(colour=True)
    screen.out.isatty = lambda: True  # type: ignore[method-assign]
    everything(screen.console)
    await screen.console.close()
    assert "\x1b" in screen.out.getvalue()
    assert "\x1b" not in screen.err.getvalue()


# In which order, and when


async def test_whole_blocks_from_many_tasks(screen: Screen) -> None:
    """Blocks from many tasks are each in one piece, and in the order in which they were shown."""
    expected: list[Block] = []

    async def show(task: int) -> None:
        for number in range(100):
            expected.append(Block(f"T{task}", {"n": number, "filler": ["x"] * 5}))
            screen.console.event(expected[-1])
            await asyncio.sleep(0)

    await asyncio.gather(*(show(task) for task in range(8)))
    assert await screen.stdout() == "".join(block_text(block) for block in expected)


async def test_order_across_streams() -> None:
    """What goes to stdout is out before what follows it goes to stderr, and the other way round."""
    story: list[str] = []

    class Told(io.StringIO):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def flush(self) -> None:
            if self.getvalue():
                story.append(f"{self.name}: {self.getvalue().split()[-1]}")
                self.seek(0)
                self.truncate()

    console = Console("text", Told("out"), Told("err"))
    console.notice("start")  # all of it is one batch, as the writer has not run yet
    for number in range(3):
        console.response(Block("CreateJobOutput", {"jobId": number}))
        console.notice(f"notice{number}")
    await console.close()
    assert story == [
        "err: start",
        *(f"{to}{n}" for n in range(3) for to in ("out: ", "err: notice")),
    ]


@pytest.mark.parametrize("kind", ["response", "rejected", "event"])
async def test_a_blocked_terminal_blocks_nobody(blocked: BlockedScreen, kind: str) -> None:
    """While the terminal is blocked, showing returns at once; all is written in order when it opens."""
    for number in range(500):
        getattr(blocked.console, kind)(Block(f"N{number}", {}))
    blocked.console.warning("w")
    blocked.console.notice("n")
    blocked.console.error(SandboxError("e"))
    await asyncio.sleep(0.01)
    assert blocked.terminal.getvalue() == ""
    assert await blocked.open() == ["First", *(f"N{number}" for number in range(500))]
    assert await blocked.stderr() == "w\nn\ne\n"


async def test_a_full_pipe_blocks_nobody() -> None:
    """A pipe that nobody reads stops the writer alone; what was shown is all there once it is read."""
    reading, writing = os.pipe()
    with open(reading, "rb") as reader, open(writing, "w", encoding="utf-8") as stream:  # noqa: ASYNC230 - no disk
        console = Console("text", stream, io.StringIO())
        for number in range(2000):
            console.event(Block(f"N{number}", {"filler": "x" * 200}))
        await asyncio.sleep(0.01)
        everything_read = asyncio.create_task(in_thread(reader.read))
        await console.close(TIMEOUT)
        stream.close()
        text = (await everything_read).decode()
    assert titles(text) == [f"N{number}" for number in range(2000)]


async def test_paint(screen: Screen) -> None:
    """What is written goes through ``paint``, so that it does not disturb a prompt: all that waits, at once."""
    painted: list[list[str]] = []

    async def paint(write: Callable[[], None]) -> None:
        before = screen.out.getvalue()
        write()
        painted.append(titles(screen.out.getvalue().removeprefix(before)))

    screen.console.paint = paint
    screen.console.response(Block("A", {}))
    await screen.console.flush()
    screen.console.response(Block("B", {}))
    screen.console.response(Block("C", {}))
    await screen.console.flush()
    assert painted == [["A"], ["B", "C"]]


async def test_flush_waits(blocked: BlockedScreen) -> None:
    """``flush`` returns when all that was shown before is written, and not earlier."""
    blocked.console.response(Block("Second", {}))
    flushing = asyncio.create_task(blocked.console.flush())
    await asyncio.sleep(0.02)
    assert not flushing.done()
    blocked.terminal.opened.set()
    await flushing
    assert titles(blocked.terminal.getvalue()) == ["First", "Second"]


async def test_flush_waits_for_nothing_later(screen: Screen) -> None:
    """What is shown after it began to wait, ``flush`` does not wait for."""
    gate = Gate(screen.console)
    screen.console.response(Block("A", {}))
    flushing = asyncio.create_task(screen.console.flush())
    await until(lambda: gate.writing)
    screen.console.response(Block("B", {}))
    gate.open()
    async with asyncio.timeout(TIMEOUT):
        await flushing
    assert titles(screen.out.getvalue()) == ["A"]
    gate.open()


async def test_flush_of_nothing(screen: Screen) -> None:
    """With nothing to write, ``flush`` returns at once, again and again."""
    async with asyncio.timeout(TIMEOUT):
        await screen.console.flush()
        await screen.console.flush()
    assert screen.out.getvalue() == ""


async def test_close_writes_what_is_left() -> None:
    """``close`` writes all that is left, and ends the writer's task."""
    before = asyncio.all_tasks()
    screen = Screen()
    [writer] = asyncio.all_tasks() - before
    for number in range(50):
        screen.console.event(Block(f"N{number}", {}))
    await screen.console.close()
    assert titles(screen.out.getvalue()) == [f"N{number}" for number in range(50)]
    await until(writer.done)


async def test_closing_takes_as_long_as_it_takes(blocked: BlockedScreen) -> None:
    """Without a bound, ``close`` waits for a slow reader."""
    closing = asyncio.create_task(blocked.console.close())
    await asyncio.sleep(0.05)
    assert not closing.done()
    blocked.terminal.opened.set()
    await closing
    assert titles(blocked.terminal.getvalue()) == ["First"]


async def test_closing_may_be_bounded() -> None:
    """Who must leave does not wait for a terminal that is blocked: it still is when ``close`` is done."""
    screen = BlockedScreen()
    await until(screen.terminal.reached.is_set)
    async with asyncio.timeout(TIMEOUT / 2):
        await screen.console.close(0.05)
    assert screen.terminal.getvalue() == ""
    screen.terminal.opened.set()


async def test_closing_within_the_bound(blocked: BlockedScreen) -> None:
    """A bound is no delay: ``close`` ends as soon as all is written."""
    closing = asyncio.create_task(blocked.console.close(600))
    blocked.terminal.opened.set()
    async with asyncio.timeout(TIMEOUT):
        await closing
    assert titles(blocked.terminal.getvalue()) == ["First"]


# What is dropped


async def test_events_past_the_bound(
    monkeypatch: pytest.MonkeyPatch, blocked: BlockedScreen
) -> None:
    """Events past the bound are counted, their number told as soon as the write ends; responses are never dropped."""
    monkeypatch.setattr(console_module, "EVENT_LIMIT", 5)
    for number in range(12):
        blocked.console.event(Block(f"E{number}", {}))
        blocked.console.response(Block(f"R{number}", {}))
    events = [title for number in range(5) for title in (f"E{number}", f"R{number}")]
    assert await blocked.open() == ["First", *events, *(f"R{number}" for number in range(5, 12))]
    assert (
        blocked.err.getvalue()
        == "7 events were dropped: the terminal was blocked, or too slow for them\n"
    )
    for number in range(4):
        blocked.console.event(Block(f"Later{number}", {}))
    assert (await blocked.open())[-4:] == [f"Later{number}" for number in range(4)]
    assert blocked.err.getvalue().count("dropped") == 1


async def test_bytes_past_the_bound(
    monkeypatch: pytest.MonkeyPatch, blocked: BlockedScreen
) -> None:
    """Few events with many bytes are bounded as well; what has been written no longer counts, nor do responses."""
    monkeypatch.setattr(console_module, "EVENT_BYTES", 100)
    for number in range(4):
        blocked.console.event(Block(f"E{number}", {}, b"x" * 60))
        blocked.console.response(Block("R", {}, b"x" * 1000))
    assert await blocked.open() == ["First", "E0", "R", "E1", "R", "R", "R"]
    assert (
        blocked.err.getvalue()
        == "2 events were dropped: the terminal was blocked, or too slow for them\n"
    )
    gate = Gate(blocked.console)
    for number in range(4):
        blocked.console.event(Block(f"Again{number}", {}, b"x" * 60))
    await gate.open_until_done(blocked.console.flush())
    assert titles(blocked.terminal.getvalue())[-3:] == ["R", "Again0", "Again1"]
    assert blocked.err.getvalue().count("2 events were dropped") == 2


async def test_what_is_dropped_is_told_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was dropped while the last block was being written is told before the console closes."""
    monkeypatch.setattr(console_module, "EVENT_LIMIT", 1)
    screen = Screen()
    gate = Gate(screen.console)
    screen.console.event(Block("E", {}))
    await until(lambda: gate.writing)
    for _ in range(50):
        screen.console.event(Block("Dropped", {}))
    await gate.open_until_done(screen.console.close())
    assert titles(screen.out.getvalue()) == ["E"]
    assert screen.err.getvalue().startswith("50 events were dropped")


@given(st.lists(st.sampled_from(["event", "big event", "response", "open", "turn"]), max_size=60))
async def test_no_drop_is_untold(actions: list[str]) -> None:
    """However events and writes alternate: what was not shown is what was told to be dropped."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(console_module, "EVENT_LIMIT", 4)
        patch.setattr(console_module, "EVENT_BYTES", 100)
        screen = Screen()
        gate = Gate(screen.console)
        for action in actions:
            if "event" in action:
                screen.console.event(
                    Block("Event", {}, b"x" * (70 if action == "big event" else 1))
                )
            elif action == "response":
                screen.console.response(Block("Response", {}, b"x" * 70))
            elif action == "open":
                gate.open()
            await asyncio.sleep(0)
        await gate.open_until_done(screen.console.close())
    shown = titles(screen.out.getvalue())
    told = sum(int(line.split()[0]) for line in screen.err.getvalue().splitlines())
    assert shown.count("Response") == actions.count("response")
    assert shown.count("Event") + told == sum("event" in action for action in actions)


# What cannot be written


@pytest.mark.parametrize(
    "error", [BrokenPipeError(), OSError(5, "EIO"), ValueError("I/O operation on closed file")]
)
async def test_a_closed_stdout(error: Exception) -> None:
    """When stdout takes nothing any more, that is told once, and nothing waits or raises any more."""
    told: list[str] = []

    class Failing(io.StringIO):
        def write(self, text: str) -> int:
            raise error

    console = Console("text", Failing(), io.StringIO(), on_closed=lambda: told.append("closed"))
    assert not console.closed
    for _ in range(3):
        console.response(Block("A", {}))
        await console.flush()
        assert console.closed
    await console.close()
    assert told == ["closed"]
    assert console.failure == ("" if isinstance(error, BrokenPipeError) else str(error))


async def test_nobody_listens_to_a_closed_stdout() -> None:
    """Whoever does not ask to be told is not."""
    console = Console("text", Gone(), io.StringIO())
    console.response(Block("A", {}))
    await console.close()
    assert console.closed


async def test_closed_is_known_when_it_is_told() -> None:
    """Who is told that stdout is closed can see it."""
    seen: list[bool] = []
    console = Console("text", Full(), io.StringIO(), on_closed=lambda: seen.append(console.closed))
    console.response(Block("R", {}))
    await console.close()
    assert seen == [True]
    assert "No space left" in console.failure


async def test_paint_that_fails(screen: Screen) -> None:
    """A terminal that is gone while painting counts as closed."""

    async def paint(write: Callable[[], None]) -> None:
        with suppress(ValueError):
            write()
        raise OSError

    screen.console.paint = paint
    screen.console.response(Block("A", {}))
    await screen.console.flush()
    assert screen.console.closed
    assert screen.console.failure == "OSError"


async def test_a_painter_that_breaks(screen: Screen) -> None:
    """Whatever goes wrong in writing, those who wait for it go on."""

    async def broken(_: object) -> None:
        raise RuntimeError

    screen.console.paint = broken
    screen.console.response(Block("R", {}))
    async with asyncio.timeout(TIMEOUT):
        await screen.console.flush()
    assert screen.console.failure == "RuntimeError"


@pytest.mark.parametrize("stderr", [Gone(), Full()])
async def test_a_broken_stderr_does_not_stop_stdout(stderr: io.StringIO) -> None:
    """What the program says about itself may get lost; the answers do not."""
    out = io.StringIO()
    console = Console("text", out, stderr)
    console.warning("careful")
    console.response(Block("R", {}))
    console.warning("careful")
    console.response(Block("S", {}))
    await console.close()
    assert titles(out.getvalue()) == ["R", "S"]
    assert not console.closed


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ("text", "the output cannot be written: [Errno 28] No space left on device\n"),
        (
            "json",
            '{"type": "Error", "message": "the output cannot be written: [Errno 28] No space left on device"}\n',
        ),
    ],
)
async def test_report_failure(output: str, told: str) -> None:
    """Why stdout takes nothing is said on stderr, in the form that was asked for."""
    stderr = io.StringIO()
    console = Console(output, Full(), stderr)
    console.response(Block("R", {}))
    await console.close()
    console.report_failure()
    assert stderr.getvalue() == told


async def test_report_failure_to_nobody() -> None:
    """When stderr takes nothing either, there is nothing to be done."""
    console = Console("text", Full(), Full())
    console.response(Block("R", {}))
    await console.close()
    console.report_failure()
