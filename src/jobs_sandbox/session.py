"""One session: runs lines, waits for answers, takes in events. Knows the planes and the terminal as Protocols only."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable

from jobs_sandbox.blocks import REJECTED, STREAM_TOPICS, Block, Pending
from jobs_sandbox.commands import ControlPlane, DataPlane, Quit, help_lines, parse
from jobs_sandbox.console import Console
from jobs_sandbox.errors import Rejected, RequestFailed, SandboxError
from jobs_sandbox.executions import Executions
from jobs_sandbox.threads import wait_for

# The data plane's own timer runs out first and knows the cause; this one is for a control plane that does not.
_GRACE_TIMEOUT = 1.0


class Session:
    """What the commands work on, and what the data plane tells.

    Attributes:
        control, data: the planes, set once they are there.
        known: what was learnt about the thing's executions.
        state: of the connection: ``connecting``, ``connected``, ``reconnecting`` or ``stopped``.
        since: when that state began, on the monotonic clock.
        failed: a command of a script failed.
        on_change: called after an event or a change of state, from any thread.

    """

    control: ControlPlane
    data: DataPlane

    def __init__(self, console: Console, thing: str, timeout: float) -> None:
        self._console = console
        self._thing = thing
        self._timeout = timeout
        self.executions = Executions()
        self.state = "connecting"
        self.since = time.monotonic()
        self.failed = False
        self.on_change: Callable[[], None] = lambda: None
        self._arrived = threading.Condition()
        self._unclaimed: Counter[str] = Counter()

    # Commands

    def run(self, line: str) -> None:
        """Do what a line says, and show the answer.

        Raises:
            SandboxError: it failed; a `Rejected` has been shown already.
            Quit: the user wants to leave.
            KeyboardInterrupt: the user no longer waits; a late answer will be shown as such.

        """
        invocation = parse(line)
        if invocation is None:
            return
        if invocation.command.raises_events:  # the event that is waited for next is one that this command raises
            with self._arrived:
                self._unclaimed.clear()
        pending = invocation.command.handler(self, *invocation.arguments)
        if pending is None:
            return
        pending.label = " ".join([invocation.command.name, *invocation.arguments[:1]])
        pending.check_with = invocation.command.check_with.format(*invocation.arguments)
        pending.update = tuple(invocation.arguments[:2]) if invocation.command.name == "update-job-execution" else ()
        try:
            answer = self._answer(pending)
        except Rejected as error:
            self._console.rejected(Block(REJECTED, error.body, error.payload))
            raise
        except RequestFailed as error:
            _say_how_to_look(error, pending)
            raise
        self.executions.learn(answer, *pending.update)
        self._console.response(answer)

    def _answer(self, pending: Pending) -> Block:
        pending.add_done_callback(lambda _: self._wake())
        seconds = self._timeout + _GRACE_TIMEOUT
        try:
            if self._wait_until(pending.done, seconds):
                return pending.result()
        except KeyboardInterrupt:
            self._console.warning(f"no longer waiting for `{pending.label}`; its answer will be shown if it comes.")
            pending.add_done_callback(lambda _: self._late(pending))
            raise
        pending.add_done_callback(lambda _: self._late(pending))
        raise pending.unanswered(self._timeout)

    def _late(self, pending: Pending) -> None:
        error = pending.exception()
        if error is None:
            self.late_answer(pending.result(), pending)
        elif isinstance(error, Rejected):
            self.late_answer(Block(REJECTED, error.body, error.payload), pending)
        elif isinstance(error, RequestFailed) and self.state != "stopped":
            _say_how_to_look(error, pending)
            error.message = f"`{pending.label}`, no longer waited for: {error.message}"
            self._console.error(error)

    def wait(self, seconds: float | None, event: str | None) -> None:
        """Wait so long, or until an event arrives that no earlier ``wait`` was given.

        Raises:
            RequestFailed: the event did not come in time.

        """
        seconds = self._timeout if seconds is None else seconds
        if event is None:
            self._wait_until(lambda: False, seconds)
        elif self._wait_until(lambda: self._unclaimed[event] > 0, seconds):
            with self._arrived:
                self._unclaimed[event] -= 1
        else:
            topic = f"$aws/things/{self._thing}/jobs/{STREAM_TOPICS[event]}"
            raise RequestFailed(
                f"no {event} within {seconds:g} s",
                cause=f"nothing caused one; or no policy of the certificate allows iot:Receive on topic/{topic}",
                next_step="get-pending-job-executions shows what is pending.",
            )

    def _wait_until(self, condition: Callable[[], bool], seconds: float) -> bool:
        with self._arrived:
            return wait_for(self._arrived, condition, seconds)

    def _wake(self) -> None:
        with self._arrived:
            self._arrived.notify_all()

    def show_help(self) -> None:
        """Show the supported commands."""
        self._console.response(Block("Help", {"lines": help_lines()}))

    # What the data plane tells, on the SDK's threads

    def event(self, answer: Block) -> None:
        """Show an event, and wake who waits for it."""
        self.executions.learn(answer)
        self._console.event(answer)
        if not answer.note:
            with self._arrived:
                self._unclaimed[answer.title] += 1
                self._arrived.notify_all()
        self.on_change()

    def late_answer(self, answer: Block, request: Pending) -> None:
        """Show an answer that nobody waits for any more, marked as such."""
        self.executions.learn(answer, *(request.update if answer.title != REJECTED else ()))
        if request.label:
            self._console.response(answer._replace(note=f"late answer to: {request.label}"))
        self.on_change()

    def caught_up(self, pending: Block) -> None:
        """Show what changed while the connection was down, if anything did."""
        unknown = self.executions.counts() is None
        changes = self.executions.changes(pending)
        self.executions.learn(pending)
        if changes:
            note = "while the connection was down" + (", or before: nothing was known of them" if unknown else "")
            self._console.event(Block("MissedChanges", {"jobs": changes}, note=note))
        self.on_change()

    def learn_pending(self) -> None:
        """Ask, without a word, what is pending: for the counts in the toolbar."""
        asked = self.data.get_pending_job_executions()

        def answered(_: object) -> None:
            if asked.exception() is None:
                self.executions.learn(asked.result())
                self.on_change()

        asked.add_done_callback(answered)

    def connection(self, state: str, message: str) -> None:
        """Keep the state of the connection, and tell why it changed."""
        if state != self.state:
            self.state, self.since = state, time.monotonic()
        if message:
            (self._console.notice if state == "connected" else self._console.warning)(message)
        self.on_change()

    def warning(self, message: str) -> None:
        """Tell something that the user should know."""
        self._console.warning(message)


def _say_how_to_look(error: RequestFailed, pending: Pending) -> None:
    if error.uncertain and pending.check_with:
        error.next_step = f"its outcome is unknown, it may have been carried out: {pending.check_with}."


def run_script(session: Session, console: Console, lines: Iterable[bytes]) -> bool:
    """Run lines from a pipe, one after another, to their end or to ``quit``; blank ones and ``#`` comments do nothing.

    A failure is told with its line number and kept in ``session.failed``, and the rest goes on.

    Returns:
        Whether every command succeeded.

    """
    for number, raw in enumerate(lines, 1):
        if console.closed:
            break
        line = raw.decode("utf-8", "backslashreplace").rstrip("\r\n").removeprefix("\ufeff")
        try:
            session.run(line)
        except Quit:
            break
        except SandboxError as error:
            session.failed = True
            console.error(error, line=number, command=line[:80])
        console.flush()
    return not session.failed
