"""Hand-written planes and a console in memory, typed against the Protocols."""

import asyncio
import io
from collections.abc import Callable, Mapping
from typing import Any

from jobs_sandbox.core import blocks
from jobs_sandbox.core.blocks import Block
from jobs_sandbox.core.errors import NotFound, Rejected, RequestFailed
from jobs_sandbox.core.protocols import Device, Output, Service, Show
from jobs_sandbox.core.settings import Settings
from jobs_sandbox.session.monitor import Monitor
from jobs_sandbox.session.session import Session
from jobs_sandbox.ui.console import Console

TIMEOUT = 10
"""Seconds, for what certainly comes."""

SETTINGS = Settings("localhost", "/cert", "/key", "us-east-1", "T", "test-1")

Calls = list[tuple[object, ...]]
"""The operations that a plane was asked for, each with its arguments."""


class FakeControl:
    """A control plane that answers each operation with a block of that operation.

    Attributes:
        calls: what it was asked.
        work: runs in every call: what it raises is the outcome, what it returns the answer.
        jobs: by id, what DescribeJob answers; it finds no others.
        pending: what ListJobExecutionsForThing answers.
        connectivity: what GetThingConnectivityData answers, or how it fails.

    """

    def __init__(self) -> None:
        self.calls: Calls = []
        self.work: Callable[[], Block | None] = lambda: None
        self.jobs: dict[str, dict[str, Any]] = {}
        self.pending: list[dict[str, Any]] = []
        self.connectivity: dict[str, Any] | RequestFailed = {"connected": True}

    def _answer(self, title: str, *call: object) -> Block:
        self.calls.append(call)
        return self.work() or Block(title, {"jobId": call[1], "status": "QUEUED"})

    def ensure_thing(self) -> bool:
        self.calls.append(("ensure_thing",))
        return False

    def create_job(self, job_id: str, document: str, **fields: Any) -> Block:
        return self._answer(blocks.CREATE_JOB, "create_job", job_id, document, *fields.items())

    def delete_job(self, job_id: str) -> Block:
        return self._answer(blocks.DELETE_JOB, "delete_job", job_id)

    def cancel_job(self, job_id: str, *, force: bool) -> Block:
        return self._answer(blocks.CANCEL_JOB, "cancel_job", job_id, force)

    def describe_job_execution(self, job_id: str) -> Block:
        return self._answer(blocks.JOB_EXECUTION, "describe_job_execution", job_id)

    def describe_job(self, job_id: str) -> dict[str, Any]:
        if job_id not in self.jobs:
            raise NotFound("no such job")
        return self.jobs[job_id]

    def list_job_executions(self, status: str) -> list[dict[str, Any]]:
        return [one for one in self.pending if one["status"] == status]

    def thing_connectivity(self) -> dict[str, Any]:
        if isinstance(self.connectivity, RequestFailed):
            raise self.connectivity
        return self.connectivity

    def no_answer(self, seconds: float) -> RequestFailed:
        return RequestFailed(f"no control plane for {seconds:g} s", uncertain=True)


class FakeRequest:
    """A request of the data plane that is in flight."""

    def __init__(self, show: Show) -> None:
        self._show = show
        self.answer: asyncio.Future[Block] = asyncio.get_running_loop().create_future()

    def end(self, outcome: Block | Exception) -> None:
        """Do what the data plane does when an answer arrives, or when the request fails."""
        if self.answer.done():
            return
        if isinstance(outcome, Block):
            self._show(outcome)
            self.answer.set_result(outcome)
            return
        if isinstance(outcome, Rejected):
            self._show(Block(blocks.REJECTED, outcome.body, outcome.payload))
        self.answer.set_exception(outcome)


class FakeData:
    """A data plane.

    Attributes:
        calls: what it was asked.
        requests: one for each call.
        outcome: ends each request at once; None leaves it in flight.

    """

    def __init__(self) -> None:
        self.calls: Calls = []
        self.requests: list[FakeRequest] = []
        self.outcome: Block | Exception | None = None

    async def _send(self, show: Show, *call: object) -> Block:
        self.calls.append(call)
        request = FakeRequest(show)
        self.requests.append(request)
        if self.outcome is not None:
            request.end(self.outcome)
        return await request.answer

    async def get_pending_job_executions(self, show: Show) -> Block:
        return await self._send(show, "get_pending_job_executions")

    async def start_next_pending_job_execution(
        self, show: Show, fields: Mapping[str, Any]
    ) -> Block:
        return await self._send(show, "start_next_pending_job_execution", fields)

    async def describe_job_execution(
        self, show: Show, job_id: str, fields: Mapping[str, Any]
    ) -> Block:
        return await self._send(show, "describe_job_execution", job_id, fields)

    async def update_job_execution(
        self, show: Show, job_id: str, status: str, fields: Mapping[str, Any]
    ) -> Block:
        return await self._send(show, "update_job_execution", job_id, status, fields)

    def no_answer(self, title: str, seconds: float) -> RequestFailed:
        return RequestFailed(f"no {title} for {seconds:g} s", uncertain=True)


class FakeService:
    """An embedded AWS IoT.

    Attributes:
        faults: what it was asked to do to the device: the kind, and the arguments that were given.
        clients, log: what it has seen of the device.

    """

    def __init__(self) -> None:
        self.faults: list[tuple[str, dict[str, Any]]] = []
        self.clients: list[dict[str, Any]] = []
        self.log: list[dict[str, Any]] = []

    def fault(
        self,
        kind: str,
        *,
        detail: str = "",
        seconds: float = 0,
        times: int | None = 1,
        code: str = "",
        reason: int | None = None,
    ) -> None:
        given = {
            "detail": detail,
            "seconds": seconds,
            "times": times,
            "code": code,
            "reason": reason,
        }
        self.faults.append((kind, given))

    def activity(self) -> dict[str, Any]:
        return {"clients": self.clients, "log": self.log, "wildcards": []}


class Screen:
    """A console that writes to memory. It is made on the event loop."""

    def __init__(
        self,
        output: str = "text",
        *,
        colour: bool = False,
        on_closed: Callable[[], object] = lambda: None,
    ) -> None:
        self.out = io.StringIO()
        self.err = io.StringIO()
        self.console = Console(output, self.out, self.err, colour=colour, on_closed=on_closed)

    async def stdout(self) -> str:
        """Everything written to stdout so far."""
        await self.console.flush()
        return self.out.getvalue()

    async def stderr(self) -> str:
        """Everything written to stderr so far."""
        await self.console.flush()
        return self.err.getvalue()


class FakeRun:
    """A session with fake planes, and its parts."""

    def __init__(
        self,
        output: Output,
        timeout: float = 5,
        device: Device | None = None,
        service: Service | None = None,
    ) -> None:
        self.monitor = Monitor(output)
        self.control = FakeControl()
        self.data = FakeData()
        self.session = Session(
            SETTINGS._replace(timeout=timeout),
            output,
            monitor=self.monitor,
            control=self.control,
            data=self.data,
            device=device,
            service=service,
        )


def titles(text: str) -> list[str]:
    """The titles of the blocks in a text."""
    return [line[4:].rstrip("─ ") for line in text.splitlines() if line.startswith("─── ")]


async def until(condition: Callable[[], object]) -> None:
    """Let the event loop run until a condition holds."""
    async with asyncio.timeout(TIMEOUT):
        while not condition():  # noqa: ASYNC110 - a test may wait for anything
            await asyncio.sleep(0.001)
