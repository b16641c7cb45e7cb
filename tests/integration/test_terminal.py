"""The program in a pseudo-terminal, as people use it."""

import os
import re
import signal
import socket
import stat
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.account import Account, Device
from tests.support.program import COMMAND
from tests.support.servers import serving, silent
from tests.support.terminal import Terminal

ENTER, TAB, ESCAPE = "\r", "\t", "\x1b"
CTRL_C, CTRL_D, CTRL_L, CTRL_R = "\x03", "\x04", "\x0c", "\x12"
PASTE, PASTED = "\x1b[200~", "\x1b[201~"

Open = Callable[..., Terminal]


@pytest.fixture
def device(account: Account) -> Device:
    """A device of this test's own."""
    return account.device()


@pytest.fixture
def open_terminal(account: Account, device: Device, tmp_path: Path) -> Iterator[Open]:
    """Open a terminal with the program at its prompt, as ``device``."""
    with ExitStack() as stack:

        def open_one(env: dict[str, str] | None = None, **options: Any) -> Terminal:
            environment = (
                account.operator(device.thing) | {"XDG_STATE_HOME": str(tmp_path)} | (env or {})
            )
            terminal = stack.enter_context(
                Terminal(account.arguments(device), environment, **options)
            )
            terminal.wait_prompt()
            return terminal

        yield open_one


def blocks(terminal: Terminal, title: str) -> int:
    """How many blocks of this title were written."""
    return terminal.raw.count(f"─── {title} ─".encode())


def test_events_leave_the_line_being_typed(
    account: Account, device: Device, open_terminal: Open
) -> None:
    """Forty events arrive while a line is half typed: all are shown, above it, and it stays as it was."""
    terminal = open_terminal(history=20_000)
    typed = "update-job-execution Half"
    terminal.send(typed)
    terminal.wait_prompt(typed)
    for number in range(40):
        account.create_job(device.thing, f"{device.thing}-{number}")
    terminal.wait_for(lambda: blocks(terminal, "JobExecutionsChangedEvent") == 40)
    terminal.wait_for(lambda: blocks(terminal, "NextJobExecutionChangedEvent") == 1)
    terminal.wait_prompt(typed)
    assert terminal.text().count(typed) == 1
    terminal.send("Way FAILED" + ENTER)
    terminal.wait_text('"message" : "Job HalfWay not found')


def test_completes_commands_job_ids_and_statuses(
    account: Account, device: Device, open_terminal: Open
) -> None:
    """Tab completes a command, a job id seen in an event only, and a status; each shows its meaning."""
    terminal = open_terminal()
    job_id = account.create_job(device.thing)
    terminal.wait_for(lambda: blocks(terminal, "NextJobExecutionChangedEvent"))
    terminal.send("up")
    terminal.wait_text("set the status of this thing's execution of a job")
    terminal.send(TAB)
    terminal.wait_prompt("update-job-execution")
    terminal.send(" Job")
    terminal.wait_for(lambda: re.search(rf"{job_id} +QUEUED", terminal.text()))
    terminal.send(TAB)
    terminal.wait_prompt(f"update-job-execution {job_id}")
    terminal.send(" su")
    terminal.wait_text("terminal: the device has done the job")
    terminal.send(TAB + ENTER)
    terminal.wait_for(lambda: blocks(terminal, "UpdateJobExecutionResult"))


def test_enter_is_never_stolen(open_terminal: Open) -> None:
    """With the completion menu open, Enter runs what was typed."""
    terminal = open_terminal()
    terminal.send("hel")
    terminal.wait_text("show the commands")
    terminal.send("p" + ENTER)
    terminal.wait_for(lambda: blocks(terminal, "Help"))


def test_completes_file_names(device: Device, open_terminal: Open, tmp_path: Path) -> None:
    """After ``file://`` the names of files are completed, and the document is read from the file."""
    (tmp_path / "firmware-job.json").write_text('{"from": "a file"}')
    terminal = open_terminal()
    terminal.send(f"create-job {device.thing} file://{tmp_path}/firm")
    terminal.wait_text("firmware-job.json")
    terminal.send(TAB + ENTER)
    terminal.wait_text('"from" : "a file"')


def test_history_is_private_and_lasts(open_terminal: Open, tmp_path: Path) -> None:
    """A line comes back in the next session, by suggestion and by Ctrl-R; lines after a space, and secrets, do not."""
    first = open_terminal()
    for line in (
        "describe-job-execution FirstOne",
        " describe-job-execution Hidden",
        "help aws_secret_access_key=x",
    ):
        first.send(line + ENTER)
        first.wait_text(line.split()[1])
        first.wait_prompt()
    first.send(CTRL_D)
    assert first.finish() == 0
    history = tmp_path / "jobs-sandbox" / "history"
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    assert "FirstOne" in history.read_text()
    assert "Hidden" not in history.read_text()
    assert "secret" not in history.read_text()

    second = open_terminal()
    second.send("describe-job-execution F")
    second.wait_prompt("describe-job-execution FirstOne")  # the rest is a suggestion, in grey
    second.send(CTRL_C)
    second.wait_prompt()
    second.send(CTRL_R + "First")
    second.wait_text("describe-job-execution FirstOne")
    second.send(ENTER)
    second.wait_prompt("describe-job-execution FirstOne")
    second.send(ENTER)
    second.wait_for(lambda: blocks(second, "Service Request Rejected"))


