"""The one writer: whole blocks in order, and nobody ever waits for the terminal."""

import errno
import io
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from jobs_sandbox import console as console_module
from jobs_sandbox.blocks import Block
from jobs_sandbox.console import Console
from jobs_sandbox.errors import SandboxError
from jobs_sandbox.formatting import block_text
from tests.unit.fakes import Screen

PATIENCE = 10


class Blocked(io.StringIO):
    """A stream whose writes wait until it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()
        self.opened = threading.Event()

    def write(self, text: str) -> int:
        self.reached.set()
        assert self.opened.wait(PATIENCE)
        return super().write(text)


class Gone(io.StringIO):
    """A stream whose reader has gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


@pytest.fixture
def blocked() -> Iterator[tuple[Console, Blocked]]:
    """A console whose terminal is blocked, its writer stuck in a first block."""
    stream = Blocked()
    console = Console("text", stream, io.StringIO())
    console.response(Block("First", {}))
    assert stream.reached.wait(PATIENCE)
    yield console, stream
    stream.opened.set()
    console.close()


def titles(text: str) -> list[str]:
    return [line.split()[1] for line in text.splitlines() if line.startswith("─── ")]


def test_where_things_go(screen: Screen) -> None:
    """Blocks go to stdout, everything about the program itself to stderr."""
    console = screen.console
    console.response(Block("A", {}))
    console.notice("notice")
    console.event(Block("B", {}))
    console.warning("warning")
    console.rejected(Block("C", {}))
    console.error(SandboxError("error", cause="cause"))
    assert titles(screen.stdout) == ["A", "B", "C"]
    assert screen.stderr == "notice\nwarning\nerror\n  likely cause: cause\n"


def test_json_lines() -> None:
    """With ``--output json``, everything is one object a line."""
    screen = Screen("json")
    console = screen.console
    console.response(Block("A", {"x": 1}))
    console.event(Block("B", None, b"?", "why"))
    console.rejected(Block("C", {}))
    console.notice("connected")
    console.notice("text\nfor people", endpoint="e", port=1)
    console.warning("careful\x1b")
    console.error(SandboxError("failed", next_step="retry"))
    console.close()
    assert [json.loads(line) for line in screen.stdout.splitlines()] == [
        {"type": "A", "body": {"x": 1}},
        {"type": "B", "raw": "?", "note": "why"},
        {"type": "C", "body": {}},
    ]
    assert [json.loads(line) for line in screen.stderr.splitlines()] == [
        {"type": "Notice", "message": "connected"},
        {"type": "Notice", "endpoint": "e", "port": 1},
        {"type": "Warning", "message": "careful\x1b"},
        {"type": "Error", "message": "failed", "next": "retry"},
    ]


def test_nothing_drives_the_terminal(screen: Screen) -> None:
    """Notices, warnings and errors are escaped, their lines kept."""
    screen.console.notice("a\x1b[2J\nb\u202e")
    screen.console.warning("c\x9b\rd")
    screen.console.error(SandboxError("e\x07"))
    assert screen.stderr == "a\\u001b[2J\nb\\u202e\nc\\u009b\\u000dd\ne\\u0007\n"


@pytest.mark.parametrize("output", ["text", "json"])
def test_no_colour(output: str) -> None:
    """Without colour, and in JSON always, no escape code is written."""
    screen = Screen(output, colour=output == "json")
    everything(screen.console)
    screen.console.close()
    assert "\x1b" not in screen.stdout + screen.stderr


def everything(console: Console) -> None:
    console.response(Block("R", {}))
    console.event(Block("E", {}))
    console.rejected(Block("X", {}))
    console.notice("notice")
    console.warning("warning\nmore")
    console.error(SandboxError("error", cause="cause"))


def test_colours() -> None:
    """Responses, events, rejections and warnings each have a colour, on their first line alone; the rest has none."""
    screen = Screen(colour=True)
    screen.out.isatty = screen.err.isatty = lambda: True  # type: ignore[method-assign]
    everything(screen.console)
    screen.console.close()
    lines = (screen.stdout + screen.stderr).splitlines()
    coloured = {
        line[:5]: line[5:-4].strip("─ ") for line in lines if line.startswith("\x1b") and line.endswith("\x1b[0m")
    }
    assert coloured == {"\x1b[32m": "R", "\x1b[36m": "E", "\x1b[31m": "X", "\x1b[35m": "error"}
    assert [line for line in lines if "\x1b" not in line and line.strip("{}")] == [
        "notice",
        "more",
        "  likely cause: cause",
    ]
    assert screen.stderr.count("\x1b[35m") == 2


