"""The installed program in a pseudo-terminal, with pyte as the screen."""

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

import pexpect
import pyte

from tests.support.program import environment

PATIENCE = 15.0
PROMPT = "jobs-sandbox>"


class Terminal:
    """A terminal of its own, running the program (or another command); a context manager."""

    def __init__(
        self,
        arguments: Sequence[str],
        env: Mapping[str, str] | None = None,
        *,
        columns: int = 100,
        rows: int = 40,
        history: int = 5000,
        command: Sequence[str] = (sys.executable, "-m", "jobs_sandbox"),
    ) -> None:
        self.screen = pyte.HistoryScreen(columns, rows, history=history)
        self.screen.set_mode(pyte.modes.LNM)
        self.screen.write_process_input = self._answer  # type: ignore[method-assign] # cursor position reports
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.child: Any = pexpect.spawn(
            command[0],
            [*command[1:], *arguments],
            env={"TERM": "xterm-256color"} | environment(env),
            dimensions=(rows, columns),
            timeout=PATIENCE,
        )
        self.child.delaybeforesend = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.child.isalive():
            self.child.kill(signal.SIGKILL)
            self.child.wait()  # pexpect alone would give it 0.1 s, of a busy machine too
        self.child.close()

    def _answer(self, data: str) -> None:
        with suppress(OSError):
            os.write(self.child.child_fd, data.encode())

    def hang_up(self) -> None:
        """Close the terminal as its window would, without a signal of our own."""
        self.child.ptyproc.fileobj.close()

    def send(self, keys: str) -> None:
        """Type; ``\\r`` is Enter, ``\\x03`` Ctrl-C, ``\\x04`` Ctrl-D."""
        self.child.send(keys)

    def read(self, patience: float = 0.05) -> bool:
        """Take in what the program has written; False when it has ended."""
        try:
            data = self.child.read_nonblocking(65536, patience)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.raw += data
        self._stream.feed(data)
        return True

    def lines(self) -> list[str]:
        """The whole session as lines, scrolled-off ones first, without trailing blanks."""
        columns = self.screen.columns
        gone = [
            "".join(row[x].data for x in range(columns)).rstrip() for row in self.screen.history.top
        ]
        return [*gone, *(line.rstrip() for line in self.screen.display)]

    def text(self) -> str:
        return "\n".join(self.lines())

    def wait_for(self, condition: Callable[[], Any], patience: float = PATIENCE) -> Any:
        """Wait until the condition, looked at after each piece of output, is true; its value."""
        end = time.monotonic() + patience
        while not (value := condition()):
            if time.monotonic() > end:
                raise AssertionError(f"waited in vain. The screen:\n{self.text()}")
            if not self.read():
                value = condition()
                if not value:
                    raise AssertionError(f"the program ended. The screen:\n{self.text()}")
                return value
        return value

    def wait_text(self, text: str, patience: float = PATIENCE) -> None:
        """Wait until ``text`` stands anywhere in the session."""
        self.wait_for(lambda: text in self.text(), patience)

    def prompt_line(self) -> str:
        """The line that the cursor is on."""
        row = self.screen.buffer[
            self.screen.cursor.y
        ]  # the whole display takes too long to ask for after each piece
        return "".join(row[x].data for x in range(self.screen.columns)).rstrip()

    def wait_prompt(self, typed: str = "", patience: float = PATIENCE) -> None:
        """Wait until the cursor is on a prompt that holds ``typed``."""
        self.wait_for(lambda: self.prompt_line() == f"{PROMPT} {typed}".rstrip(), patience)

    def finish(self, patience: float = PATIENCE) -> int:
        """Wait for the program's end; its exit status, or minus the signal that killed it."""
        end = time.monotonic() + patience
        while self.read():
            if time.monotonic() > end:
                raise AssertionError(f"it does not end. The screen:\n{self.text()}")
        self.child.wait()
        status = self.child.exitstatus
        return -int(self.child.signalstatus) if status is None else int(status)
