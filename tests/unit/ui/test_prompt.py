"""The prompt: what it runs, what it keeps, and what it shows."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prompt_toolkit.application import create_app_session, run_in_terminal
from prompt_toolkit.renderer import Renderer

from jobs_sandbox.core.blocks import CHANGED, GET_PENDING, Block
from jobs_sandbox.core.errors import Rejected
from tests.unit.fakes import FakeRun, Screen, until
from tests.unit.ui.terminal import PromptAtTerminal

CTRL_C, CTRL_D, CTRL_R, EDIT = "\x03", "\x04", "\x12", "\x18\x05"
PENDING = Block(GET_PENDING, {"queuedJobs": [], "inProgressJobs": []})
DESCRIBE = "describe-job-execution Job1"


@pytest.fixture
async def terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[PromptAtTerminal]:
    """A terminal without a prompt yet, and with an empty history."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = PromptAtTerminal()
    with create_app_session(output=terminal.output):
        yield terminal
        await terminal.close()


@pytest.fixture
async def screen(terminal: PromptAtTerminal) -> AsyncIterator[Screen]:
    """A console in memory that shares the terminal with the prompt."""
    screen = Screen()
    yield screen
    await screen.console.close()


@pytest.fixture
async def prompt(terminal: PromptAtTerminal, run: FakeRun, screen: Screen) -> PromptAtTerminal:
    """A terminal that shows the prompt."""
    await terminal.start(run, screen)
    return terminal


async def story(screen: Screen) -> list[str]:
    """The echoed lines and the headers that were shown."""
    lines = (await screen.stdout()).splitlines()
    return [line.strip("─ ") for line in lines if line.startswith(("jobs-sandbox> ", "─── "))]


# Lines


async def test_tab_typed_ahead(prompt: PromptAtTerminal, screen: Screen) -> None:
    """Tab takes the only completion, also if Enter comes in the same moment."""
    prompt.type("hel\t\rqui\t\r")
    await prompt.left()
    assert await story(screen) == ["jobs-sandbox> help", "Help", "jobs-sandbox> quit"]


async def test_lines_until_quit(prompt: PromptAtTerminal, run: FakeRun, screen: Screen) -> None:
    """Typed and pasted lines run one after another, each shown above its block."""
    run.data.outcome = PENDING
    prompt.type("help\r\r  \r\x1b[200~frob\n\nget-pending-job-executions\x1b[201~\rquit\rhelp\r")
    await prompt.left()
    assert await story(screen) == [
        "jobs-sandbox> help",
        "Help",
        "jobs-sandbox> frob",
        "jobs-sandbox> get-pending-job-executions",
        "GetPendingJobExecutionsResponse",
        "jobs-sandbox> quit",
    ]
    assert (await screen.stderr()).startswith("unknown command 'frob'")


async def test_lines_typed_while_a_command_waits(
    prompt: PromptAtTerminal, run: FakeRun, screen: Screen
) -> None:
    """A line that is typed while a command waits runs after it, and so does Ctrl-D."""
    prompt.type(f"{DESCRIBE}\r")
    await until(lambda: len(run.data.requests) == 2)
    prompt.type(f"help\r{CTRL_D}half")
    await prompt.sees("jobs-sandbox> half")
    await until(lambda: "+2 lines" in prompt.toolbar)
    run.data.requests[-1].end(PENDING)
    await prompt.left()
    assert await story(screen) == [
        f"jobs-sandbox> {DESCRIBE}",
        "GetPendingJobExecutionsResponse",
        "jobs-sandbox> help",
        "Help",
        "jobs-sandbox> quit",
    ]


async def test_a_rejection(prompt: PromptAtTerminal, run: FakeRun, screen: Screen) -> None:
    """A rejection is shown as its block, and nothing more is reported."""
    run.data.outcome = Rejected({"code": "ResourceNotFound"}, b"")
    prompt.type(f"{DESCRIBE}\rquit\r")
    await prompt.left()
    assert "ResourceNotFound" in await screen.stdout()
    assert await screen.stderr() == ""


