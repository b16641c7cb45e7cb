"""The prompt in a pseudo-terminal, while the service, the user and the system disturb it."""

import os
import re
import shlex
import signal
import stat
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from jobs_sandbox.core.blocks import CHANGED, Block
from jobs_sandbox.ui.formatting import block_text
from tests.support.drivers.program import COMMAND
from tests.support.drivers.terminal import PROMPT, Terminal
from tests.support.servers.broker import Broker, accept, never
from tests.support.waiting import PATIENCE, until

ENTER, TAB, BACKSPACE = "\r", "\t", "\x7f"
CTRL_C, CTRL_D, CTRL_L, CTRL_R, CTRL_Z = "\x03", "\x04", "\x0c", "\x12", "\x1a"
PASTE, PASTED = "\x1b[200~", "\x1b[201~"
COLOUR = rb"\x1b\[(\d+;)*(3|4|9|10)\d(;\d+)*m"
BURST = 1100
PENDING = "get-pending-job-executions"

Open = Callable[..., Terminal]


@pytest.fixture
def environment(broker: Broker, tmp_path: Path) -> dict[str, str]:
    """The environment of the program; its history is empty."""
    return broker.environment | {"XDG_STATE_HOME": str(tmp_path)}


@pytest.fixture
def open_terminal(broker: Broker, environment: dict[str, str]) -> Iterator[Open]:
    """Open a terminal with the program at its prompt."""
    with ExitStack() as stack:

        def open_one(env: dict[str, str] | None = None, **options: Any) -> Terminal:
            arguments = broker.arguments(timeout="600")
            terminal = Terminal(arguments, environment | (env or {}), **options)
            stack.enter_context(terminal)
            terminal.wait_prompt()
            return terminal

        yield open_one


def events(numbers: range) -> list[bytes]:
    return [b'{"timestamp": %d}' % number for number in numbers]


@contextmanager
def typing(terminal: Terminal) -> Iterator[None]:
    """Meanwhile type a character and take it back, a key every 3 ms."""
    done = threading.Event()

    def work() -> None:
        while not done.wait(0.003):
            os.write(terminal.child.child_fd, b"x")
            done.wait(0.003)
            os.write(terminal.child.child_fd, BACKSPACE.encode())

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(PATIENCE)


def start_waiting(broker: Broker, terminal: Terminal) -> None:
    """Run a command that gets no answer."""
    broker.answer = never
    terminal.send(PENDING + ENTER)
    terminal.wait_for(lambda: f"{PENDING}: " in terminal.screen.display[-1])
    until(lambda: len(broker.requests) == 2)  # the first is for the toolbar's counts


def test_keys_during_a_burst(broker: Broker, open_terminal: Open) -> None:
    """However fast one types while events arrive, no block is torn and no key is lost."""
    terminal = open_terminal({"NO_COLOR": "1"})
    start_waiting(broker, terminal)
    terminal.send("help")
    with typing(terminal):
        broker.publish_all("notify", events(range(BURST)))
        terminal.wait_for(lambda: b'"timestamp" : %d\r' % (BURST - 1) in terminal.raw, 60)
    terminal.wait_prompt("help")
    text = terminal.text()
    blocks = [block_text(Block(CHANGED, {"timestamp": number})) for number in range(BURST)]
    assert [number for number, block in enumerate(blocks) if text.count(block) != 1] == []
    accept(broker.requests[-1])
    terminal.wait_text("GetPendingJobExecutionsResponse")
    terminal.send(ENTER)
    terminal.wait_text("─── Help ─")


def test_interrupts(broker: Broker, open_terminal: Open) -> None:
    """Ctrl-C stops waiting and leaves the typed line alone; the late answer is shown."""
    terminal = open_terminal({"NO_COLOR": "1"})
    start_waiting(broker, terminal)
    terminal.send("describe-job" + CTRL_C)
    terminal.wait_text(f"no longer waiting for `{PENDING}`")
    terminal.wait_prompt("describe-job")
    accept(broker.requests[-1])
    terminal.wait_text(f"(late answer to: {PENDING})")
    terminal.wait_prompt("describe-job")
    os.kill(terminal.child.pid, signal.SIGINT)  # from elsewhere, it means the same
    terminal.wait_prompt()
    terminal.send(("nonsense" + CTRL_C) * 20 + "help quit" + ENTER + CTRL_D)
    assert terminal.finish() == 0
    lines = terminal.lines()
    assert f"{PROMPT} describe-job^C" in lines
    assert lines.count(f"{PROMPT} nonsense^C") == 20
    assert "  example: quit" in lines
    assert not re.search(COLOUR, terminal.raw)


