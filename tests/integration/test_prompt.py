"""The prompt in a pseudo-terminal, while the service, the user and the system do their worst."""

import os
import re
import shlex
import signal
import termios
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from fcntl import ioctl
from pathlib import Path
from typing import Any

import pytest

from jobs_sandbox.core.blocks import Block
from jobs_sandbox.ui.formatting import block_text
from tests.support.broker import Broker, Request, accept, never
from tests.support.program import COMMAND
from tests.support.terminal import PATIENCE, PROMPT, Terminal

ENTER, TAB, BACKSPACE, CTRL_C, CTRL_D, CTRL_Z = "\r", "\t", "\x7f", "\x03", "\x04", "\x1a"
PASTE, PASTED = "\x1b[200~", "\x1b[201~"
SANE = termios.ECHO | termios.ICANON | termios.ISIG
BURST = 1300

Open = Callable[..., Terminal]
pause = threading.Event().wait


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker of this test's own."""
    with Broker(tmp_path) as broker:
        yield broker


@pytest.fixture
def environment(broker: Broker, tmp_path: Path) -> dict[str, str]:
    """The environment of the program: no colours, so that its blocks are plain text."""
    return broker.environment | {"XDG_STATE_HOME": str(tmp_path), "NO_COLOR": "1"}


@pytest.fixture
def open_terminal(broker: Broker, environment: dict[str, str]) -> Iterator[Open]:
    """Open a terminal with the program at its prompt."""
    with ExitStack() as stack:

        def open_one(env: dict[str, str] | None = None, **options: Any) -> Terminal:
            arguments = broker.arguments(timeout="600")
            terminal = stack.enter_context(
                Terminal(arguments, environment | (env or {}), **options)
            )
            terminal.wait_prompt()
            broker.wait_for(lambda: broker.requests)  # for the counts in the toolbar
            return terminal

        yield open_one


def event(number: int) -> bytes:
    return b'{"timestamp": %d}' % number


def shown(number: int) -> bytes:
    """The block of an event, as a terminal gets it."""
    return (
        block_text(Block("JobExecutionsChangedEvent", {"timestamp": number}))
        .replace("\n", "\r\n")
        .encode()
    )


@contextmanager
def typing(terminal: Terminal) -> Iterator[None]:
    """Type a character and take it back, a key every 3 ms."""
    done = threading.Event()

    def work() -> None:
        while not done.wait(0.003):
            os.write(terminal.child.child_fd, b"x")
            done.wait(0.003)
            os.write(terminal.child.child_fd, BACKSPACE.encode())

    thread = threading.Thread(target=work)
    thread.start()
    yield
    done.set()
    thread.join(PATIENCE)


def waiting(
    broker: Broker, terminal: Terminal, command: str = "get-pending-job-executions"
) -> Request:
    """Ask in vain, until the bar tells that it waits; the request."""
    broker.answer = never
    before = len(broker.requests)
    terminal.send(command + ENTER)
    broker.wait_for(lambda: len(broker.requests) > before)
    terminal.wait_for(lambda: f" │ {command[:40]}: " in terminal.screen.display[-1])
    return broker.requests[-1]


def flags(terminal: Terminal) -> int:
    """The terminal's local modes."""
    return int(termios.tcgetattr(terminal.child.child_fd)[3])


# Blocks and keys


def test_keys_during_a_burst(broker: Broker, open_terminal: Open) -> None:
    """However fast one types while events arrive: no block is torn, none is lost, and neither is a key."""
    terminal = open_terminal()
    with typing(terminal):
        broker.publish_all("notify", map(event, range(BURST)))
        terminal.wait_for(lambda: shown(BURST - 1) in terminal.raw, 60)
    assert [number for number in range(BURST) if terminal.raw.count(shown(number)) != 1] == []
    terminal.wait_prompt()
    terminal.send("help")
    terminal.wait_prompt("help")


def test_keys_during_a_command(broker: Broker, open_terminal: Open) -> None:
    """The same holds while a command waits, with the bar on the screen."""
    terminal = open_terminal()
    request = waiting(broker, terminal)
    with typing(terminal):
        broker.publish_all("notify", map(event, range(BURST)))
        terminal.wait_for(lambda: shown(BURST - 1) in terminal.raw, 60)
    assert [number for number in range(BURST) if terminal.raw.count(shown(number)) != 1] == []
    accept(request)
    terminal.wait_text("GetPendingJobExecutionsResponse")
    terminal.wait_prompt()


# Signals


def unread(terminal: Terminal) -> int:
    """How many bytes the terminal holds that nobody has read."""
    count = array("i", [0])
    ioctl(terminal.child.child_fd, termios.TIOCINQ, count)
    return count[0]


