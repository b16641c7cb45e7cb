"""Commands from a pipe or a file."""

import asyncio
import io
import json
import os
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from jobs_sandbox.core.blocks import Block
from jobs_sandbox.core.errors import Rejected
from jobs_sandbox.ui import script as script_module
from jobs_sandbox.ui.console import Console
from jobs_sandbox.ui.script import LONGEST_LINE, read_lines, run_script
from tests.unit.fakes import TIMEOUT, FakeData, FakeRun, Screen, titles, until
from tests.unit.ui.test_console import Gone

PENDING = Block("GetPendingJobExecutionsResponse", {"queuedJobs": []})


async def script(run: FakeRun, *lines: bytes | None) -> bool:
    async def given() -> AsyncIterator[bytes | None]:
        for line in lines:
            yield line

    return await run_script(run.session, run.screen.console, given())


async def test_script(run: FakeRun) -> None:
    """A script runs line by line, blank lines and comments passed over; it succeeds when every command does."""
    run.data.outcome = PENDING
    lines = [
        b"\xef\xbb\xbf# first",
        b"",
        b"  # indented",
        b"get-pending-job-executions\r",
        b"  ",
        b"describe-job-execution Job1",
    ]
    assert await script(run, *lines)
    assert run.data.calls == [("get_pending_job_executions",), ("describe_job_execution", "Job1")]
    assert await run.screen.stderr() == ""


async def test_failures(run: FakeRun) -> None:
    """A failed command is told with its line number, and the rest goes on; the script has then failed."""
    run.data.outcome = PENDING
    assert not await script(run, b"# c", b"frob", b"get-pending-job-executions", b"delete-job a/b")
    assert (await run.screen.stderr()).splitlines() == [
        "line 2: unknown command 'frob'.",
        "  next: help lists them all.",
        "line 4: 'a/b' is not a job id: 1 to 64 letters, digits, - and _.",
        "  next: usage: delete-job <jobId>",
    ]
    assert titles(await run.screen.stdout()) == ["GetPendingJobExecutionsResponse"]


async def test_rejection(run: FakeRun) -> None:
    """A rejected request fails a script, its block shown and its line told."""
    run.data.outcome = Rejected({"code": "InvalidRequest", "message": "no"}, b"")
    assert not await script(run, b"update-job-execution Job1 CANCELED")
    assert "Service Request Rejected" in await run.screen.stdout()
    assert (
        await run.screen.stderr()
        == "line 1: the service rejected the request: InvalidRequest: no\n"
    )


async def test_errors_in_json() -> None:
    """In JSON, an error names line and command as fields."""
    run = FakeRun(Screen("json"))
    assert not await script(run, b"", b"frob " + b"x" * 100)
    error = json.loads(await run.screen.stderr())
    assert (error["type"], error["line"], error["command"]) == ("Error", 2, "frob " + "x" * 75)
    await run.screen.console.close()


async def test_quit(run: FakeRun) -> None:
    """``quit`` ends a script; what failed before still counts."""
    assert await script(run, b"help", b"quit", b"frob")
    assert await run.screen.stderr() == ""
    assert not await script(run, b"frob", b"quit")


@pytest.mark.parametrize(
    "line", [b'create-job Job1 {"a":"\xff"}', b"delete-job J\xff", b"\xff\xfe", b"delete-job J\0"]
)
async def test_bad_text(run: FakeRun, line: bytes) -> None:
    """A line that is not UTF-8 is a mistake like any other; nothing of it is sent."""
    assert not await script(run, line)
    assert (await run.screen.stderr()).startswith("line 1: ")
    assert (run.control.calls, run.data.calls) == ([], [])


async def test_beyond_ascii(run: FakeRun) -> None:
    """A script is UTF-8, its documents sent byte for byte."""
    assert await script(run, 'create-job Job1 {"é":  "日本"}  \r'.encode())
    assert run.control.calls == [("create_job", "Job1", '{"é":  "日本"}  ')]