async def test_an_unexpected_error(prompt: PromptAtTerminal, run: FakeRun) -> None:
    """An error of the program itself ends the prompt and is raised."""
    run.control.work = lambda: Block(str(1 // 0), {})
    prompt.type("create-job Job1 {}\r")
    with pytest.raises(ZeroDivisionError):
        await prompt.left()


@pytest.mark.parametrize("keys", ["\x1b[31mhelp\x1b[0m", "\x1b[I\x1b[Ohelp"])
async def test_sequences_that_are_not_keys(
    prompt: PromptAtTerminal, screen: Screen, keys: str
) -> None:
    """Pasted colours and focus reports do no harm."""
    prompt.type(f"{keys}\rquit\r")
    await prompt.left()
    assert await story(screen) == ["jobs-sandbox> help", "Help", "jobs-sandbox> quit"]


# The end


async def test_a_window_that_closes(prompt: PromptAtTerminal) -> None:
    """The prompt ends with its terminal."""
    prompt.hang_up()
    await prompt.left()


async def test_cancelled_while_a_command_waits(prompt: PromptAtTerminal, run: FakeRun) -> None:
    """A signal ends the prompt together with the command that waits."""
    prompt.type(f"{DESCRIBE}\r")
    await until(lambda: len(run.data.requests) == 2)
    assert prompt.task
    prompt.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await prompt.left()
    await until(run.data.requests[-1].answer.cancelled)


# Ctrl-C


async def test_interrupt_drops_the_line(prompt: PromptAtTerminal, screen: Screen) -> None:
    """Ctrl-C drops the typed line, and shows that it did."""
    prompt.type("help\r")
    await until(lambda: "Help" in screen.out.getvalue())
    prompt.type(f"nonsense\x1b[D{CTRL_C}quit\r")
    await prompt.left()
    assert (await story(screen))[2:] == ["jobs-sandbox> nonsense^C", "jobs-sandbox> quit"]


async def test_interrupt_ends_a_search(prompt: PromptAtTerminal, screen: Screen) -> None:
    """Ctrl-C during Ctrl-R ends the search, and the typed line stays."""
    prompt.type(f"help qu{CTRL_R}ait{CTRL_C}it\rquit\r")
    await prompt.left()
    assert (await story(screen))[:2] == ["jobs-sandbox> help quit", "Help"]


async def test_interrupt_stops_waiting(
    prompt: PromptAtTerminal, run: FakeRun, screen: Screen
) -> None:
    """Ctrl-C stops waiting and drops the lines that follow, not the line that is typed."""
    prompt.type(f"{DESCRIBE}\rfrob\rhel")
    await prompt.sees("jobs-sandbox> hel")
    prompt.type(CTRL_C)
    await until(lambda: "no longer waiting" in screen.err.getvalue())
    prompt.type("p\rquit\r")
    await prompt.left()
    assert await story(screen) == [
        f"jobs-sandbox> {DESCRIBE}",
        "jobs-sandbox> frob^C",
        "jobs-sandbox> help",
        "Help",
        "jobs-sandbox> quit",
    ]


async def test_interrupt_right_after_enter(prompt: PromptAtTerminal, screen: Screen) -> None:
    """Ctrl-C in the same instant as Enter drops that line."""
    prompt.type(f"frob\r{CTRL_C}quit\r")
    await prompt.left()
    assert await story(screen) == ["jobs-sandbox> frob^C", "jobs-sandbox> quit"]


# The editor


async def test_editor(
    prompt: PromptAtTerminal, screen: Screen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-X Ctrl-E runs the edited line; if the editor fails, the line stays as it was."""
    monkeypatch.setenv("VISUAL", f"sh -c 'touch {tmp_path}/failed; exit 1'")
    prompt.type(f"frob{EDIT}")
    await until((tmp_path / "failed").exists)
    await until(lambda: not prompt.echoes)
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nprintf "help quit\nquit" > "$1"\n')
    editor.chmod(0o700)
    monkeypatch.setenv("VISUAL", str(editor))
    prompt.type(EDIT)
    await prompt.left()
    assert (await story(screen))[:2] == ["jobs-sandbox> help quit", "Help"]


# What it shows


async def test_toolbar(prompt: PromptAtTerminal, run: FakeRun) -> None:
    """The toolbar follows the connection, the executions and the events."""
    run.monitor.connection("connected", "")
    await until(lambda: prompt.toolbar == "connected | T | localhost:8883")
    run.data.requests[0].end(PENDING)
    await until(lambda: "connected | 0 queued, 0 in progress | T | " in prompt.toolbar)
    jobs = {"QUEUED": [{"jobId": f"J{number}"} for number in range(10)]}
    run.monitor.event(Block(CHANGED, {"jobs": jobs}))
    at = time.strftime("%H:%M:%S", time.localtime(run.monitor.last_event))
    state = f"connected | 10+ queued, 0 in progress | T | last event {at}"
    await until(lambda: prompt.toolbar == state)  # the endpoint does not fit


async def test_toolbar_while_a_command_waits(prompt: PromptAtTerminal, run: FakeRun) -> None:
    """The toolbar counts the seconds of an outage and of the command."""
    run.monitor.connection("reconnecting", "lost")
    run.monitor.since -= 11
    prompt.type("wait 600\r")
    shown = r"reconnecting for 1[1-9] s \| wait 600: [1-9] s, Ctrl-C stops waiting \| T"
    await until(lambda: re.fullmatch(shown, prompt.toolbar))


async def test_a_terminal_that_does_not_answer(
    terminal: PromptAtTerminal, run: FakeRun, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A terminal that does not report its cursor's position causes one warning."""
    monkeypatch.setattr(Renderer, "CPR_TIMEOUT", 0.01)
    terminal.answers = False
    await terminal.start(run, screen)
    await until(lambda: "PROMPT_TOOLKIT_NO_CPR=1" in screen.err.getvalue())
    terminal.type("help\rhelp\rquit\r")
    await terminal.left()
    assert (await screen.stderr()).count("cursor") == 1


# Writes above it


async def test_keys_do_not_tear_a_write(prompt: PromptAtTerminal, screen: Screen) -> None:
    """During a write above the prompt no key is echoed, and the key is there afterwards."""
    echoes: list[bool] = []

    def write() -> None:
        prompt.type("x")
        echoes.append(prompt.echoes)

    await asyncio.create_task(prompt.keys.paint(write))
    await prompt.sees("jobs-sandbox> x")
    await run_in_terminal(lambda: echoes.append(prompt.echoes))
    assert echoes == [False, True]
