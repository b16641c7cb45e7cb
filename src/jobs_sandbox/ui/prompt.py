"""Commands from a prompt: reads a line, runs it, and again. With its neighbours the only user of prompt_toolkit."""

import os
import sys
import time
from collections.abc import Callable

from prompt_toolkit import PromptSession
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition, is_searching
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.output import ColorDepth, DummyOutput
from prompt_toolkit.search import stop_search
from prompt_toolkit.utils import is_dumb_terminal

from jobs_sandbox.commands.lines import is_open_document, logical_lines
from jobs_sandbox.core.errors import Quit, Rejected, SandboxError
from jobs_sandbox.core.settings import Settings
from jobs_sandbox.session.session import Session
from jobs_sandbox.ui.completer import DocumentLexer, Suggestions, TableCompleter
from jobs_sandbox.ui.console import Console
from jobs_sandbox.ui.editor import edited
from jobs_sandbox.ui.history import open_history
from jobs_sandbox.ui.terminal import Bar, DumbPainter, Painter, TerminalInput, keys_unseen

PROMPT = "jobs-sandbox> "
_MENU_ROWS = 6


class Repl:
    """Reads lines at a terminal and runs them until the user leaves."""

    def __init__(self, session: Session, console: Console, settings: Settings) -> None:
        self._session = session
        self._console = console
        self._settings = settings
        self._running = ""  # the line that is being run
        self._running_since, self._editing = 0.0, False
        keys = TerminalInput(sys.stdin)
        self._dumb = (
            DumbPainter(PROMPT, lambda: self._prompt.default_buffer.text)
            if is_dumb_terminal()
            else None
        )
        self._painter = self._dumb or Painter(keys)
        self._suggestions = Suggestions()
        self._prompt: PromptSession[str] = PromptSession(
            PROMPT,
            input=keys,
            output=DummyOutput() if self._dumb else None,
            completer=TableCompleter(session.executions),
            lexer=DocumentLexer(),
            history=open_history(console.warning),
            auto_suggest=None
            if "NO_COLOR" in os.environ
            else self._suggestions,  # else it looks typed
            bottom_toolbar=self._toolbar,
            enable_suspend=True,
            refresh_interval=1.0,  # the toolbar counts seconds
            multiline=Condition(lambda: is_open_document(self._prompt.default_buffer.text)),
            prompt_continuation=lambda width, *_: " " * width,
            key_bindings=_key_bindings(self.interrupt, self._begin_to_edit, self._dumb),
            color_depth=ColorDepth.DEPTH_1_BIT if "NO_COLOR" in os.environ else None,
        )
        self._prompt.default_buffer.on_text_changed += (
            self._dumb.show if self._dumb else self._reserve_rows
        )
        self._bar = Bar(
            keys,
            self._prompt.output,
            self._prompt.color_depth,
            text=self._toolbar,
            on_interrupt=session.waiting.interrupt,
            before_drawing=self._painter.written,
        )

    async def run(self) -> None:
        """Prompt, run, and again, until quit or Ctrl-D."""
        self._console.paint = self._painter
        self._session.on_change = self._redraw
        self._session.learn_pending()
        with keys_unseen():
            while True:
                try:
                    await self._console.flush()
                    text = await self._ask()
                    async with self._bar.shown():
                        await self._run_lines(text)
                except KeyboardInterrupt:
                    continue
                except (EOFError, Quit):
                    return

    def interrupt(self) -> None:
        """What Ctrl-C does, and a SIGINT from elsewhere: drop the line, or stop waiting for an answer."""
        app = self._prompt.app
        if not app.is_running:
            self._session.waiting.interrupt()
        elif not app.is_done and not self._editing:  # else it is the editor's
            if (
                app.layout.is_searching
            ):  # else its field keeps the keys, also of the prompts to come
                stop_search()
            buffer = self._prompt.default_buffer
            buffer.cursor_position = len(buffer.text)
            buffer.insert_text("^C")
            app.exit(exception=KeyboardInterrupt())

    async def _ask(self) -> str:
        """Show the prompt, and return what was typed.

        Raises:
            KeyboardInterrupt: the line was dropped.
            EOFError: the user leaves.

        """
        self._prompt.reserve_space_for_menu = 0
        if not self._dumb:
            await self._painter.written()
            return await self._prompt.prompt_async(handle_sigint=False)
        await self._dumb.begin()
        try:
            return await self._prompt.prompt_async(handle_sigint=False)
        finally:
            await self._dumb.end()

    async def _run_lines(self, text: str) -> None:
        lines = [line for line in logical_lines(text) if line.strip()]
        for line in lines:
            if len(lines) > 1:  # so that it can be told which block belongs to which
                self._console.echo(PROMPT + line)
            self._running, self._running_since = line.split("\n")[0], time.monotonic()
            try:
                await self._session.run(line)
            except SandboxError as error:
                self._suggestions.failed.add(line)
                if not isinstance(error, Rejected):  # whose block has been shown
                    self._console.error(error)
            finally:
                self._running = ""

    def _begin_to_edit(self, event: KeyPressEvent) -> None:
        editing = event.app.create_background_task(self._edit())
        # A prompt that is cancelled waits for the terminal, which the editor has.
        event.app.future.add_done_callback(lambda _: editing.cancel())  # type: ignore[union-attr]

    async def _edit(self) -> None:
        """Take what the user's editor makes of the line, as if it had been typed."""
        buffer = self._prompt.default_buffer
        self._editing = True
        try:
            text = await edited(buffer.text)
        except SandboxError as error:
            self._console.error(error)
        else:
            buffer.document = Document(text)
            buffer.validate_and_handle()
        finally:
            self._editing = False

    def _reserve_rows(self, buffer: Buffer) -> None:
        """Keep rows for the menu only while something is typed: in a low window, blocks need them."""
        self._prompt.reserve_space_for_menu = _MENU_ROWS if buffer.text else 0

    def _redraw(self) -> None:
        self._prompt.app.invalidate()
        self._bar.app.invalidate()

    def _toolbar(self) -> str:
        state, settings = self._session.state, self._settings
        if state == "reconnecting":
            state += f" for {time.monotonic() - self._session.since:.0f} s"
        counts = self._session.executions.counts()
        queued, in_progress = ("?", "?") if counts is None else counts
        more = "+" if self._session.executions.more else ""
        parts = [f" {state}"]
        if self._running:
            parts.append(
                f"{self._running[:40]}: {time.monotonic() - self._running_since:.0f} s, Ctrl-C stops waiting"
            )
        parts += [f"{queued}{more} queued, {in_progress} in progress", settings.thing]
        if self._session.last_event:
            parts.append(
                f"last event {time.strftime('%H:%M:%S', time.localtime(self._session.last_event))}"
            )
        parts.append(
            f"{settings.endpoint}:{settings.port}"
        )  # long on AWS, and known: what a narrow window may cut
        return " │ ".join(parts)


def _key_bindings(
    interrupt: Callable[[], None], edit: Callable[[KeyPressEvent], None], dumb: DumbPainter | None
) -> KeyBindings:
    bindings = KeyBindings()
    bindings.add("c-c")(lambda _: interrupt())
    bindings.add("c-x", "c-e", filter=~is_searching)(edit)
    # The mouse is off. What prompt_toolkit takes for it may be a colour in what was pasted, and ends in a traceback.
    bindings.add(Keys.Vt100MouseEvent)(lambda _: None)
    if dumb:
        bindings.add("c-z")(lambda event: event.app.create_background_task(dumb.suspend()))
    return bindings