async def test_deep_document(run: FakeRun) -> None:
    """A document nested 20,000 deep is one message, and the script goes on."""
    assert not await script(run, b"create-job J " + b"[" * 20_000, b"help")
    [message, *_] = (await run.screen.stderr()).splitlines()
    assert message.startswith("line 1: the job document is ")
    assert message.endswith("nested more than 100 levels deep.")
    assert titles(await run.screen.stdout()) == ["Help"]


async def test_a_line_that_is_too_long(run: FakeRun) -> None:
    """A line beyond the limit is one mistake, with its number, and the script goes on."""
    assert not await script(run, b"help", None, b"help")
    assert (await run.screen.stderr()).splitlines() == [
        "line 2: a line of more than 1,048,576 bytes.",
        "  next: split it.",
    ]
    assert titles(await run.screen.stdout()) == ["Help", "Help"]


async def test_order(run: FakeRun) -> None:
    """Each result is written before the next command runs."""
    written: list[list[str]] = []

    class Watched(FakeData):
        async def _request(self, *given: object) -> Block:
            written.append(titles(run.screen.out.getvalue()))
            return await super()._request(*given)  # type: ignore[arg-type]

    run.session.data = Watched(PENDING)
    assert await script(run, *[b"get-pending-job-executions"] * 3)
    assert written == [[PENDING.title] * number for number in range(3)]


async def cancelled_by_a_closed_stdout(*lines: bytes) -> tuple[bool, FakeRun]:
    """A script whose reader has gone; the console cancels it, as the app arranges."""
    tasks: list[asyncio.Task[bool]] = []
    screen = Screen(on_closed=lambda: tasks[0].cancel())
    screen.console._stdout = Gone()
    run = FakeRun(screen)
    run.data.outcome = PENDING
    tasks.append(asyncio.create_task(script(run, *lines)))
    succeeded = await tasks[0]
    await screen.console.close()
    return succeeded, run


async def test_whose_reader_has_gone() -> None:
    """When nobody reads the results any more, no further command runs, and none of them has failed."""
    succeeded, run = await cancelled_by_a_closed_stdout(*[b"get-pending-job-executions"] * 3)
    assert succeeded
    assert len(run.data.calls) == 1


async def test_failed_before_the_reader_left() -> None:
    """What failed before nobody read the results any more still counts."""
    succeeded, _ = await cancelled_by_a_closed_stdout(b"frob", b"get-pending-job-executions")
    assert not succeeded


async def test_cancelled(run: FakeRun) -> None:
    """A script that is cancelled, as by a signal, while its output is there ends as cancelled."""
    task = asyncio.create_task(script(run, b"get-pending-job-executions"))
    await until(lambda: run.data.requests)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# Reading


@pytest.fixture
def pipe() -> Iterator[tuple[int, io.FileIO]]:
    """A pipe: the descriptor to read from, and the file to write to."""
    reading, writing = os.pipe()
    with open(writing, "wb", buffering=0) as file:
        yield reading, file
    os.close(reading)


async def read(descriptor: int) -> tuple[list[bytes | None], list[str]]:
    """All lines, and what was warned of."""
    warnings: list[str] = []
    lines = [line async for line in read_lines(descriptor, warnings.append)]
    return lines, warnings


@pytest.mark.parametrize("chunk", [1, 3, 2**16])
@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (b"", []),
        (b"\n", [b""]),
        (b"help\n", [b"help"]),
        (b"help", [b"help"]),
        (b"one\ntwo", [b"one", b"two"]),
        (b"one\r\n\n\ntwo\n", [b"one\r", b"", b"", b"two"]),
        ('{"é": "日本"}\n'.encode(), ['{"é": "日本"}'.encode()]),
    ],
)
async def test_lines(
    monkeypatch: pytest.MonkeyPatch,
    pipe: tuple[int, io.FileIO],
    text: bytes,
    lines: list[bytes],
    chunk: int,
) -> None:
    """Lines are the same however the bytes come; the last one need not end."""
    monkeypatch.setattr(script_module, "_CHUNK", chunk)
    reading, writing = pipe
    writing.write(text)
    writing.close()
    assert await read(reading) == (lines, [])


