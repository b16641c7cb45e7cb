"""A prompt in a pseudo-terminal: the test types at its far end, and pyte is the screen."""

import asyncio
import io
import os
import termios
from collections.abc import Callable

import pyte
from prompt_toolkit.data_structures import Size
from prompt_toolkit.output.vt100 import Vt100_Output

from jobs_sandbox.ui.prompt import Prompt
from jobs_sandbox.ui.terminal import TerminalInput
from tests.unit.fakes import TIMEOUT, FakeRun, Screen, until

COLUMNS, ROWS = 80, 10


class _Stdout(io.StringIO):
    def __init__(self, feed: Callable[[str], None]) -> None:
        super().__init__()
        self._feed = feed

    def write(self, text: str) -> int:
        self._feed(text)
        return len(text)

    def isatty(self) -> bool:
        return True


class PromptAtTerminal:
    """A prompt that runs, and its terminal.

    Attributes:
        keys: the input of the prompt.
        output: the output of the prompt.
        answers: the terminal reports its cursor's position.
        task: runs the prompt.

    """

    def __init__(self) -> None:
        self._far, near = os.openpty()
        self._stdin = os.fdopen(near)
        self._display = pyte.Screen(COLUMNS, ROWS)
        self._display.set_mode(pyte.modes.LNM)
        self._display.write_process_input = self._answer  # type: ignore[method-assign]
        self.keys = TerminalInput(self._stdin)
        stdout = _Stdout(pyte.Stream(self._display).feed)
        self.output = Vt100_Output(stdout, lambda: Size(ROWS, COLUMNS), term="xterm")
        self.answers = True
        self.task: asyncio.Task[None] | None = None

    async def start(self, run: FakeRun, screen: Screen) -> Prompt:
        """Run a prompt, and wait until it is shown."""
        prompt = Prompt(run.session, screen.console, self.keys)
        self.task = asyncio.create_task(prompt.run())
        await self.sees("jobs-sandbox>")
        return prompt

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._far, text.encode())

    async def sees(self, text: str) -> None:
        """Wait until a line of the screen begins with a text."""
        await until(lambda: any(line.startswith(text) for line in self._display.display))

    @property
    def toolbar(self) -> str:
        """The last line of the screen."""
        return self._display.display[-1].strip()

    @property
    def echoes(self) -> bool:
        """Whether the terminal shows a key by itself."""
        return bool(termios.tcgetattr(self._stdin)[3] & termios.ECHO)

    async def left(self) -> None:
        """Wait until the prompt has ended."""
        assert self.task
        async with asyncio.timeout(TIMEOUT):
            await self.task

    def hang_up(self) -> None:
        """Close the window."""
        os.close(self._far)
        self._far = -1

    async def close(self) -> None:
        """End the prompt, if it runs."""
        if self.task:
            self.task.cancel()
            await asyncio.wait({self.task})
        if self._far >= 0:
            os.close(self._far)
        self._stdin.close()

    def _answer(self, data: str) -> None:
        if self.answers:
            self.type(data)
