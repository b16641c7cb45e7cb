"""Hand-written planes and terminals, typed against the Protocols."""

import asyncio
import io
from collections.abc import Callable, Mapping
from typing import Any

from jobs_sandbox.core.blocks import REJECTED, Block
from jobs_sandbox.core.errors import Rejected, RequestFailed
from jobs_sandbox.core.protocols import ControlPlane, DataPlane, Show
from jobs_sandbox.session.session import Session
from jobs_sandbox.ui.console import Console

TIMEOUT = 10  # seconds, for what certainly comes

Outcome = Block | Exception | None
"""What a request ends in at once; None leaves it unanswered."""

Call = tuple[object, ...]


class FakeControl:
    """Keeps what it is asked, and answers each operation with a block of that operation.

    Attributes:
        calls: the operations and their arguments.
        work: runs in every call, before its answer; what it raises is the call's outcome.

    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.work: Callable[[], None] = lambda: None

    def _answer(self, block: Block, *call: object) -> Block:
        self.calls.append(call)
        self.work()
        return block

    def ensure_thing(self) -> bool:
        self.calls.append(("ensure_thing",))
        return False

    def no_answer(self, seconds: float) -> RequestFailed:
        return RequestFailed(f"no answer within {seconds:g} s", uncertain=True)

    def close(self) -> None:
        pass

    def create_job(self, job_id: str, document: str) -> Block:
        body = {"jobArn": f"arn:job/{job_id}", "jobId": job_id}
        return self._answer(Block("CreateJobOutput", body), "create_job", job_id, document)

    def delete_job(self, job_id: str) -> Block:
        return self._answer(Block("DeleteJobOutput", {"jobId": job_id}), "delete_job", job_id)

    def cancel_job(self, job_id: str, *, force: bool) -> Block:
        return self._answer(
            Block("CancelJobOutput", {"jobId": job_id}), "cancel_job", job_id, force
        )

    def describe_job_execution(self, job_id: str) -> Block:
        body = {"jobId": job_id, "status": "QUEUED"}
        return self._answer(
            Block("DescribeJobExecutionOutput", body), "describe_job_execution", job_id
        )


class FakeRequest:
    """A data plane request under way."""

    def __init__(self, deliver: Show) -> None:
        self._deliver = deliver
        self._future: asyncio.Future[Block] = asyncio.get_running_loop().create_future()

    def end(self, outcome: Block | Exception) -> None:
        """What the data plane does when an answer arrives, or when the request fails for want of one."""
        if isinstance(outcome, Block):
            self._deliver(outcome)
        elif isinstance(outcome, Rejected):
            self._deliver(Block(REJECTED, outcome.body, outcome.payload))
        if self._future.done():
            return
        if isinstance(outcome, Block):
            self._future.set_result(outcome)
        else:
            self._future.set_exception(outcome)

    async def answer(self) -> Block:
        """What whoever sent it waits for."""
        return await self._future


class FakeData:
    """Keeps what it is asked, and the requests under way.

    Attributes:
        calls: the operations and their arguments; the optional fields only where there are any.
        requests: one for each call.
        outcome: what every request ends in.

    """

    def __init__(self, outcome: Outcome = None) -> None:
        self.calls: list[Call] = []
        self.requests: list[FakeRequest] = []
        self.outcome = outcome

    async def _request(self, deliver: Show, *call: object) -> Block:
        self.calls.append(tuple(part for part in call if part != {}))
        request = FakeRequest(deliver)
        self.requests.append(request)
        if self.outcome is not None:
            request.end(self.outcome)
        return await request.answer()

    async def get_pending_job_executions(self, deliver: Show) -> Block:
        return await self._request(deliver, "get_pending_job_executions")

    async def start_next_pending_job_execution(
        self, deliver: Show, fields: Mapping[str, Any]
    ) -> Block:
        return await self._request(deliver, "start_next_pending_job_execution", fields)

    async def describe_job_execution(
        self, deliver: Show, job_id: str, fields: Mapping[str, Any]
    ) -> Block:
        return await self._request(deliver, "describe_job_execution", job_id, fields)

    async def update_job_execution(
        self, deliver: Show, job_id: str, status: str, fields: Mapping[str, Any]
    ) -> Block:
        return await self._request(deliver, "update_job_execution", job_id, status, fields)


class FakeSession:
    """What the handler of a command works with.

    Attributes:
        shown: the answers to the command.
        waited: what it was asked to wait for.
        device: what became of the device under test.

    """

    def __init__(self) -> None:
        self.control = FakeControl()
        self.fake_data = FakeData()
        self.shown: list[Block] = []
        self.waited: list[Call] = []
        self.device: list[str] = []

    @property
    def data(self) -> DataPlane:
        return self.fake_data

    def show(self, block: Block) -> None:
        self.shown.append(block)

    async def operate(self, work: Callable[[ControlPlane], Block]) -> Block:
        block = work(self.control)
        self.show(block)
        return block

    async def wait(self, seconds: float | None, event: str | None) -> None:
        self.waited.append((seconds, event))

    async def expect(self, job_id: str, status: str, seconds: float | None) -> None:
        self.waited.append((job_id, status, seconds))

    def show_help(self, name: str) -> None:
        self.show(Block("Help", {"lines": [name]}))

    def show_connection(self) -> None:
        self.show(Block("Connection", {}))

    async def start_device(self) -> None:
        self.device.append("start")

    async def stop_device(self) -> None:
        self.device.append("stop")


class Screen:
    """A console that writes to memory, and what it wrote. To be made on the event loop."""

    def __init__(self, output: str = "text", **options: Any) -> None:
        self.out = io.StringIO()
        self.err = io.StringIO()
        self.console = Console(output, self.out, self.err, **options)

    async def stdout(self) -> str:
        """All that was shown there."""
        await self.console.flush()
        return self.out.getvalue()

    async def stderr(self) -> str:
        """All that was said there."""
        await self.console.flush()
        return self.err.getvalue()


class FakeRun:
    """A session with fake planes on a screen of its own."""

    def __init__(self, screen: Screen, timeout: float = 5) -> None:
        self.screen = screen
        self.session = Session(screen.console, "T", timeout)
        self.control = FakeControl()
        self.data = FakeData()
        self.session.control = self.control
        self.session.data = self.data


def titles(text: str) -> list[str]:
    """The titles of the blocks in a text."""
    return [line[4:].rstrip("─ ") for line in text.splitlines() if line.startswith("─── ")]


async def until(condition: Callable[[], object]) -> None:
    """Let the event loop run until it is so."""
    async with asyncio.timeout(TIMEOUT):
        while not condition():  # noqa: ASYNC110 - whatever it is that a test waits for
            await asyncio.sleep(0.001)