def test_whole_blocks_from_many_threads(screen: Screen) -> None:
    """Blocks from many threads are each in one piece, and each thread's are in its order."""

    def show(thread: int) -> None:
        for number in range(100):
            screen.console.event(Block(f"T{thread}", {"n": number, "filler": ["x"] * 5}))

    threads = [threading.Thread(target=show, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    blocks = screen.stdout.split("\n\n")[:-1]
    assert len(blocks) == 800
    for thread_number in range(8):
        mine = [block for block in blocks if titles(block) == [f"T{thread_number}"]]
        expected = [Block(f"T{thread_number}", {"n": number, "filler": ["x"] * 5}) for number in range(100)]
        assert mine == [block_text(answer).rstrip("\n") for answer in expected]


def test_order_across_streams() -> None:
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

    holder = threading.Lock()
    console = Console("text", Told("out"), Told("err"))

    def paint(write: Callable[[], None]) -> None:
        with holder:
            write()

    console.paint = paint
    with holder:  # so that it is all written in one batch
        console.notice("start")
        for number in range(3):
            console.response(Block("CreateJobOutput", {"jobId": number}))
            console.notice(f"notice{number}")
    console.close()
    assert story == ["err: start", *(f"{to}{n}" for n in range(3) for to in ("out: ", "err: notice"))]


@pytest.mark.parametrize("kind", ["response", "rejected", "event"])
def test_a_blocked_terminal_blocks_nobody(blocked: tuple[Console, Blocked], kind: str) -> None:
    """While the terminal is blocked, showing returns at once; all is written in order when it opens."""
    console, stream = blocked
    for number in range(500):
        getattr(console, kind)(Block(f"N{number}", {}))
    console.warning("w")
    console.notice("n")
    console.error(SandboxError("e"))
    assert stream.getvalue() == ""
    stream.opened.set()
    console.flush()
    assert titles(stream.getvalue()) == ["First", *(f"N{number}" for number in range(500))]


def test_a_full_pipe_blocks_nobody() -> None:
    """A pipe that nobody reads stops the writer alone; what was shown is all there once it is read."""
    read, write = os.pipe()
    with os.fdopen(write, "w") as stream:
        console = Console("text", stream, io.StringIO())
        for number in range(2000):
            console.event(Block(f"N{number}", {"filler": "x" * 200}))
        text = b""
        with os.fdopen(read, "rb") as reader:
            while f"N1999 {'─' * 5}".encode() not in text:
                text += reader.read1()
        console.close()
    assert titles(text.decode()) == [f"N{number}" for number in range(2000)]


def test_events_past_the_bound(monkeypatch: pytest.MonkeyPatch, blocked: tuple[Console, Blocked]) -> None:
    """Events past the bound are counted, their number told; responses are never dropped, and later events are shown."""
    monkeypatch.setattr(console_module, "EVENT_LIMIT", 5)
    console, stream = blocked
    for number in range(12):
        console.event(Block(f"E{number}", {}))
    console.response(Block("R", {}))
    stream.opened.set()
    console.flush()
    console.event(Block("Later", {}))
    console.flush()
    assert titles(stream.getvalue()) == ["First", "E0", "E1", "E2", "E3", "E4", "R", "Later"]
    assert console._stderr.getvalue() == "7 events were dropped: the terminal was blocked\n"  # type: ignore[attr-defined]


def test_bytes_past_the_bound(monkeypatch: pytest.MonkeyPatch, blocked: tuple[Console, Blocked]) -> None:
    """Few events with many bytes are bounded as well."""
    monkeypatch.setattr(console_module, "EVENT_BYTES", 100)
    console, stream = blocked
    for number in range(4):
        console.event(Block(f"E{number}", {}, b"x" * 60))
    stream.opened.set()
    console.flush()
    assert titles(stream.getvalue()) == ["First", "E0", "E1"]
    assert console._stderr.getvalue() == "2 events were dropped: the terminal was blocked\n"  # type: ignore[attr-defined]


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(5, "EIO"), ValueError("I/O operation on closed file")])
def test_a_closed_stdout(error: Exception) -> None:
    """When the reader of stdout has gone, that is told once, and nothing waits or raises any more."""
    told: list[str] = []

    class Failing(io.StringIO):
        def write(self, text: str) -> int:
            raise error

    console = Console("text", Failing(), io.StringIO(), on_closed=lambda: told.append("closed"))
    assert not console.closed
    for _ in range(3):
        console.response(Block("A", {}))
        console.flush()
        assert console.closed
    console.close()
    assert told == ["closed"]


