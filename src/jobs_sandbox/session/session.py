"""One session: a line → a task; its answer, late or not; events. Knows the planes as Protocols only."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from jobs_sandbox.commands.command import Invocation, parse
from jobs_sandbox.commands.completion import help_lines
from jobs_sandbox.core.blocks import REJECTED, Block
from jobs_sandbox.core.errors import RequestFailed, SandboxError, UsageError
from jobs_sandbox.core.protocols import ControlPlane, DataPlane, Device
from jobs_sandbox.core.threads import in_thread
from jobs_sandbox.session.executions import Executions
from jobs_sandbox.session.waiting import Waiting
from jobs_sandbox.ui.console import Console

# The data plane's own timer runs out first and knows the cause; this one is for a control plane that does not.
_GRACE_TIMEOUT = 1.0  # seconds


class Session:
    """Runs commands, and receives what the data plane sees. All of it on the event loop.

    Attributes:
        control, data: the planes, set once they are there.
        thing, timeout: its name, and the seconds that each request may take.
        waiting: where it waits.
        join: what a second client needs to connect.
        device: the device under test, if there is one.
        executions: what was learnt about the thing's executions.
        state: of the connection: ``connecting``, ``connected``, ``reconnecting`` or ``stopped``.
        since: when that state began, on the monotonic clock.
        last_event: when the last event arrived, in seconds since 1970, or 0.
        on_change: called after an answer, an event or a change of state.

    """

    control: ControlPlane
    data: DataPlane

    def __init__(self, console: Console, thing: str, timeout: float) -> None:
        self._console = console
        self.thing = thing
        self.timeout = timeout
        self.executions = Executions()
        self.join: dict[str, Any] = {}
        self.device: Device | None = None
        self.state = "connecting"
        self.since = time.monotonic()
        self.last_event = 0.0
        self.on_change: Callable[[], object] = lambda: None
        self.waiting = Waiting()
        self._tasks: set[asyncio.Task[None]] = (
            set()
        )  # a task that nobody references may be collected

    # Commands

    async def run(self, line: str) -> None:
        """Do what a line says. Its answer is shown in the callback in which it arrives, before this returns.

        Raises:
            SandboxError: it failed; a `Rejected` has been shown already.
            Quit: the user wants to leave.
            KeyboardInterrupt: `waiting.interrupt` was called; a late answer will be shown as such.

        """
        invocation = parse(line)
        if invocation is None:
            return
        # The event that is waited for next is one that this command raises.
        self.waiting.begin(forget_events=invocation.command.raises_events)
        if attempt := invocation.attempt:
            self.executions.attempt(*attempt)
        running = Running(self, invocation)
        if not invocation.is_answered:
            try:
                await invocation.run(running)
            except KeyboardInterrupt:
                self._console.warning(f"no longer waiting: `{invocation.label}` was interrupted.")
                raise
            return
        task = self._keep(asyncio.create_task(invocation.run(running)))
        try:
            if not await self.waiting.until(task, self.timeout + _GRACE_TIMEOUT):
                raise RequestFailed(f"no answer within {self.timeout:g} s", uncertain=True)
            task.result()
        except KeyboardInterrupt:
            self._console.warning(
                f"no longer waiting for `{invocation.label}`; its answer will be shown if it comes."
            )
            raise
        except RequestFailed as error:
            raise self._failed(error, invocation) from error.__cause__
        finally:
            running.late = True
            if not task.done():
                task.add_done_callback(running.report_late_failure)

    def answered(self, block: Block, invocation: Invocation, *, late: bool) -> None:
        """Show the answer to a command, marked as such if nobody waits for it any more."""
        self.executions.learn(block, *(invocation.attempt or ()))
        if late:
            block = block._replace(note=f"late answer to: {invocation.label}")
        (
            self._console.rejected
            if block.title == REJECTED and not late
            else self._console.response
        )(block)
        self.on_change()

    def failed_late(self, error: BaseException, invocation: Invocation) -> None:
        """Report the failure of a command that nobody waits for any more; a rejection has been shown already."""
        if isinstance(error, RequestFailed) and self.state != "stopped":
            message = f"`{invocation.label}`, no longer waited for: {error.message}"
            self._console.error(self._failed(error, invocation).replace(message=message))

    def _failed(self, error: RequestFailed, invocation: Invocation) -> RequestFailed:
        """The error of a command whose outcome is unknown says how to find it out."""
        if not error.uncertain:
            if attempt := invocation.attempt:
                self.executions.give_up(attempt[0])
        elif check_with := invocation.check_with:
            return error.replace(
                next_step=f"its outcome is unknown, it may have been carried out: {check_with}."
            )
        return error

    def learn_pending(self) -> None:
        """Ask, without a word, what is pending: for the counts in the toolbar."""

        def learn(block: Block) -> None:
            self.executions.learn(block)
            self.on_change()

        async def ask() -> None:
            with suppress(SandboxError):
                await self.data.get_pending_job_executions(learn)

        self._keep(asyncio.create_task(ask()))

    def _keep(self, task: "asyncio.Task[None]") -> "asyncio.Task[None]":
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # What the data plane sees

    def event(self, block: Block) -> None:
        """Show an event, and wake who waits for it."""
        self.executions.learn(block)
        self._console.event(block)
        self.last_event = time.time()
        if not block.note:
            self.waiting.event_arrived(block.title)
        self.on_change()

    def caught_up(self, pending: Block) -> None:
        """Show what changed while the connection was down, if anything did."""
        unknown = self.executions.counts() is None
        changes = self.executions.changes(pending)
        self.executions.learn(pending)
        if changes:
            note = "while the connection was down" + (
                ", or before: nothing was known of them" if unknown else ""
            )
            self._console.event(Block("MissedChanges", {"jobs": changes}, note=note))
        self.on_change()

    def connection(self, state: str, message: str) -> None:
        """Keep the state of the connection, and say why it changed."""
        if state != self.state:
            self.state, self.since = state, time.monotonic()
        if message:
            (self._console.notice if state == "connected" else self._console.warning)(message)
        self.on_change()

    def warning(self, message: str) -> None:
        """Say something that the user should know."""
        self._console.warning(message)


class Running:
    """A command under way, as its handler sees the session.

    Attributes:
        data: the data plane.
        late: nobody waits for the command any more.

    """

    def __init__(self, session: Session, invocation: Invocation) -> None:
        self._session = session
        self._invocation = invocation
        self.late = False

    @property
    def data(self) -> DataPlane:
        """The data plane."""
        return self._session.data

    def show(self, block: Block) -> None:
        """Take the answer to the command."""
        self._session.answered(block, self._invocation, late=self.late)

    async def operate(self, work: Callable[[ControlPlane], Block]) -> Block:
        """Run ``work`` with the control plane, in a thread, and show the block that it returns."""
        return await in_thread(lambda: work(self._session.control), self.show)

    async def wait(self, seconds: float | None, event: str | None) -> None:
        """Wait for an event, or just so long."""
        session = self._session
        seconds = session.timeout if seconds is None else seconds
        if event is None:
            await session.waiting.for_seconds(seconds)
        else:
            try:
                await session.waiting.for_event(event, session.thing, seconds)
            except RequestFailed as error:
                if session.state != "reconnecting":
                    raise
                step = "wait again when it is back; what changed meanwhile will be shown as MissedChanges."
                raise error.replace(
                    cause="the connection is down", next_step=step
                ) from error.__cause__

    async def expect(self, job_id: str, status: str, seconds: float | None) -> None:
        """Wait until this thing's execution of a job has that status, as the control plane sees it, and show it."""
        session = self._session

        async def describe() -> Block:
            return await in_thread(lambda: session.control.describe_job_execution(job_id))

        seconds = session.timeout if seconds is None else seconds
        self.show(await session.waiting.for_status(job_id, status, describe, seconds))

    def show_help(self, name: str) -> None:
        """Show what there is to know of one command, or of all."""
        self.show(Block("Help", {"lines": help_lines(name)}))

    def show_connection(self) -> None:
        """Show what a second client needs to connect."""
        self.show(Block("Connection", self._session.join))

    async def start_device(self) -> None:
        """Start the device under test again."""
        await self._device().start()

    async def stop_device(self) -> None:
        """Kill the device under test, as a power cut would."""
        await self._device().stop()

    def _device(self) -> Device:
        if self._session.device is None:
            raise UsageError(
                "there is no device under test.",
                next_step="start the program with --device COMMAND.",
            )
        return self._session.device

    def report_late_failure(self, task: "asyncio.Task[None]") -> None:
        """Take the end of a command that nobody waits for any more; its answer, if any, was shown when it came."""
        if not task.cancelled() and (error := task.exception()):
            self._session.failed_late(error, self._invocation)
