"""The prompt: session, completion, toolbar, loop. The only importer of prompt_toolkit."""

import asyncio
import threading
from collections.abc import Callable

from prompt_toolkit import PromptSession
from prompt_toolkit.application import run_in_terminal

from jobs_sandbox.commands import Quit
from jobs_sandbox.console import Console
from jobs_sandbox.errors import Rejected, SandboxError
from jobs_sandbox.session import Session
from jobs_sandbox.settings import Settings

PROMPT = "jobs-sandbox> "


class Repl:
    """Reads lines at a terminal and runs them until the user leaves."""

    def __init__(self, session: Session, console: Console, settings: Settings) -> None:
        self._session = session
        self._console = console
        self._settings = settings
        self._prompt: PromptSession[str] = PromptSession(PROMPT)

    def run(self) -> None:
        """Prompt, run, and again, until quit or Ctrl-D."""
        painter = _Painter(self._prompt)
        self._console.paint = painter
        try:
            while True:
                self._console.flush()
                try:
                    text = self._prompt.prompt(pre_run=painter.wait_for_writes)
                    self._session.run(text)
                except KeyboardInterrupt:
                    continue
                except (EOFError, Quit):
                    return
                except Rejected:
                    continue
                except SandboxError as error:
                    self._console.error(error)
        finally:
            self._console.flush()


class _Painter:
    """Writes above the prompt while one is shown, and straight to the terminal otherwise."""

    def __init__(self, prompt: "PromptSession[str]") -> None:
        self._app = prompt.app
        self._lock = threading.Lock()

    def wait_for_writes(self) -> None:
        """Hold the first drawing of the prompt until a write that has begun without it is done."""
        with self._lock:
            pass

    def __call__(self, write: Callable[[], None]) -> None:
        with self._lock:
            loop = self._app.loop if self._app.is_running else None
            if loop is None:
                write()
                return
        once = _Once(write)
        done = threading.Event()

        def draw() -> None:
            asyncio.ensure_future(run_in_terminal(once)).add_done_callback(lambda _: done.set())

        try:
            loop.call_soon_threadsafe(draw)
            while not done.wait(0.1) and self._app.loop is loop:
                pass
        except RuntimeError:  # the prompt has just ended, and its loop with it
            pass
        once()
        if once.error:
            raise once.error


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