def test_nobody_listens_to_a_closed_stdout() -> None:
    """Whoever does not ask to be told is not."""
    console = Console("text", Gone(), io.StringIO())
    console.response(Block("A", {}))
    console.close()
    assert console.closed


def test_flush_waits(blocked: tuple[Console, Blocked]) -> None:
    """``flush`` returns when all that was shown before is written, and not earlier."""
    console, stream = blocked
    console.response(Block("Second", {}))
    flushed = threading.Event()
    seen: list[str] = []

    def flush() -> None:
        console.flush()
        seen.append(stream.getvalue())
        flushed.set()

    thread = threading.Thread(target=flush)
    thread.start()
    assert not flushed.wait(0.05)
    stream.opened.set()
    thread.join(PATIENCE)
    assert titles(seen[0]) == ["First", "Second"]


def test_flush_of_nothing(screen: Screen) -> None:
    """With nothing to write, ``flush`` returns at once, again and again."""
    screen.console.flush()
    screen.console.flush()
    assert screen.stdout == ""


def test_close_writes_what_is_left() -> None:
    """``close`` writes all that is left, and ends the writer's thread."""
    before = set(threading.enumerate())
    screen = Screen()
    (writer,) = set(threading.enumerate()) - before
    for number in range(50):
        screen.console.event(Block(f"N{number}", {}))
    screen.console.close()
    assert titles(screen.out.getvalue()) == [f"N{number}" for number in range(50)]
    writer.join(PATIENCE)
    assert not writer.is_alive()


def test_paint(screen: Screen) -> None:
    """What is written goes through ``paint``, so that it does not disturb a prompt."""
    painted: list[str] = []

    def paint(write: Callable[[], None]) -> None:
        before = screen.out.getvalue()
        write()
        painted.append(screen.out.getvalue().removeprefix(before))

    screen.console.paint = paint
    screen.console.response(Block("A", {}))
    screen.console.flush()
    screen.console.response(Block("B", {}))
    screen.console.flush()
    assert [titles(text) for text in painted] == [["A"], ["B"]]


def test_paint_that_fails(screen: Screen) -> None:
    """A terminal that is gone while painting counts as closed."""

    def paint(write: Callable[[], None]) -> None:
        with suppress(ValueError):
            write()
        raise OSError

    screen.console.paint = paint
    screen.console.response(Block("A", {}))
    screen.console.flush()
    assert screen.console.closed


def test_no_colour_in_a_file() -> None:
    """A stream that is no terminal gets no escape codes, whatever the other one is."""
    screen = Screen(colour=True)
    screen.out.isatty = lambda: True  # type: ignore[method-assign]
    everything(screen.console)
    screen.console.close()
    assert "\x1b" in screen.stdout
    assert "\x1b" not in screen.stderr


class Full(io.StringIO):
    """A stream of a disk that is full."""

    def write(self, _: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_a_failure() -> None:
    """Output that cannot be written is a failure with its reason; nobody waits for ever."""
    closed: list[bool] = []
    console = Console("text", Full(), io.StringIO(), on_closed=lambda: closed.append(True))
    console.response(Block("R", {}))
    console.flush()
    console.response(Block("R", {}))
    console.close()
    assert console.closed
    assert "No space left" in console.failure
    assert closed == [True]


def test_a_broken_stderr_does_not_stop_stdout() -> None:
    """What the program says about itself may get lost; the answers do not."""
    out = io.StringIO()
    console = Console("text", out, Full())
    console.warning("careful")
    console.response(Block("R", {}))
    console.close()
    assert "R" in out.getvalue()
    assert not console.closed


def test_a_painter_that_breaks() -> None:
    """Whatever goes wrong in writing, those who wait for it go on."""
    console = Console("text", io.StringIO(), io.StringIO())

    def broken(_: object) -> None:
        raise RuntimeError

    console.paint = broken
    console.response(Block("R", {}))
    console.flush()
    console.close()
    assert console.failure == "RuntimeError"


def test_closing_may_be_bounded() -> None:
    """Who must leave does not wait for a terminal that is blocked."""
    go = threading.Event()
    console = Console("text", io.StringIO(), io.StringIO())

    def blocked(write: Callable[[], None]) -> None:
        go.wait(PATIENCE)
        write()

    console.paint = blocked
    console.response(Block("R", {}))
    console.close(0.05)
    go.set()
