"""The prompt: what it runs, what it keeps, and what it shows. A real screen is proven with the whole program."""

import asyncio
import io
import os
import re
import signal
import sys
import termios
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prompt_toolkit.application import Application, create_app_session
from prompt_toolkit.input.typeahead import clear_typeahead
from prompt_toolkit.output import ColorDepth, DummyOutput

from jobs_sandbox.core.blocks import Block
from jobs_sandbox.core.errors import Rejected, RequestFailed, SandboxError
from jobs_sandbox.core.settings import Settings
from jobs_sandbox.ui import prompt as repl_module
from jobs_sandbox.ui import terminal as terminal_module
from jobs_sandbox.ui.prompt import Repl
from tests.unit.fakes import TIMEOUT, FakeRun, Screen, titles, until

SETTINGS = Settings("host", "cert", "key", "us-east-1", "Lamp", "test-1")
PENDING = Block("GetPendingJobExecutionsResponse", {"queuedJobs": [], "inProgressJobs": []})


class Prompt:
    """A prompt at a pseudo-terminal, whose far end is the test's.

    Attributes:
        drawn: the toolbar as it was drawn, each time.

    """

    def __init__(self, run: FakeRun) -> None:
        self.far, slave = os.openpty()
        self.stdin = os.fdopen(slave)
        self.drawn: list[str] = []
        self.run = run
        self._task: asyncio.Task[None] | None = None

    def make(self) -> Repl:
        """Make it, with the toolbar watched."""
        self.repl = Repl(self.run.session, self.run.screen.console, SETTINGS)
        return self.repl

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self.far, text.encode())

    async def start(self) -> None:
        """Show it, and wait until it is there."""
        self._task = asyncio.create_task(self.repl.run())
        await self.shown()

    async def shown(self) -> None:
        """Wait until the prompt is shown."""
        await until(lambda: self.repl._prompt.app.is_running and self.is_raw())

    async def left(self) -> None:
        """Wait until it has been left."""
        assert self._task is not None
        async with asyncio.timeout(TIMEOUT):
            await self._task

    async def all(self, text: str) -> None:
        """Type all that is to be typed, to the end."""
        await self.start()
        self.type(text)
        await self.left()

    @property
    def typed(self) -> str:
        """What stands at the prompt."""
        return self.repl._prompt.default_buffer.text

    def flags(self) -> int:
        """The terminal's local modes."""
        return int(termios.tcgetattr(self.stdin)[3])

    def is_raw(self) -> bool:
        """Whether each key is read by itself."""
        return not self.flags() & termios.ISIG

    async def close(self) -> None:
        """End it, wherever it is."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        clear_typeahead(self.repl._prompt.app.input)
        self.stdin.close()
        os.close(self.far)


@pytest.fixture
async def screen() -> AsyncIterator[Screen]:
    """A console that knows of the prompt; nothing is drawn."""
    with create_app_session(output=DummyOutput()):
        made = Screen()
        yield made
        await made.console.close(TIMEOUT)


@pytest.fixture
async def prompt(
    run: FakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Prompt]:
    """A prompt; the history is the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    prompt = Prompt(run)
    monkeypatch.setattr(sys, "stdin", prompt.stdin)
    toolbar = Repl._toolbar

    def watched(repl: Repl) -> str:
        prompt.drawn.append(toolbar(repl))
        return prompt.drawn[-1]

    monkeypatch.setattr(Repl, "_toolbar", watched)
    prompt.make()
    yield prompt
    await prompt.close()


# What it runs


async def test_runs_lines_until_quit(prompt: Prompt, run: FakeRun) -> None:
    """Each line is run; quit leaves; the executions are asked for once, for the toolbar."""
    run.data.outcome = Block("DescribeJobExecutionResponse", {"execution": {"jobId": "Job1"}})
    await prompt.all("describe-job-execution Job1\r\r  \rquit\rhelp\r")
    assert run.data.calls == [("get_pending_job_executions",), ("describe_job_execution", "Job1")]
    assert titles(await run.screen.stdout()) == ["DescribeJobExecutionResponse"]


async def test_end_of_input_leaves(prompt: Prompt, run: FakeRun) -> None:
    """Ctrl-D on an empty line leaves, and not on any other."""
    await prompt.start()
    prompt.type("x\x04y")
    await until(lambda: prompt.typed == "xy")
    prompt.type("\x15\x04")
    await prompt.left()
    assert await run.screen.stderr() == ""