async def test_a_line_at_a_time(pipe: tuple[int, io.FileIO]) -> None:
    """A line is there as soon as it ends, and waiting for the next one holds nobody up."""
    reading, writing = pipe
    lines = read_lines(reading, print)
    for number in range(3):
        writing.write(b"%d\nnext" % number)
        expected = b"%d" % number if number == 0 else b"next%d" % number
        async with asyncio.timeout(TIMEOUT):
            assert await anext(lines) == expected
    waiting = asyncio.ensure_future(anext(lines))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    writing.close()
    assert await waiting == b"next"
    assert [line async for line in lines] == []


@pytest.mark.parametrize("end", [b"", b"\n"])
async def test_longest_line(tmp_path: Path, end: bytes) -> None:
    """A line of the longest length is read, one byte more is too long: at the end of the file as well."""
    path = tmp_path / "script"
    longest = b"x" * LONGEST_LINE
    path.write_bytes(longest + b"\n" + longest + b"y\n" + b"help\n" + longest + b"y" + end)
    with path.open("rb") as file:
        lines, warnings = await read(file.fileno())
    assert lines == [longest, None, b"help", None]
    assert warnings == []


async def test_memory_is_bounded(tmp_path: Path) -> None:
    """Of a line that is far too long nothing is kept beyond the limit, so that it takes neither memory nor time."""
    path = tmp_path / "script"
    with path.open("wb") as file:
        file.truncate(2**26)  # 64 MiB, sparse
        file.seek(2**26)
        file.write(b"\nhelp")
    with path.open("rb") as file:
        tracemalloc.start()
        lines, _ = await read(file.fileno())
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert lines == [None, b"help"]
    assert peak < 8 * LONGEST_LINE


@pytest.mark.parametrize(
    ("path", "flags", "reason"),
    [(os.devnull, os.O_WRONLY, "Bad file descriptor"), ("/", os.O_RDONLY, "Is a directory")],
)
async def test_unreadable(path: str, flags: int, reason: str) -> None:
    """Input that cannot be read, as that which nohup gives to a program, is taken as its end, with a warning."""
    descriptor = os.open(path, flags)
    lines, warnings = await read(descriptor)
    os.close(descriptor)
    assert (lines, warnings) == (
        [],
        [f"the standard input cannot be read ({reason}): taken as its end"],
    )


async def test_unreadable_at_last(
    pipe: tuple[int, io.FileIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read before the input failed is still run."""
    chunks: list[bytes | OSError] = [b"one\ntw", b"o", OSError(5, "Input/output error")]

    def next_chunk(_: int, __: int) -> bytes:
        chunk = chunks.pop(0)
        if isinstance(chunk, OSError):
            raise chunk
        return chunk

    monkeypatch.setattr(os, "read", next_chunk)
    lines, warnings = await read(0)
    assert lines == [b"one", b"two"]
    assert len(warnings) == 1


async def test_many_descriptors(pipe: tuple[int, io.FileIO]) -> None:
    """A descriptor beyond 1,024, which select() cannot take, is read like any other."""
    import fcntl
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1100), hard))
    reading, writing = pipe
    high = fcntl.fcntl(reading, fcntl.F_DUPFD, 1030)
    writing.write(b"help\n")
    writing.close()
    assert await read(high) == ([b"help"], [])
    os.close(high)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_the_console_is_not_needed_to_read(pipe: tuple[int, io.FileIO]) -> None:
    """A warning about the input goes where it is said to go."""
    screen = Screen()
    descriptor = os.open(os.devnull, os.O_WRONLY)
    console: Console = screen.console
    assert [line async for line in read_lines(descriptor, console.warning)] == []
    os.close(descriptor)
    assert "taken as its end" in await screen.stderr()
    await console.close()
