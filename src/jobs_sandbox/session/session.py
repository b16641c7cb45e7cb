"""One session: it runs the lines that are typed, and bounds each request."""

import asyncio
import time
from contextlib import suppress
from typing import Any

from jobs_sandbox.commands.command import DATA, Call, parse
from jobs_sandbox.core.blocks import REJECTED, UPDATE, Block
from jobs_sandbox.core.errors import Interrupted, Rejected, RequestFailed, SandboxError, UsageError
from jobs_sandbox.core.protocols import ControlPlane, DataPlane, Device, Output, Service
from jobs_sandbox.core.settings import Settings
from jobs_sandbox.core.threads import in_thread
from jobs_sandbox.session import diagnosis, waiting
from jobs_sandbox.session.activity import Activity, without_prompts
from jobs_sandbox.session.monitor import Monitor


class Session:
    """Runs commands, one at a time. For one event loop.

    Attributes:
        settings: of this run.
        monitor: what was heard.
        control, data: the planes.
        service: the embedded AWS IoT; None without ``--local``.

    """

    def __init__(
        self,
        settings: Settings,
        output: Output,
        *,
        monitor: Monitor,
        control: ControlPlane,
        data: DataPlane,
        device: Device | None,
        service: Service | None,
    ) -> None:
        self.settings = settings
        self.monitor = monitor
        self.control = control
        self.data = data
        self.service = service
        self._output = output
        self._device = device
        # When the last fault was caused, in seconds since 1970.
        self._last_fault = 0.0
        self._tasks: set[asyncio.Task[None]] = set()  # the event loop itself keeps no reference
        self._interrupted: asyncio.Future[None] | None = None

    async def run(self, line: str) -> None:
        """Run a line. Its answer is shown in the callback in which it arrives, before this returns.

        Raises:
            SandboxError: it failed; the block of a `Rejected` has been shown already. It is a
                warning if the line began with ``should``.
            Quit: the user wants to leave.
            Interrupted: `interrupt` was called; the answer is shown if it still comes.

        """
        call = parse(line, self)
        if call is None:
            return
        try:
            await self._run(call)
        except SandboxError as error:
            if call.optional:
                raise error.replace(is_warning=True) from error
            raise

    async def _run(self, call: Call) -> None:
        if call.command.events:
            self.monitor.forget_events()
        task = self._start(self._carry_out(call))
        self._interrupted = asyncio.get_running_loop().create_future()
        try:
            await asyncio.wait({task, self._interrupted}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            task.cancel()
            raise
        finally:
            self._interrupted = None
        if not task.done():
            self._abandon(call, task)
            raise Interrupted
        task.result()

    def interrupt(self) -> bool:
        """Stop waiting for the command that is running; False if none is."""
        if self._interrupted is None:
            return False
        if not self._interrupted.done():
            self._interrupted.set_result(None)
        return True

    def show(self, block: Block, call: Call) -> None:
        """Show the answer to a call."""
        status = call.arguments[1] if block.title == UPDATE else ""
        self.monitor.record(block, call.job_id, status)
        if call.abandoned:
            block = block.with_note(f"late answer to: {call.label}")
        if block.title == REJECTED:
            self._output.rejected(block)
        else:
            self._output.response(block)

    def refresh(self) -> None:
        """Ask for the pending executions without showing them: for the counts in the toolbar."""

        async def ask() -> None:
            with suppress(SandboxError, TimeoutError):
                async with asyncio.timeout(self.settings.timeout):
                    await self.data.get_pending_job_executions(self.monitor.record)

        self._start(ask())

    # What commands use

    @property
    def device(self) -> Device:
        """The device under test."""
        if self._device is None:
            raise UsageError(
                "there is no device under test.",
                next_step="start the program with --device COMMAND.",
            )
        return self._device

    async def wait_for_event(self, title: str, seconds: float | None) -> None:
        """Wait for an event; see `waiting.wait_for_event`."""
        seconds = self.settings.timeout if seconds is None else seconds
        await waiting.wait_for_event(self.monitor, title, self.settings.thing, seconds)

    async def expect(self, job_id: str, status: str, seconds: float | None) -> Block:
        """Wait until an execution has a status; see `waiting.expect`."""
        seconds = self.settings.timeout if seconds is None else seconds
        observe = self.activity if self.service else None
        return await waiting.expect(
            self.monitor, self.control, job_id, status, seconds, observe=observe
        )

    async def fault(self, kind: str, **details: Any) -> None:
        """Cause a fault on the wire of the device; see `core.protocols.Service.fault`."""
        service = self._service()
        began = time.time()
        await in_thread(lambda: service.fault(kind, **details))
        self._last_fault = began

    async def device_activity(self) -> dict[str, Any]:
        """What the device has done since the last fault that was caused, or since the start."""
        activity = await self.activity(self._last_fault)
        return activity.body()

    async def expect_device(
        self, fact: str, bound: str, number: int, seconds: float | None
    ) -> None:
        """Judge what the device does; see `waiting.expect_device`."""
        seconds = self.settings.timeout if seconds is None else seconds

        async def observe() -> Activity:
            return await self.activity(self._last_fault)

        await waiting.expect_device(observe, fact, bound, number, seconds)

    async def activity(self, since: float = 0) -> Activity:
        """What the device has done since a point in time; raises `UsageError` without --local."""
        seen = await in_thread(self._service().activity)
        if self._device is None:
            return Activity(seen, since=since)
        return Activity(without_prompts(seen), self._device.ends, since, self._device.switches)

    def _service(self) -> Service:
        if self.service is None:
            raise UsageError(
                "only the program that was started with --local causes faults, and sees what a "
                "device does.",
                next_step="type it there; or start this program with --local.",
            )
        return self.service

    async def diagnose(self, job_id: str) -> Block:
        """Find out why a job is stuck; see `diagnosis.diagnose`."""
        return await diagnosis.diagnose(
            self.control,
            self.service,
            self._device,
            self.settings,
            job_id,
            self.monitor.record,
        )

    # A call under way

    async def _carry_out(self, call: Call) -> None:
        """Run a call within the time-out; an error of unknown outcome says how to find out."""
        seconds = self.settings.timeout
        try:
            async with asyncio.timeout(seconds if call.command.is_one_request else None):
                await call.run()
        except TimeoutError:
            if call.command.plane == DATA:
                error = self.data.no_answer(call.command.title, seconds)
            else:
                error = self.control.no_answer(seconds)
        except RequestFailed as failure:
            error = failure
        else:
            return
        if error.uncertain and call.verify_hint:
            next_step = f"it may have been carried out: {call.verify_hint}."
            raise error.replace(next_step=next_step) from error
        raise error

    def _abandon(self, call: Call, task: "asyncio.Task[None]") -> None:
        """Stop waiting for a call. A request stays in flight: it cannot be taken back."""
        if not call.command.is_one_request:
            task.cancel()
            self._output.warning(f"no longer waiting: `{call.label}` was interrupted.")
            return
        call.abandoned = True
        self._output.warning(
            f"no longer waiting for `{call.label}`; its answer is shown if it comes."
        )

        def report(_: object) -> None:
            try:
                task.result()
            except (asyncio.CancelledError, Rejected):  # a rejection has been shown
                pass
            except SandboxError as error:
                message = f"`{call.label}`, no longer waited for: {error.message}"
                self._output.error(error.replace(message=message))

        task.add_done_callback(report)

    def _start(self, work: Any) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
