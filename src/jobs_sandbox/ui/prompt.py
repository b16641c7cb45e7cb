"""The prompt that is always there: Enter queues a line, and a task runs the lines."""

import asyncio
import os
import termios
import time

from prompt_toolkit import PromptSession
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.filters import Condition, is_searching
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.utils import get_cwidth

from jobs_sandbox.commands.lines import is_open_document, split_commands
from jobs_sandbox.core.errors import Interrupted, Quit, Rejected, SandboxError
from jobs_sandbox.session.session import Session
from jobs_sandbox.ui.completer import CommandCompleter, DocumentLexer
from jobs_sandbox.ui.console import Console
from jobs_sandbox.ui.history import open_history
from jobs_sandbox.ui.script import PROMPT
from jobs_sandbox.ui.terminal import TerminalInput

_SHOWN = 30  # characters of a running command in the toolbar


class Prompt:
    """Reads lines at a terminal, and runs them until the user leaves."""

    def __init__(self, session: Session, console: Console, keys: TerminalInput) -> None:
        self._session = session
        self._console = console
        self._keys = keys
        self._lines: asyncio.Queue[str] = asyncio.Queue()
        self._running = ""
        self._running_since = 0.0
        self._completer = CommandCompleter(session.monitor.executions)
        self._prompt: PromptSession[str] = PromptSession(
            PROMPT,
            input=keys,
            completer=self._completer,
            # The rows for its menu are kept only while something is typed; blocks need them.
            complete_while_typing=Condition(lambda: bool(self._buffer.text)),
            reserve_space_for_menu=6,
            lexer=DocumentLexer(),
            history=open_history(console.warning),
            # Without colours, a suggestion looks like typed text.
            auto_suggest=None if os.environ.get("NO_COLOR") else AutoSuggestFromHistory(),
            bottom_toolbar=self._toolbar,
            enable_suspend=True,
            erase_when_done=True,
            tempfile_suffix=".json",
            refresh_interval=1.0,  # the toolbar counts seconds
            multiline=Condition(lambda: is_open_document(self._buffer.text)),
            prompt_continuation=lambda width, *_: " " * width,
            key_bindings=self._key_bindings(),
        )
        self._buffer = self._prompt.default_buffer
        self._buffer.accept_handler = self._accept
        self._prompt.app.renderer.cpr_not_supported_callback = self._report_missing_cpr

    async def run(self) -> None:
        """Prompt until the user leaves."""
        self._console.write_with(self._keys.paint)
        self._session.monitor.observe(self._prompt.app.invalidate)
        self._session.refresh()
        await self._console.flush()
        running = asyncio.create_task(self._run_lines())
        try:
            await self._prompt.prompt_async(handle_sigint=False)
        except (EOFError, OSError, termios.error):  # the terminal is gone
            pass
        finally:
            running.cancel()
            await asyncio.wait({running})
        if not running.cancelled():
            running.result()

    def interrupt(self) -> None:
        """Do what Ctrl-C does: stop waiting and drop the queue, or else drop the typed line."""
        if self._running or not self._lines.empty():
            while not self._lines.empty():
                self._console.echo(f"{PROMPT}{self._lines.get_nowait()}^C")
            self._session.interrupt()
        else:
            self._console.echo(f"{PROMPT}{self._buffer.text}^C")
            self._buffer.reset()

    def _accept(self, buffer: Buffer) -> bool:
        """Queue what was typed; False lets prompt_toolkit clear the line."""
        for line in split_commands(buffer.text):
            if line.strip():
                self._lines.put_nowait(line)
        return False

    async def _run_lines(self) -> None:
        try:
            while True:
                line = await self._lines.get()
                self._console.echo(PROMPT + line)
                self._running = line.split("\n")[0]
                self._running_since = time.monotonic()
                try:
                    await self._session.run(line)
                except (Interrupted, Rejected):  # reported, or shown as a block
                    pass
                except SandboxError as error:
                    self._console.error(error)
                self._running = ""
        except Quit:
            await self._console.flush()
        finally:
            ended = self._prompt.app.future
            if ended and not ended.done():
                self._prompt.app.exit(result="")

    def _key_bindings(self) -> KeyBindings:
        bindings = KeyBindings()

        @bindings.add("c-c", filter=~is_searching)
        def _(_: KeyPressEvent) -> None:
            self.interrupt()

        @bindings.add("c-d", filter=~is_searching & Condition(lambda: not self._buffer.text))
        def _(_: KeyPressEvent) -> None:
            self._lines.put_nowait("quit")

        # prompt_toolkit's own binding completes later: an Enter that was typed ahead comes first.
        @bindings.add("tab", filter=~is_searching)
        def _(_: KeyPressEvent) -> None:
            document = self._buffer.document
            event = CompleteEvent(completion_requested=True)
            completions = [*self._completer.get_completions(document, event)]
            if self._buffer.complete_state:
                self._buffer.complete_next()
            elif len(completions) == 1:
                self._buffer.apply_completion(completions[0])
            else:
                self._buffer.start_completion(insert_common_part=True)

        # prompt_toolkit's own binding runs the line also if the editor failed or was left unsaved.
        @bindings.add("c-x", "c-e")
        def _(_: KeyPressEvent) -> None:
            before = self._buffer.text

            def run_if_edited(_: object) -> None:
                if self._buffer.text != before:
                    self._buffer.validate_and_handle()

            self._buffer.open_in_editor().add_done_callback(run_if_edited)

        # Coloured text that is pasted can look like a mouse event to prompt_toolkit, whose handler
        # then fails.
        @bindings.add(Keys.Vt100MouseEvent)
        def _(_: KeyPressEvent) -> None:
            pass

        return bindings

    def _report_missing_cpr(self) -> None:
        self._console.warning(
            "there is no bar at the bottom: the terminal does not report its cursor's position. "
            "PROMPT_TOOLKIT_NO_CPR=1 in the environment ends this message."
        )

    def _toolbar(self) -> str:
        """The connection, the running command, the executions: whole parts, as many as fit."""
        monitor = self._session.monitor
        settings = self._session.settings
        state = monitor.state
        if state == "reconnecting":
            state += f" for {time.monotonic() - monitor.since:.0f} s"
        parts = []
        if self._running:
            seconds = time.monotonic() - self._running_since
            parts.append(f"{self._running[:_SHOWN]}: {seconds:.0f} s, Ctrl-C stops waiting")
        if not self._lines.empty():
            parts.append(f"+{self._lines.qsize()} lines")
        counts = monitor.executions.counts()
        if counts is not None:
            more = "+" if monitor.executions.incomplete else ""
            parts.append(f"{counts[0]}{more} queued, {counts[1]} in progress")
        parts.append(settings.thing)
        if monitor.last_event:
            at = time.strftime("%H:%M:%S", time.localtime(monitor.last_event))
            parts.append(f"last event {at}")
        parts.append(f"{settings.endpoint}:{settings.port}")
        text = f" {state}"
        for part in parts:
            longer = f"{text} | {part}"
            if get_cwidth(longer) <= self._prompt.app.output.get_size().columns:
                text = longer
        return text