def test_suspended(broker: Broker, environment: dict[str, str]) -> None:
    """Ctrl-Z gives the shell its terminal while blocks are written and a command waits."""
    environment |= {"PS1": "shell: ", "ENV": ""}
    line = shlex.join([*COMMAND, *broker.arguments(timeout="600")])
    with Terminal(["-i"], environment, command=["dash"]) as terminal:

        def wait_for_shell() -> None:
            terminal.wait_for(lambda: terminal.prompt_line() == "shell:")
            assert termios.tcgetattr(terminal.child.child_fd)[3] == found[3]

        terminal.wait_for(lambda: terminal.prompt_line() == "shell:")
        found = termios.tcgetattr(terminal.child.child_fd)
        terminal.send(line + ENTER)
        terminal.wait_prompt()
        start_waiting(broker, terminal)
        for number in range(3):
            broker.publish_all("notify", events(range(40 * number, 40 * number + 40)))
            terminal.send(CTRL_Z)
            wait_for_shell()
            terminal.send("fg" + ENTER)
            terminal.wait_for(lambda: "Ctrl-C stops waiting" in terminal.screen.display[-1])
        terminal.wait_for(lambda: terminal.raw.count(CHANGED.encode()) == 120)
        accept(broker.requests[-1])
        terminal.wait_text("GetPendingJobExecutionsResponse")
        terminal.send(CTRL_D)
        wait_for_shell()
        assert termios.tcgetattr(terminal.child.child_fd) == found


# Lines


def test_completion(broker: Broker, open_terminal: Open, tmp_path: Path) -> None:
    """Tab completes commands, job ids, statuses and file names; hints fit into 80 columns."""
    (tmp_path / "firmware-job.json").write_text('{"from": "a file"}')
    terminal = open_terminal(columns=80, rows=24)
    terminal.wait_for(lambda: "0 queued, 0 in progress" in terminal.screen.display[-1])
    broker.publish("notify", b'{"jobs": {"QUEUED": [{"jobId": "Job1"}]}}')
    terminal.wait_for(lambda: "1 queued, 0 in progress" in terminal.screen.display[-1])
    terminal.send("up")
    terminal.wait_text("set the status of an execution")
    terminal.send(TAB)
    terminal.wait_prompt("update-job-execution")
    terminal.send(" Job")
    terminal.wait_for(lambda: re.search("Job1 +QUEUED", terminal.text()))
    terminal.send(TAB)
    terminal.wait_prompt("update-job-execution Job1")
    terminal.send(" su")
    terminal.wait_text("terminal: the device has done the job")
    terminal.send(TAB + ENTER)
    terminal.wait_text("UpdateJobExecutionResult")
    terminal.send(f"create-job Job2 file://{tmp_path}/firm")
    terminal.wait_text("firmware-job.json")
    terminal.send(TAB + ENTER)
    terminal.wait_text("CreateJobOutput")
    assert broker.control.requests[-1].body["document"] == '{"from": "a file"}'


def test_history(open_terminal: Open, tmp_path: Path) -> None:
    """A line comes back in the next session by suggestion and by Ctrl-R, but not a secret."""
    first = open_terminal()
    for line in ("help connection", " help quit", "help aws_secret_access_key=x"):
        first.send(line + ENTER)
        first.wait_text(line.split()[1])
    first.send(CTRL_D)
    assert first.finish() == 0
    history = tmp_path / "jobs-sandbox" / "history"
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    kept = [line for line in history.read_text().splitlines() if line.startswith("+")]
    assert kept == ["+help connection"]

    second = open_terminal()
    second.send("help c")
    second.wait_prompt("help connection")  # the rest is a suggestion, in grey
    second.send(CTRL_C)
    second.wait_prompt()
    second.send(CTRL_R + "conn")
    second.wait_text("`conn': help connection")
    second.send(ENTER)
    second.wait_prompt("help connection")
    second.send(ENTER)
    second.wait_text("example: connection")


def test_documents(broker: Broker, open_terminal: Open) -> None:
    """A document may go on over lines, typed or pasted, and a wrong one is a single error."""
    terminal = open_terminal()
    for line in ("create-job Job1 {", '"steps": [', '"reboot"', "]}"):
        terminal.send(line + ENTER)
    terminal.wait_text("CreateJobOutput")
    pasted = '# a comment\ncreate-job Job2 {\n  "a": 1\n}\nhelp'
    wrong = 'create-job Bad {\n"a": x,\nquit\n"b": [1]\n}\nhelp'
    terminal.send(f"{PASTE}{pasted}{PASTED}{ENTER}{PASTE}{wrong}{PASTED}{ENTER}")
    terminal.wait_for(lambda: terminal.text().count("─── Help ─") == 2)
    assert terminal.text().count("the job document is not JSON") == 1
    assert "unknown command" not in terminal.text()
    assert list(broker.control.jobs) == ["Job1", "Job2"]
    assert "\x1b[32m─── CreateJobOutput".encode() in terminal.raw
    assert b"\x1b[35mthe job document is not JSON" in terminal.raw


