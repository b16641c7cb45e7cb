"""The installed program in a pseudo-terminal, with pyte as the screen."""

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

import pexpect
import pyte

from tests.support.drivers.program import COMMAND, environment
from tests.support.waiting import PATIENCE, until

PROMPT = "jobs-sandbox>"


class Terminal:
    """A terminal of its own that runs the program, or another command; a context manager.

    Attributes:
        screen: what it shows.
        raw: all bytes that were written to it.
        child: the process, as pexpect knows it.

    """

    def __init__(
        self,
        arguments: Sequence[str],
        env: Mapping[str, str] | None = None,
        *,
        columns: int = 100,
        rows: int = 40,
        answers: bool = True,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self.screen = pyte.HistoryScreen(columns, rows, history=20_000)
        self.screen.set_mode(pyte.modes.LNM)
        if answers:  # to requests for the cursor's position
            self.screen.write_process_input = self._answer  # type: ignore[method-assign]
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
            self.child.wait()
        self.child.close()

    def resize(self, columns: int, rows: int) -> None:
        """Change the size of the window."""
        self.screen.resize(rows, columns)
        self.child.setwinsize(rows, columns)

    def hang_up(self) -> None:
        """Close the terminal as its window would, without a signal of our own."""
        self.child.ptyproc.fileobj.close()

    def send(self, keys: str) -> None:
        """Type; ``\\r`` is Enter, ``\\x03`` Ctrl-C, ``\\x04`` Ctrl-D."""
        self.child.send(keys)

    def lines(self) -> list[str]:
        """The whole session as lines, those that scrolled off first, without trailing blanks."""
        columns = range(self.screen.columns)
        gone = ["".join(row[x].data for x in columns) for row in self.screen.history.top]
        return [line.rstrip() for line in [*gone, *self.screen.display]]

    def text(self) -> str:
        """The whole session."""
        return "\n".join(self.lines())

    def wait_for(self, condition: Callable[[], Any], patience: float = PATIENCE) -> Any:
        """Wait until a condition is true after a piece of output, and return its value."""

        def read_on() -> Any:
            runs = self._read()
            value = condition()
            assert value or runs, f"the program ended. The screen:\n{self.text()}"
            return value

        return condition() or until(read_on, patience, explain=self.text, pause=0)

    def wait_text(self, text: str, patience: float = PATIENCE) -> None:
        """Wait until the session has the text."""
        self.wait_for(lambda: text in self.text(), patience)

    def prompt_line(self) -> str:
        """The line that the cursor is on."""
        # The whole display would take too long after each piece of output.
        row = self.screen.buffer[self.screen.cursor.y]
        return "".join(row[x].data for x in range(self.screen.columns)).rstrip()

    def wait_prompt(self, typed: str = "") -> None:
        """Wait until the cursor is on a prompt with this text."""
        self.wait_for(lambda: self.prompt_line() == f"{PROMPT} {typed}".rstrip())

    def finish(self) -> int:
        """Wait for the program's end; its exit status, or minus the signal that killed it."""
        until(lambda: not self._read(), explain=self.text, pause=0)
        self.child.wait()
        status = self.child.exitstatus
        return -int(self.child.signalstatus) if status is None else int(status)

    def _answer(self, data: str) -> None:
        with suppress(OSError):
            os.write(self.child.child_fd, data.encode())

    def _read(self) -> bool:
        """Take in what the program has written; False when it has ended."""
        try:
            data = self.child.read_nonblocking(65536, 0.05)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.raw += data
        self._stream.feed(data)
        return True
