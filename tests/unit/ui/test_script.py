"""Commands from a pipe or a file."""

import asyncio
import io
import os
from collections.abc import Callable

import pytest

from jobs_sandbox.core.blocks import GET_PENDING, Block
from jobs_sandbox.core.errors import Rejected, SandboxError
from jobs_sandbox.ui import script as script_module
from jobs_sandbox.ui.script import read_lines, run_script
from tests.unit.fakes import FakeRun, Screen, titles, until

PENDING = Block(GET_PENDING, {"queuedJobs": []})


async def script(run: FakeRun, screen: Screen, text: bytes, prompt: str = "") -> bool:
    lines = read_lines(io.BytesIO(text))
    return await run_script(run.session, screen.console, lines, prompt)


async def test_a_script(run: FakeRun, screen: Screen) -> None:
    """A script runs line by line, and succeeds when every command does."""
    run.data.outcome = PENDING
    text = '\ufeff# first\n\n  \nget-pending-job-executions\r\ncreate-job Job1 {"é":  "日本"}'
    assert await script(run, screen, text.encode())
    assert run.data.calls == [("get_pending_job_executions",)]
    assert run.control.calls == [("create_job", "Job1", '{"é":  "日本"}')]
    assert await screen.stderr() == ""


async def test_failures(run: FakeRun, screen: Screen) -> None:
    """A failed command is reported with its line number, and the rest goes on."""
    run.data.outcome = Rejected({"code": "InvalidRequest", "message": "no"}, b"")
    text = b"# c\nfrob\nupdate-job-execution Job1 CANCELED\ndelete-job J\xff\nhelp\n"
    assert not await script(run, screen, text)
    errors = [line for line in (await screen.stderr()).splitlines() if line.startswith("line")]
    assert [error.split(":")[0] for error in errors] == ["line 2", "line 3", "line 4"]
    assert "unknown command 'frob'" in errors[0]
    assert "InvalidRequest: no" in errors[1]
    assert titles(await screen.stdout()) == ["Service Request Rejected", "Help"]


async def test_warnings(run: FakeRun, screen: Screen) -> None:
    """A failure after ``should`` is a warning, and the script succeeds."""
    assert await script(run, screen, b"should stop-device\n")
    assert (await screen.stderr()).startswith("line 1: warning: there is no device under test.\n")
    assert not await script(run, screen, b"should frob\n")


@pytest.mark.parametrize(
    ("text", "succeeds"), [(b"help\nexit\nfrob", True), (b"frob\nquit", False)]
)
async def test_quit(run: FakeRun, screen: Screen, text: bytes, *, succeeds: bool) -> None:
    """``quit`` ends a script; what failed before still counts."""
    assert await script(run, screen, text) is succeeds


async def test_a_long_line(run: FakeRun, screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that is too long is one failure, and the next line runs."""
    monkeypatch.setattr(script_module, "LONGEST_LINE", 8)
    assert not await script(run, screen, b"help\n" + b"x" * 30 + b"\nhelp\n")
    assert (await screen.stderr()).startswith("line 2: a line of more than 8 bytes.\n")
    assert titles(await screen.stdout()) == ["Help", "Help"]


async def test_not_utf_8(run: FakeRun, screen: Screen) -> None:
    """A line in another encoding is one failure that says so."""
    assert not await script(run, screen, 'create-job J {"a":"\xe9"}\n'.encode("latin-1"))
    assert (await screen.stderr()).startswith("line 1: the line is not UTF-8 text.\n")


async def test_order(run: FakeRun, screen: Screen) -> None:
    """A line runs when the answer to the one before it has been written."""
    written = asyncio.Event()

    async def paint(write: Callable[[], None]) -> None:
        await written.wait()
        write()

    screen.console.write_with(paint)
    running = asyncio.create_task(script(run, screen, b"help\ncreate-job J {}\n"))
    await asyncio.sleep(0.02)
    assert run.control.calls == []
    written.set()
    assert await running


async def test_interrupted(run: FakeRun, screen: Screen) -> None:
    """After an interrupt the next line runs, and the script has failed."""
    running = asyncio.create_task(script(run, screen, b"wait 600\nhelp\n"))
    await until(run.session.interrupt)
    assert not await running
    assert titles(await screen.stdout()) == ["Help"]


async def test_cancelled(run: FakeRun, screen: Screen) -> None:
    """A signal ends a script that waits."""
    running = asyncio.create_task(script(run, screen, b"wait 600\n"))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_unreadable_input(run: FakeRun, screen: Screen) -> None:
    """Input that cannot be read is a failure: commands may be lost."""
    with open(os.devnull, "wb") as file, open(file.fileno(), "rb", closefd=False) as unreadable:  # noqa: ASYNC230
        with pytest.raises(SandboxError, match="Bad file descriptor"):
            await anext(read_lines(unreadable))
        assert not await run_script(run.session, screen.console, read_lines(unreadable))
    assert (await screen.stderr()).startswith("standard input cannot be read")