@pytest.mark.parametrize("columns", [100, 90])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_at_a_blocked_terminal(
    number: signal.Signals, columns: int, broker: Broker, open_terminal: Open
) -> None:
    """With nobody to read the terminal, resized or not, a signal ends the program in 6 s, and it is sane again."""
    terminal = open_terminal(columns=100)
    assert not flags(terminal) & termios.ECHO
    broker.publish_all("notify", map(event, range(BURST)))
    broker.wait_for(lambda: broker.pubacks >= BURST)
    held = -1
    while held != (held := unread(terminal)):  # until it takes no more
        pause(0.3)
    assert held > 0
    terminal.child.setwinsize(40, columns)
    pause(1)  # so that it notices, and tries to draw
    broker.publish_all(
        "notify", map(event, range(BURST))
    )  # many more than the loop's wake-up pipe holds
    broker.wait_for(lambda: broker.pubacks >= 2 * BURST)
    os.kill(terminal.child.pid, number)
    end = (
        time.monotonic() + 12
    )  # what is stuck is stuck for ever; a busy machine may take longer than it promises
    while terminal.child.isalive():
        assert time.monotonic() < end
        pause(0.05)
    assert terminal.child.exitstatus == 128 + number
    assert flags(terminal) & SANE == SANE


def test_two_interrupts_at_once(open_terminal: Open) -> None:
    """Two SIGINTs at once, or nearly so, again and again, drop a line each time, and the session goes on."""
    terminal = open_terminal()
    for attempt in range(30):
        terminal.send("nonsense")
        terminal.wait_prompt("nonsense")
        os.kill(terminal.child.pid, signal.SIGINT)
        pause(
            attempt % 5 * 0.0005
        )  # the second is to come while the first one's line is being dropped
        os.kill(terminal.child.pid, signal.SIGINT)
        terminal.wait_prompt()
    terminal.send("help" + ENTER)
    terminal.wait_text("─── Help ─")
    terminal.wait_prompt()
    terminal.send(CTRL_D)
    assert terminal.finish() == 0
    text = terminal.text()
    assert "Traceback" not in text
    assert "already running" not in text
    assert "unknown command" not in text


@pytest.mark.parametrize("bar", [True, False])
def test_suspended_while_a_command_waits(
    bar: bool,  # noqa: FBT001 - a parameter of the test
    broker: Broker,
    environment: dict[str, str],
) -> None:
    """Ctrl-Z while a command waits gives the shell its terminal, echo and all; ``fg`` goes on where it was."""
    environment |= {"PS1": "shell: ", "ENV": ""}
    line = shlex.join([*COMMAND, *broker.arguments(timeout="600")])
    with Terminal(["-i"], environment, command=["dash"], columns=200) as terminal:
        terminal.wait_for(lambda: terminal.prompt_line() == "shell:")
        shell = termios.tcgetattr(terminal.child.child_fd)
        terminal.send(line + ENTER)
        terminal.wait_prompt()
        broker.wait_for(lambda: broker.requests)
        if bar:
            waiting(broker, terminal)
        else:
            broker.answer = never
            terminal.send("get-pending-job-executions" + ENTER)
            broker.wait_for(lambda: len(broker.requests) > 1)
        terminal.send(CTRL_Z)
        terminal.wait_for(lambda: terminal.prompt_line() == "shell:")
        assert termios.tcgetattr(terminal.child.child_fd) == shell
        terminal.send("echo here")
        terminal.wait_for(lambda: terminal.prompt_line() == "shell: echo here")
        terminal.send(ENTER)
        terminal.wait_for(lambda: terminal.prompt_line() == "shell:")
        terminal.send("fg" + ENTER)
        terminal.wait_for(lambda: "Ctrl-C stops waiting" in terminal.screen.display[-1])
        accept(broker.requests[-1])
        terminal.wait_text("GetPendingJobExecutionsResponse")
        terminal.wait_prompt()
        terminal.send(CTRL_D)
        terminal.wait_for(lambda: terminal.prompt_line() == "shell:")
        assert termios.tcgetattr(terminal.child.child_fd) == shell


def test_suspended_at_the_prompt(broker: Broker, environment: dict[str, str]) -> None:
    """Ctrl-Z at the prompt during a burst gives the shell its echo, whatever is being written just then."""
    environment |= {"PS1": "shell: ", "ENV": ""}
    line = shlex.join([*COMMAND, *broker.arguments()])
    with Terminal(["-i"], environment, command=["dash"], columns=80) as terminal:
        terminal.wait_for(lambda: terminal.prompt_line() == "shell:")
        shell = termios.tcgetattr(terminal.child.child_fd)
        terminal.send(line + ENTER)
        terminal.wait_prompt()
        for _ in range(3):
            broker.publish_all("notify", map(event, range(40)))
            terminal.send(CTRL_Z)
            terminal.wait_for(lambda: terminal.prompt_line() == "shell:")
            assert termios.tcgetattr(terminal.child.child_fd) == shell
            terminal.send("fg" + ENTER)
            terminal.wait_prompt()
        # at rest: prompt_toolkit waits a second for the screen to say where its cursor is; a slower one tells the shell
        terminal.wait_for(lambda: terminal.raw.count(b"JobExecutionsChangedEvent") == 120)
        terminal.wait_prompt()
        terminal.send(CTRL_D)
        terminal.wait_for(lambda: terminal.prompt_line() == "shell:")


# While a command waits


