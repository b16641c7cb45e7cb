"""The prompt: completion, toolbar, loop. With `history` the only importer of prompt_toolkit."""

import asyncio
import os
import re
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from prompt_toolkit import PromptSession
from prompt_toolkit.application import create_app_session, run_in_terminal
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.output.plain_text import PlainTextOutput
from prompt_toolkit.utils import is_dumb_terminal

from jobs_sandbox.commands import Quit, complete
from jobs_sandbox.console import Console
from jobs_sandbox.errors import Rejected, SandboxError
from jobs_sandbox.executions import Executions
from jobs_sandbox.history import open_history
from jobs_sandbox.lines import is_open_document, logical_lines
from jobs_sandbox.session import Session
from jobs_sandbox.settings import Settings

PROMPT = "jobs-sandbox> "
_FILE = "file://"


def run_repl(session: Session, console: Console, settings: Settings) -> None:
    """Prompt, run, and again, until quit or Ctrl-D."""
    if is_dumb_terminal():
        with create_app_session(output=PlainTextOutput(sys.stdout)):  # writes no escape sequence at all
            Repl(session, console, settings).run()
    else:
        Repl(session, console, settings).run()


class Repl:
    """Reads lines at a terminal and runs them until the user leaves."""

    def __init__(self, session: Session, console: Console, settings: Settings) -> None:
        self._session = session
        self._console = console
        self._settings = settings
        self._prompt: PromptSession[str] = PromptSession(
            PROMPT,
            completer=_TableCompleter(session.executions),
            history=open_history(console.warning),
            auto_suggest=AutoSuggestFromHistory(),
            bottom_toolbar=self._toolbar,
            enable_suspend=True,
            refresh_interval=1.0,  # the toolbar counts seconds
            multiline=Condition(lambda: is_open_document(self._prompt.default_buffer.text)),
            prompt_continuation=lambda width, *_: " " * width,
            color_depth=ColorDepth.DEPTH_1_BIT if "NO_COLOR" in os.environ else None,
        )

    def run(self) -> None:
        """Prompt, run, and again, until quit or Ctrl-D."""
        painter = _Painter(self._prompt)
        self._console.paint = painter
        self._session.on_change = self._redraw
        self._session.learn_pending()
        with _keys_unseen():
            while True:
                try:
                    self._console.flush()
                    with painter.prompting():
                        text = self._prompt.prompt(pre_run=painter.wait_for_writes)
                    for line in logical_lines(text):
                        self._run(line)
                except KeyboardInterrupt:
                    continue
                except (EOFError, Quit):
                    return

    def _redraw(self) -> None:
        with suppress(RuntimeError, AttributeError):  # the prompt ends in this moment
            self._prompt.app.invalidate()

    def _run(self, line: str) -> None:
        try:
            self._session.run(line)
        except Rejected:
            pass  # its block has been shown
        except SandboxError as error:
            self._console.error(error)

    def _toolbar(self) -> str:
        state, settings = self._session.state, self._settings
        if state == "reconnecting":
            state += f" for {time.monotonic() - self._session.since:.0f} s"
        counts = self._session.executions.counts()
        queued, in_progress = ("?", "?") if counts is None else counts
        return " │ ".join(
            [
                f" {state}",
                f"{queued}{'+' if self._session.executions.more else ''} queued, {in_progress} in progress",
                settings.thing,
                f"{settings.endpoint}:{settings.port}",
            ]
        )


class _TableCompleter(Completer):
    """Completions from the command table, and file names after ``file://``."""

    def __init__(self, executions: Executions) -> None:
        self._executions = executions
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        text = document.text_before_cursor
        if is_file := re.match(rf"\s*create-job\s+\S+\s+{_FILE}(.*)", text):
            yield from self._paths.get_completions(Document(is_file[1]), complete_event)
            return
        for candidate, meaning, replaced in complete(text, self._executions):
            yield Completion(candidate, -replaced, display_meta=meaning)


@contextmanager
def _keys_unseen() -> Iterator[None]:
    """What is typed between two prompts is not echoed among the blocks; the next prompt takes and shows it."""
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    unseen = before[:]
    unseen[3] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSANOW, unseen)
    try:
        yield
    finally:
        with suppress(termios.error):  # the terminal may be gone
            termios.tcsetattr(terminal, termios.TCSANOW, before)


class _Painter:
    """Writes above the prompt while one is shown, and straight to the terminal otherwise."""

    def __init__(self, prompt: "PromptSession[str]") -> None:
        self._prompt = prompt
        self._lock = threading.Lock()
        self._dumb = is_dumb_terminal()
        self._prompting = False

    @contextmanager
    def prompting(self) -> Iterator[None]:
        """While the prompt is shown."""
        self._prompting = True
        try:
            yield
        finally:
            self._prompting = False

    def wait_for_writes(self) -> None:
        """Hold the first drawing of the prompt until a write that has begun without it is done."""
        with self._lock:
            pass

    def __call__(self, write: Callable[[], None]) -> None:
        """Write; on the console's own thread."""
        app = self._prompt.app
        with self._lock:
            loop = app.loop if app.is_running else None
            if loop is None:
                self._write_plainly(write)
                return
        once = _Once(write)
        done = threading.Event()

        def draw() -> None:
            asyncio.ensure_future(run_in_terminal(once)).add_done_callback(lambda _: done.set())

        try:
            loop.call_soon_threadsafe(draw)
            while not done.wait(0.1) and app.loop is loop:
                pass
        except RuntimeError:  # the prompt has just ended, and its loop with it
            pass
        once()
        if once.error:
            raise once.error

    def _write_plainly(self, write: Callable[[], None]) -> None:
        """Write below what is typed on a terminal that cannot move its cursor, and show that again."""
        typing = self._dumb and self._prompting
        if typing:
            sys.stdout.write("\n")
        write()
        if typing:
            sys.stdout.write(PROMPT + self._prompt.default_buffer.text)
            sys.stdout.flush()


class _Once:
    """Calls a function the first time only, whichever thread comes first, and keeps its error."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call
        self._lock = threading.Lock()
        self._called = False
        self.error: Exception | None = None

    def __call__(self) -> None:
        with self._lock:
            if not self._called:
                self._called = True
                try:
                    self._call()
                except Exception as error:  # the console's to judge
                    self.error = error
