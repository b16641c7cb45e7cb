"""The ends of the program in a pseudo-terminal."""

import os
import signal
import socket
import termios
import threading
from pathlib import Path

import psutil
import pytest

from tests.support.aws.account import Account
from tests.support.drivers.terminal import Terminal
from tests.support.servers.endpoints import serving, silent

CTRL_C = "\x03"


@pytest.mark.parametrize("interrupts", [1, 2])
def test_interrupts_during_the_start(interrupts: int, account: Account) -> None:
    """Ctrl-C during a start that hangs leaves with status 130, and so does a second one."""
    device = account.device()
    asked = threading.Event()

    def hang(connection: socket.socket) -> None:
        asked.set()
        silent(connection)

    with serving(hang) as port:
        url = f"http://127.0.0.1:{port}"
        arguments = account.arguments(device, endpoint_url=url, timeout="60")
        with Terminal(arguments, account.operator(device.thing)) as terminal:
            terminal.wait_for(asked.is_set)
            terminal.send(CTRL_C * interrupts)
            assert terminal.finish() == 130
            assert "Traceback" not in terminal.text()


@pytest.mark.parametrize("window_closes", [False, True])
def test_an_end_from_outside(tmp_path: Path, *, window_closes: bool) -> None:
    """A signal, or a window that closes, ends the program and its AWS IoT."""
    environment = {"TMPDIR": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state")}
    with Terminal(["--local"], environment) as terminal:
        terminal.wait_prompt()
        terminal.send("wait 600\r")
        terminal.wait_for(lambda: "wait 600: " in terminal.screen.display[-1])
        processes = psutil.Process(terminal.child.pid).children()
        if window_closes:
            terminal.hang_up()
            terminal.child.wait()
            assert terminal.child.exitstatus == 128 + signal.SIGHUP
        else:
            os.kill(terminal.child.pid, signal.SIGTERM)
            assert terminal.finish() == 128 + signal.SIGTERM
            sane = termios.ECHO | termios.ICANON | termios.ISIG
            assert termios.tcgetattr(terminal.child.child_fd)[3] & sane == sane
            assert "Traceback" not in terminal.text()
        assert psutil.wait_procs(processes, timeout=15)[1] == []
    assert [path.name for path in tmp_path.iterdir()] == ["state"]