def test_the_bar_while_a_command_waits(broker: Broker, open_terminal: Open) -> None:
    """The bar comes back, tells what is waited for and for how long; what is typed meanwhile is at the next prompt."""
    terminal = open_terminal()
    request = waiting(broker, terminal)
    bar = r"connected │ get-pending-job-executions: [1-9] s, Ctrl-C stops waiting │ 0 queued"
    terminal.wait_for(lambda: re.search(bar, terminal.screen.display[-1]))
    terminal.send("describe-job")
    broker.publish("notify", event(1))
    terminal.wait_for(lambda: shown(1) in terminal.raw)
    assert "describe-job" not in terminal.text()
    accept(request)
    terminal.wait_text("GetPendingJobExecutionsResponse")
    terminal.wait_prompt("describe-job")
    assert "stops waiting" not in terminal.text()


def test_interrupted_while_a_command_waits(broker: Broker, open_terminal: Open) -> None:
    """Ctrl-C stops waiting, not what is typed; the late answer is shown above that."""
    terminal = open_terminal()
    request = waiting(broker, terminal)
    terminal.send("describe-job" + CTRL_C)
    terminal.wait_text(
        "no longer waiting for `get-pending-job-executions`; its answer will be shown if it comes."
    )
    terminal.wait_prompt("describe-job")
    accept(request)
    terminal.wait_text("(late answer to: get-pending-job-executions)")
    terminal.wait_prompt("describe-job")


def test_wait_and_interrupt(broker: Broker, open_terminal: Open) -> None:
    """``wait`` ends with its event, or with Ctrl-C, which is told."""
    terminal = open_terminal()
    for line in ("wait 600", "wait JobExecutionsChangedEvent 600"):
        terminal.send(line + ENTER)
        terminal.wait_text(f" │ {line}: ")
        terminal.send(CTRL_C)
        terminal.wait_prompt()
    interrupted = "no longer waiting: `wait` was interrupted."
    assert terminal.text().count(interrupted) == 2
    terminal.send("wait JobExecutionsChangedEvent 600" + ENTER)
    terminal.wait_text(" stops waiting")
    broker.publish("notify", event(1))
    terminal.wait_for(lambda: shown(1) in terminal.raw)
    terminal.wait_prompt()
    assert terminal.text().count(interrupted) == 2


# What stands above the prompt


def test_a_dropped_line(open_terminal: Open) -> None:
    """Where Ctrl-C dropped a line, it says so at its end."""
    terminal = open_terminal()
    terminal.send("nonsense\x1b[D\x1b[D")
    terminal.wait_prompt("nonsense")
    terminal.send(CTRL_C)
    terminal.wait_prompt()
    assert f"{PROMPT} nonsense^C" in terminal.lines()


def test_pasted_lines(open_terminal: Open) -> None:
    """Of several lines that were pasted each stands above its own blocks, and what follows them is in order."""
    terminal = open_terminal()
    terminal.send(f"{PASTE}help quit\nnonsense\nget-pending-job-executions{PASTED}")
    terminal.send(ENTER)
    terminal.wait_text("GetPendingJobExecutionsResponse")
    terminal.wait_prompt()
    story = [
        line.rstrip("─ ")
        for line in terminal.lines()
        if line.startswith((f"{PROMPT} ", "─── ", "unknown command")) and line != f"{PROMPT} "
    ]
    begin = len(story) - 1 - story[::-1].index(f"{PROMPT} help quit")
    assert story[begin:] == [
        f"{PROMPT} help quit",
        "─── Help",
        f"{PROMPT} nonsense",
        "unknown command 'nonsense'.",
        f"{PROMPT} get-pending-job-executions",
        "─── GetPendingJobExecutionsResponse",
    ]


# A terminal that cannot move its cursor


def test_a_dumb_terminal_shows_the_line(broker: Broker, open_terminal: Open) -> None:
    """On a dumb terminal what is shown is what Enter will run: after a backspace, a completion, an event, a Ctrl-C."""
    terminal = open_terminal({"TERM": "dumb"})
    for keys, line in (
        ("describe-jobs", "describe-jobs"),
        (BACKSPACE, "describe-job"),
        (TAB, "describe-job-execution"),
        (" JobX", "describe-job-execution JobX"),
        (BACKSPACE + "1", "describe-job-execution Job1"),
    ):
        terminal.send(keys)
        terminal.wait_prompt(line)
    broker.publish("notify", event(1))
    terminal.wait_for(lambda: shown(1) in terminal.raw)
    terminal.wait_prompt("describe-job-execution Job1")
    terminal.send(ENTER)
    broker.wait_for(lambda: broker.requests[-1].name == "Job1/get")
    terminal.wait_text("─── DescribeJobExecutionResponse ─")
    terminal.wait_prompt()
    terminal.send("nonsense")
    terminal.wait_prompt("nonsense")
    terminal.send(CTRL_C)
    terminal.wait_prompt()
    assert f"{PROMPT} nonsense^C" in terminal.lines()
    terminal.send(CTRL_D)
    assert terminal.finish() == 0
    assert b"\x1b" not in terminal.raw