def test_history_that_cannot_be_written_is_said_once(open_terminal: Open) -> None:
    """Without a place for the history the program says so and works."""
    terminal = open_terminal({"XDG_STATE_HOME": "/dev/null"})
    terminal.send("help" + ENTER)
    terminal.wait_for(lambda: blocks(terminal, "Help"))
    terminal.send("help" + ENTER)
    terminal.wait_for(lambda: blocks(terminal, "Help") == 2)
    assert terminal.text().count("no history is kept") == 1


def test_toolbar_tells_the_counts(account: Account, device: Device, open_terminal: Open) -> None:
    """The toolbar shows state, counts, thing and endpoint, and follows the events while one types."""
    terminal = open_terminal()
    terminal.wait_for(
        lambda: (
            f"connected │ 0 queued, 0 in progress │ {device.thing} │ loc"
            in terminal.screen.display[-1]
        )
    )
    terminal.send("half typed")
    account.create_job(device.thing)
    terminal.wait_for(lambda: "1 queued, 0 in progress" in terminal.screen.display[-1])
    terminal.wait_prompt("half typed")


def test_colours_by_kind(account: Account, device: Device, open_terminal: Open) -> None:
    """The header of a response is green, of an event cyan, of a rejection red, a warning magenta."""
    terminal = open_terminal()
    account.create_job(device.thing)
    terminal.wait_text("JobExecutionsChanged")
    terminal.send("get-pending-job-executions\rdescribe-job-execution None\rnonsense\r")
    terminal.wait_text("unknown command")
    for code, title in (
        (32, "GetPending"),
        (36, "JobExecutionsChanged"),
        (31, "Service Request Rejected"),
    ):
        assert f"\x1b[{code}m─── {title}".encode() in terminal.raw
    assert b"\x1b[35munknown command" in terminal.raw


def test_no_color_and_dumb_terminals(open_terminal: Open) -> None:
    """NO_COLOR turns the colours off; a dumb terminal gets no escape sequence at all."""
    plain = open_terminal({"NO_COLOR": "1"})
    plain.send("help" + ENTER)
    plain.wait_for(lambda: blocks(plain, "Help"))
    assert not re.search(rb"\x1b\[(\d+;)*(3|4|9|10)\d(;\d+)*m", plain.raw)

    dumb = open_terminal({"TERM": "dumb"})
    dumb.send("help" + ENTER)
    dumb.wait_for(lambda: blocks(dumb, "Help"))
    assert b"\x1b" not in dumb.raw


def test_an_event_on_a_dumb_terminal(account: Account, device: Device, open_terminal: Open) -> None:
    """A dumb terminal cannot draw above the line: the event follows it, and then what was typed stands again."""
    terminal = open_terminal({"TERM": "dumb"})
    terminal.send("half typed")
    terminal.wait_prompt("half typed")
    account.create_job(device.thing)
    terminal.wait_for(lambda: blocks(terminal, "NextJobExecutionChangedEvent"))
    terminal.wait_prompt("half typed")


def test_a_narrow_window(account: Account, device: Device, open_terminal: Open) -> None:
    """In 40 columns everything still works, the state first in the toolbar."""
    terminal = open_terminal(columns=40)
    terminal.send("describe-job-execution NoSuchJobAnywhereToBeFound")
    account.create_job(device.thing)
    terminal.wait_for(lambda: "1 queued" in terminal.screen.display[-1])
    terminal.send(ENTER)
    terminal.wait_text('"code" : "ResourceNotFound"')


def test_an_open_document_continues_on_the_next_line(device: Device, open_terminal: Open) -> None:
    """Enter inside open braces continues the document; when they close, it sends it."""
    terminal = open_terminal()
    for line in (f"create-job {device.thing} {{", '"steps": [', '"reboot"', "]}"):
        terminal.send(line + ENTER)
    terminal.wait_text('"reboot"')
    terminal.wait_for(lambda: blocks(terminal, "CreateJobOutput"))


def test_a_wrong_document_gets_a_caret(open_terminal: Open) -> None:
    """The place where a document stops being JSON is shown under a caret, and nothing is sent."""
    terminal = open_terminal()
    terminal.send('create-job Wrong {"a": 1 "b": 2}' + ENTER)
    terminal.wait_text("usage: create-job")
    shown = terminal.lines()
    at = next(number for number, line in enumerate(shown) if line.strip() == "^")
    assert shown[at - 1][shown[at].index("^") :] == '"b": 2}'
    assert not blocks(terminal, "CreateJobOutput")


def test_pasted_lines_run_one_after_another(device: Device, open_terminal: Open) -> None:
    """Several commands pasted at once, one with a document over lines, all run."""
    terminal = open_terminal()
    pasted = (
        f'get-pending-job-executions\n# a comment\ncreate-job {device.thing} {{\n  "a": 1\n}}\nhelp'
    )
    terminal.send(PASTE + pasted + PASTED + ENTER)
    terminal.wait_for(lambda: blocks(terminal, "Help"))
    assert blocks(terminal, "GetPendingJobExecutionsResponse") == 1
    assert blocks(terminal, "CreateJobOutput") == 1