async def test_a_block_is_written_before_the_next_prompt(prompt: Prompt, run: FakeRun) -> None:
    """The prompt comes back below what was shown."""
    await prompt.start()
    shown: list[str] = []
    real = prompt.repl._ask

    async def ask() -> str:
        shown.append(run.screen.out.getvalue())
        return await real()

    prompt.repl._ask = ask  # type: ignore[method-assign]
    prompt.type("help\rquit\r")
    await prompt.left()
    assert titles(shown[0]) == ["Help"]


async def test_errors_are_told_once(prompt: Prompt, run: FakeRun) -> None:
    """A mistake is told; a rejection is its own block and nothing more; the prompt goes on."""
    run.data.outcome = Rejected({"code": "ResourceNotFound", "message": "gone"}, b"")
    await prompt.all("nonsense\rdescribe-job-execution Job1\rquit\r")
    assert (await run.screen.stderr()).startswith("unknown command 'nonsense'")
    assert "ResourceNotFound" in await run.screen.stdout()
    assert "ResourceNotFound" not in await run.screen.stderr()


async def test_a_failure_is_told(prompt: Prompt, run: FakeRun) -> None:
    """A failed command is told, and leaves nothing of itself in the toolbar."""
    run.data.outcome = RequestFailed("the network")
    await prompt.start()
    prompt.type("get-pending-job-executions\r")
    await until(lambda: run.screen.err.getvalue() == "the network\n")
    await prompt.shown()
    assert "get-pending" not in prompt.repl._toolbar()


async def test_an_open_document_goes_on(prompt: Prompt, run: FakeRun) -> None:
    """Enter in a document whose braces are open begins a new line; at its end it sends the command."""
    await prompt.all('create-job Job1 {"a":\r1}\rquit\r')
    assert run.control.calls == [("create_job", "Job1", '{"a":\n1}')]


async def test_pasted_lines(prompt: Prompt, run: FakeRun) -> None:
    """Of several lines that were pasted each is shown above its blocks; what fails among them is told in its place."""
    run.data.outcome = PENDING
    await prompt.all("\x1b[200~help\nfrob\n\nget-pending-job-executions\x1b[201~\rquit\r")
    shown = (await run.screen.stdout()).splitlines()
    told = [line for line in shown if line.startswith(("─── ", "jobs-sandbox> "))]
    assert [line.rstrip("─ ") for line in told] == [
        "jobs-sandbox> help",
        "─── Help",
        "jobs-sandbox> frob",
        "jobs-sandbox> get-pending-job-executions",
        "─── GetPendingJobExecutionsResponse",
    ]
    assert (await run.screen.stderr()).startswith("unknown command 'frob'")


async def test_a_colour_is_no_mouse(prompt: Prompt, run: FakeRun) -> None:
    """A colour in what is pasted as if it were typed is not taken for a click."""
    failures: list[object] = []
    prompt.repl._prompt.app._handle_exception = lambda _, context: failures.append(context)  # type: ignore[assignment]
    await prompt.all("\x1b[31mhelp\x1b[0m\rquit\r")
    assert titles(await run.screen.stdout()) == ["Help"]
    assert failures == []


async def test_one_line_is_shown_once(prompt: Prompt, run: FakeRun) -> None:
    """A single line stands at its prompt, and is not shown again."""
    await prompt.all("help\rquit\r")
    assert "jobs-sandbox>" not in await run.screen.stdout()


async def test_history(prompt: Prompt, run: FakeRun) -> None:
    """A line of an earlier prompt comes back with the up key, in a later session too."""
    await prompt.all("help\rquit\r")
    prompt.make()
    await prompt.start()
    prompt.type("\x1b[A\x1b[A")
    await until(lambda: prompt.typed == "help")


# Ctrl-C


async def test_interrupt_drops_the_line(prompt: Prompt, run: FakeRun) -> None:
    """Ctrl-C at the prompt drops what was typed, and marks where it was."""
    seen: list[str] = []
    prompt.repl._prompt.default_buffer.on_text_changed += lambda buffer: seen.append(buffer.text)
    await prompt.start()
    prompt.type("nonsense\x1b[D\x03")
    await until(lambda: "nonsense^C" in seen and prompt.typed == "")
    await prompt.shown()
    prompt.type("quit\r")
    await prompt.left()
    assert await run.screen.stderr() == ""