def test_keys(open_terminal: Open) -> None:
    """Enter runs the typed line although a menu is open; Ctrl-D leaves on an empty line only."""
    terminal = open_terminal(columns=80, rows=24)
    terminal.send("hel")
    terminal.wait_text("list the commands, or explain one")
    terminal.send("p" + ENTER)
    terminal.wait_for(lambda: terminal.screen.display[0].startswith("─── Help ─"))  # all of it fits
    terminal.send("kept")
    terminal.wait_prompt("kept")
    terminal.send(CTRL_D + CTRL_L)
    terminal.wait_for(lambda: terminal.screen.display[0].rstrip() == f"{PROMPT} kept")
    terminal.send(CTRL_C)
    terminal.wait_prompt()
    terminal.send(CTRL_D)
    assert terminal.finish() == 0


# Terminals


def test_a_window_that_gets_narrow(broker: Broker, open_terminal: Open) -> None:
    """In a window that gets narrow, the toolbar is cut at whole parts, and lines still run."""
    terminal = open_terminal()
    terminal.wait_for(lambda: "0 queued" in terminal.screen.display[-1])
    terminal.resize(40, 20)
    bar = " connected | 0 queued, 0 in progress"
    terminal.wait_for(lambda: terminal.screen.display[-1].rstrip() == bar)
    broker.publish("notify", b'{"timestamp": 1}')
    terminal.wait_text(f"─── {CHANGED} {'─' * 10}\n")
    terminal.send("help quit" + ENTER)
    terminal.wait_text("example: quit")


def test_the_editor(open_terminal: Open, tmp_path: Path) -> None:
    """Ctrl-X Ctrl-E edits the line in an editor that has the terminal for itself."""
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nread -r line\necho "$line" > "$1"\n')
    editor.chmod(0o700)
    terminal = open_terminal({"VISUAL": str(editor)})
    terminal.send("frob\x18\x05")
    flags = termios.ECHO | termios.ICANON
    fd = terminal.child.child_fd
    terminal.wait_for(lambda: termios.tcgetattr(fd)[3] & flags == flags)
    terminal.send("help quit\n")
    terminal.wait_text("example: quit")
    assert "unknown command" not in terminal.text()


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_a_terminal_that_only_prints(broker: Broker, open_terminal: Open, term: str) -> None:
    """A terminal that cannot move its cursor gets lines after a prompt, and no escape sequence."""
    terminal = open_terminal({"TERM": term})
    terminal.send("nonsense")
    terminal.wait_prompt("nonsense")
    terminal.send(CTRL_C)
    terminal.wait_prompt()
    broker.answer = never
    terminal.send(PENDING + ENTER)
    until(lambda: broker.requests)
    terminal.send(CTRL_C)
    terminal.wait_text("no longer waiting")
    terminal.wait_prompt()
    terminal.send("help quit" + ENTER)
    terminal.wait_text("example: quit")
    terminal.wait_prompt()
    terminal.send(CTRL_D)
    assert terminal.finish() == 0
    assert "unknown command" not in terminal.text()
    assert b"\x1b" not in terminal.raw


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_a_terminal_of_another_encoding(open_terminal: Open, encoding: str) -> None:
    """A terminal that cannot draw lines gets dashes, and nothing that it cannot show."""
    terminal = open_terminal({"PYTHONIOENCODING": encoding})
    terminal.send("help" + ENTER)
    terminal.wait_text(f"--- Help {'-' * 63}\n")
    terminal.wait_for(lambda: " connected | 0 queued" in terminal.screen.display[-1])
    assert not terminal.raw.decode("ascii").count("?") - terminal.raw.count(b"\x1b[?")
    assert "\\u" not in terminal.text()


def test_a_terminal_that_does_not_answer(broker: Broker, environment: dict[str, str]) -> None:
    """A terminal that does not report its cursor's position causes one warning with a next step."""
    with Terminal(broker.arguments(), environment, answers=False, columns=200) as terminal:
        terminal.wait_text("PROMPT_TOOLKIT_NO_CPR=1")
        terminal.send("\x1b[I" + "help quit" + "\x1b[O" + ENTER)  # and reports its focus
        terminal.wait_text("example: quit")
        terminal.send(CTRL_D)
        assert terminal.finish() == 0
        assert terminal.text().count("cursor") == 1