def test_a_bad_document_is_one_error(open_terminal: Open) -> None:
    """None of the lines of a pasted document that is no JSON is run, even one that says to quit."""
    terminal = open_terminal()
    terminal.send(PASTE + 'create-job Bad {\n"a": x,\nquit\n"b": [1]\n}\nhelp' + PASTED + ENTER)
    terminal.wait_for(lambda: blocks(terminal, "Help"))
    assert terminal.text().count("the job document is not JSON") == 1
    assert "unknown command" not in terminal.text()


def test_keys(open_terminal: Open) -> None:
    """Ctrl-C drops the line, Ctrl-D leaves on an empty line only, Ctrl-L clears the screen."""
    terminal = open_terminal()
    terminal.send("dropped")
    terminal.wait_prompt("dropped")
    terminal.send(CTRL_C)
    terminal.wait_prompt()
    terminal.send("kept")
    terminal.wait_prompt("kept")
    terminal.send(CTRL_D + CTRL_L)
    terminal.wait_for(lambda: terminal.screen.display[0].rstrip() == "jobs-sandbox> kept")
    terminal.send(CTRL_C)
    terminal.wait_prompt()
    terminal.send(CTRL_D)
    assert terminal.finish() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_restore_the_terminal(number: signal.Signals, open_terminal: Open) -> None:
    """A signal at the prompt ends the program without a traceback, and the terminal is sane again."""
    terminal = open_terminal()
    terminal.send("half typed")
    terminal.wait_prompt("half typed")
    os.kill(terminal.child.pid, number)
    assert terminal.finish() == 128 + number
    flags = termios.tcgetattr(terminal.child.child_fd)[3]
    assert flags & termios.ECHO
    assert flags & termios.ICANON
    assert "Traceback" not in terminal.text()


def test_a_command_in_flight(tmp_path: Path) -> None:
    """With the service stopped: typing is not echoed but kept, Ctrl-C stops waiting, the late answer is shown."""
    with Terminal(["--local", "--timeout", "30"], {"XDG_STATE_HOME": str(tmp_path)}) as terminal:
        terminal.wait_prompt()
        [service] = psutil.Process(terminal.child.pid).children()
        service.suspend()
        try:
            terminal.send("get-pending-job-executions" + ENTER)
            terminal.wait_for(lambda: "Ctrl-C stops waiting" in terminal.screen.display[-1])
            terminal.send("typed meanwhile")
            terminal.wait_for(lambda: re.search(": [1-9] s, Ctrl-C", terminal.screen.display[-1]))
            assert "typed" not in terminal.text()  # an echo would have come by now
            os.kill(terminal.child.pid, signal.SIGINT)
            terminal.wait_text("no longer waiting")
            terminal.wait_prompt("typed meanwhile")
        finally:  # a stopped child would not notice that the program ended
            service.resume()
        terminal.wait_text("(late answer to: get-pending-job-executions)")
        terminal.wait_prompt("typed meanwhile")
        terminal.send(CTRL_C + CTRL_D)
        assert terminal.finish() == 0


@pytest.mark.parametrize("interrupts", [1, 2])
def test_interrupts_leave_a_hung_start_at_once(
    interrupts: int, account: Account, device: Device
) -> None:
    """Ctrl-C during a start that hangs leaves with status 130, and a second one does not wait for anything."""
    asked = threading.Event()

    def hang(connection: socket.socket) -> None:
        asked.set()
        silent(connection)

    with serving(hang) as port:
        arguments = account.arguments(device, endpoint_url=f"http://127.0.0.1:{port}", timeout="60")
        with Terminal(arguments, account.operator(device.thing)) as terminal:
            terminal.wait_for(asked.is_set)
            terminal.send(CTRL_C * interrupts)
            assert terminal.finish() == 130
            assert "Traceback" not in terminal.text()


def test_a_closed_stdout_ends_the_program_quietly(account: Account, device: Device) -> None:
    """``| head -1`` ends the program, though its input goes on, without a word."""
    program = subprocess.Popen(
        [*COMMAND, *account.arguments(device)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | account.operator(device.thing),
    )
    assert program.stdin
    assert program.stdout
    assert program.stderr
    with program:
        program.stdin.write(b"help\n")
        program.stdin.flush()
        assert program.stdout.readline().startswith("─── Help".encode())
        program.stdout.close()
        program.stdin.write(b"help\n")
        program.stdin.flush()
        assert program.wait(10) == 0
        assert b"rror" not in program.stderr.read()


def test_python_m_is_the_same_program() -> None:
    """``python -m jobs_sandbox`` and the command print the same version."""
    script = Path(sys.executable).with_name("jobs-sandbox")
    versions = {
        subprocess.run([*command, "--version"], capture_output=True, check=True).stdout
        for command in ([script], COMMAND)
    }
    assert len(versions) == 1