@pytest.mark.parametrize("from_elsewhere", [True, False])
async def test_interrupt_ends_a_search(
    prompt: Prompt, run: FakeRun, *, from_elsewhere: bool
) -> None:
    """Ctrl-C during Ctrl-R ends the search with the line: its field does not keep the keys of the next prompt."""
    await prompt.start()
    layout = prompt.repl._prompt.app.layout
    prompt.type("\x12hel")
    await until(lambda: layout.is_searching and layout.current_buffer.text == "hel")  # type: ignore[union-attr]
    if from_elsewhere:
        prompt.repl.interrupt()
    else:
        prompt.type("\x03")
    await until(lambda: not layout.is_searching)
    await prompt.shown()
    prompt.type("help\rquit\r")
    await prompt.left()
    assert titles(await run.screen.stdout()) == ["Help"]


async def test_interrupts_at_once(prompt: Prompt, run: FakeRun) -> None:
    """Two interrupts in the same instant drop one line, and harm nobody."""
    await prompt.start()
    prompt.type("nonsense")
    await until(lambda: prompt.typed == "nonsense")
    prompt.repl.interrupt()
    prompt.repl.interrupt()
    await until(lambda: prompt.typed == "")
    await prompt.shown()
    prompt.type("help\rquit\r")
    await prompt.left()
    assert titles(await run.screen.stdout()) == ["Help"]


async def test_edited(prompt: Prompt, run: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-X Ctrl-E runs what the editor made of the line; meanwhile Ctrl-C is the editor's."""
    editing = asyncio.Event()
    done = asyncio.Event()

    async def edited(text: str) -> str:
        editing.set()
        await done.wait()
        return text + "lp\nquit"

    monkeypatch.setattr(repl_module, "edited", edited)
    await prompt.start()
    prompt.type("he\x18\x05")
    await asyncio.wait_for(editing.wait(), TIMEOUT)
    prompt.repl.interrupt()
    assert prompt.typed == "he"
    done.set()
    await prompt.left()
    assert titles(await run.screen.stdout()) == ["Help"]


async def test_cancelled_while_an_editor_runs(
    prompt: Prompt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A prompt that is cancelled, by a signal for one, does not wait for the editor."""
    monkeypatch.setenv("VISUAL", f"sh -c 'touch {tmp_path}/begun; exec sleep 60'")
    await prompt.start()
    prompt.type("he\x18\x05")
    await until((tmp_path / "begun").exists)
    assert prompt._task is not None
    prompt._task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await prompt.left()


async def test_an_editor_that_fails(
    prompt: Prompt, run: FakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why is told, and the line stays."""
    asked = asyncio.Event()

    async def edited(text: str) -> str:
        asked.set()
        raise SandboxError(f"no editor for {text}")

    monkeypatch.setattr(repl_module, "edited", edited)
    await prompt.start()
    prompt.type("he\x18\x05")
    await asyncio.wait_for(asked.wait(), TIMEOUT)
    prompt.type("lp\rquit\r")
    await prompt.left()
    assert await run.screen.stderr() == "no editor for he\n"
    assert "Help" in titles(await run.screen.stdout())


@pytest.mark.parametrize("from_elsewhere", [True, False])
async def test_interrupt_stops_waiting(
    prompt: Prompt, run: FakeRun, *, from_elsewhere: bool
) -> None:
    """Ctrl-C while a command waits, or a SIGINT from elsewhere, gives the prompt back; the other lines are dropped."""
    await prompt.start()
    prompt.type("\x1b[200~describe-job-execution Job1\nfrob\x1b[201~\r")
    await until(
        lambda: len(run.data.requests) > 1 and prompt.repl._bar.app.is_running and prompt.is_raw()
    )
    if from_elsewhere:
        prompt.repl.interrupt()
    else:
        prompt.type("\x03")
    await prompt.shown()
    prompt.type("quit\r")
    await prompt.left()
    assert (await run.screen.stderr()).startswith(
        "no longer waiting for `describe-job-execution Job1`"
    )
    assert "frob" not in await run.screen.stderr()


# The toolbar and the bar


async def test_toolbar(prompt: Prompt, run: FakeRun) -> None:
    """The toolbar tells state, counts, thing, the last event and the endpoint; while reconnecting, for how long."""
    repl = prompt.repl
    run.session.connection("connected", "")
    assert repl._toolbar() == " connected │ ? queued, ? in progress │ Lamp │ host:8883"
    run.session.event(Block("JobExecutionsChangedEvent", {"jobs": {"QUEUED": [{"jobId": "Job1"}]}}))
    run.session.connection("reconnecting", "lost")
    run.session.since = time.monotonic() - 12.4
    run.session.last_event = time.mktime((2026, 1, 2, 3, 4, 5, 0, 0, -1))
    expected = (
        " reconnecting for 12 s │ 1 queued, 0 in progress │ Lamp │ last event 03:04:05 │ host:8883"
    )
    assert repl._toolbar() == expected
    run.session.event(
        Block(
            "JobExecutionsChangedEvent",
            {"jobs": {"QUEUED": [{"jobId": f"J{n}"} for n in range(10)]}},
        )
    )
    assert " │ 10+ queued, 0 in progress │ " in repl._toolbar()


async def test_toolbar_follows(prompt: Prompt, run: FakeRun) -> None:
    """The toolbar is drawn anew when something has changed, with the first counts at the beginning."""
    run.data.outcome = PENDING
    prompt.repl._prompt.refresh_interval = 0
    await prompt.start()
    await until(lambda: prompt.drawn and "0 queued, 0 in progress" in prompt.drawn[-1])
    run.session.event(Block("JobExecutionsChangedEvent", {"jobs": {"QUEUED": [{"jobId": "Job1"}]}}))
    await until(lambda: "1 queued, 0 in progress" in prompt.drawn[-1])


async def test_toolbar_counts_seconds(prompt: Prompt, run: FakeRun) -> None:
    """The toolbar counts seconds, though nothing else happens."""
    run.session.connection("reconnecting", "")
    await prompt.start()
    await until(lambda: " reconnecting for 1 s " in prompt.drawn[-1])


async def test_bar(prompt: Prompt, run: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a command waits, the bar tells which, and for how long; it follows what changes, written about or not."""
    prompt.repl._bar.app.refresh_interval = 0
    await prompt.start()
    long = "describe-job-execution " + "J" * 64
    prompt.type(f"{long}\r")
    await until(lambda: prompt.repl._bar.app.is_running)
    await until(lambda: f" │ {long[:40]}: 0 s, Ctrl-C stops waiting │ ? queued" in prompt.drawn[-1])
    run.session.event(Block("JobExecutionsChangedEvent", {"jobs": {"QUEUED": [{"jobId": "Job1"}]}}))
    await until(lambda: "stops waiting │ 1 queued" in prompt.drawn[-1])
    await run.screen.console.flush()
    run.session.connection("reconnecting", "")
    await until(lambda: re.match(" reconnecting for .* stops waiting", prompt.drawn[-1]))
    run.data.requests[-1].end(PENDING)
    await prompt.shown()
    assert not prompt.repl._bar.app.is_running
    assert "stops waiting" not in prompt.repl._toolbar()


async def test_typed_while_a_command_waits(prompt: Prompt, run: FakeRun) -> None:
    """What is typed while a command waits is at the next prompt, and run if it ends with Enter."""
    await prompt.start()
    prompt.type("get-pending-job-executions\r")
    await until(lambda: prompt.repl._bar.app.is_running and prompt.is_raw())
    prompt.type("help\rqui")
    await asyncio.sleep(0.05)
    run.data.requests[-1].end(PENDING)
    await until(lambda: prompt.typed == "qui")
    assert titles(await run.screen.stdout()) == ["GetPendingJobExecutionsResponse", "Help"]


# The terminal


async def test_between_two_prompts(
    prompt: Prompt, run: FakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a command runs, keys are not shown; when all is over, the terminal is as it was."""
    monkeypatch.setattr(terminal_module, "_BAR_AFTER", 600)
    before = termios.tcgetattr(prompt.stdin)
    await prompt.start()
    prompt.type("get-pending-job-executions\r")
    await until(lambda: len(run.data.requests) > 1 and not prompt.is_raw())
    assert not prompt.flags() & termios.ECHO
    run.data.requests[-1].end(PENDING)
    await prompt.shown()
    prompt.type("quit\r")
    await prompt.left()
    assert termios.tcgetattr(prompt.stdin) == before


async def test_what_is_written_goes_above(prompt: Prompt, run: FakeRun) -> None:
    """What the console writes while a prompt is shown takes the prompt away meanwhile."""
    seen: list[bool] = []
    await prompt.start()
    app = prompt.repl._prompt.app

    class Watched(io.StringIO):
        def write(self, text: str) -> int:
            seen.append(app._running_in_terminal)
            return super().write(text)

    run.screen.console._stdout = Watched()
    run.session.event(Block("JobExecutionsChangedEvent", {}))
    await run.screen.console.flush()
    assert seen == [True]


async def test_the_prompt_waits_for_a_write(prompt: Prompt, run: FakeRun) -> None:
    """A prompt does not begin in the middle of a block that comes just then."""
    go = asyncio.Event()

    async def write_slowly() -> None:
        async with prompt.repl._painter._writing:
            await go.wait()

    writing = asyncio.create_task(write_slowly())
    await asyncio.sleep(0)
    starting = asyncio.create_task(prompt.start())
    await asyncio.sleep(0.02)
    assert not prompt.repl._prompt.app.is_running
    go.set()
    await writing
    await starting


async def test_suspending(prompt: Prompt, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-Z at the prompt suspends the program."""
    suspended: list[object] = []
    monkeypatch.setattr(Application, "suspend_to_background", lambda app: suspended.append(app))
    await prompt.start()
    prompt.type("help\x1a")
    await until(lambda: suspended)
    assert prompt.typed == "help"


async def test_rows_for_the_menu(prompt: Prompt) -> None:
    """Rows are kept for the menu while something is typed, and not before: in a low window, blocks need them."""
    await prompt.start()
    assert prompt.repl._prompt.reserve_space_for_menu == 0
    prompt.type("h")
    await until(lambda: prompt.typed == "h")
    assert prompt.repl._prompt.reserve_space_for_menu == 6
    prompt.type("\x7f")
    await until(lambda: prompt.typed == "")
    assert prompt.repl._prompt.reserve_space_for_menu == 0
    prompt.type("help\r")
    await prompt.shown()
    await until(lambda: prompt.typed == "" and prompt.repl._prompt.reserve_space_for_menu == 0)


@pytest.mark.parametrize(
    ("value", "depth"), [(None, None), ("1", ColorDepth.DEPTH_1_BIT), ("", ColorDepth.DEPTH_1_BIT)]
)
async def test_no_color(
    prompt: Prompt, monkeypatch: pytest.MonkeyPatch, value: str | None, depth: ColorDepth | None
) -> None:
    """With NO_COLOR the prompt and the bar have none."""
    if value is not None:
        monkeypatch.setenv("NO_COLOR", value)
    repl = prompt.make()
    assert (repl._prompt.color_depth, repl._bar.app._color_depth) == (depth, depth)


async def test_dumb_terminal(
    prompt: Prompt,
    run: FakeRun,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """On a dumb terminal the prompt is plain text that follows the buffer; blocks go below, and it is shown again."""
    monkeypatch.setenv("TERM", "dumb")
    prompt.make()
    await prompt.start()
    prompt.type("hex")
    await until(lambda: prompt.typed == "hex")
    run.session.warning("careful")
    await run.screen.console.flush()
    prompt.type("\x7flp")
    await until(lambda: prompt.typed == "help")
    prompt.type("\rquit\r")
    await prompt.left()
    assert capsys.readouterr().out == (
        "jobs-sandbox> hex\njobs-sandbox> hex\njobs-sandbox> help\njobs-sandbox> quit\n"
    )
    assert await run.screen.stderr() == "careful\n"
    assert titles(await run.screen.stdout()) == ["Help"]


async def test_suspending_at_a_dumb_terminal(
    prompt: Prompt, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """After Ctrl-Z, and what the shell wrote meanwhile, the prompt and what was typed are shown again."""
    monkeypatch.setenv("TERM", "dumb")
    killed: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *what: killed.append(what))
    prompt.make()
    await prompt.start()
    prompt.type("hel")
    await until(lambda: prompt.typed == "hel")
    prompt.type("\x1a")
    await until(lambda: killed == [(0, signal.SIGTSTP)] and prompt.is_raw())
    prompt.type("p\rquit\r")
    await prompt.left()
    assert capsys.readouterr().out == "jobs-sandbox> heljobs-sandbox> help\njobs-sandbox> quit\n"


async def test_dumb_terminal_keeps_no_rows(prompt: Prompt, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dumb terminal has neither a menu nor a bar drawn on it."""
    monkeypatch.setenv("TERM", "dumb")
    repl = prompt.make()
    assert isinstance(repl._prompt.output, DummyOutput)
    assert isinstance(repl._bar.app.output, DummyOutput)


async def test_a_broken_history_is_told(
    run: FakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is wrong with the history is told before the prompt is shown."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    prompt = Prompt(run)
    monkeypatch.setattr(sys, "stdin", prompt.stdin)
    prompt.make()
    assert (await run.screen.stderr()).startswith("no history is kept: ")
    await prompt.close()
