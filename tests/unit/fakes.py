"""Hand-written planes and terminals, typed against the Protocols."""

import io
from collections.abc import Callable
from typing import Any

from jobs_sandbox.blocks import Block, Pending
from jobs_sandbox.commands import ControlPlane, DataPlane
from jobs_sandbox.console import Console
from jobs_sandbox.session import Session

Outcome = Block | Exception | None
"""What a request ends in at once; None leaves it unanswered."""


def pending(outcome: Outcome) -> Pending:
    made = Pending()
    if isinstance(outcome, Exception):
        made.set_exception(outcome)
    elif outcome is not None:
        made.set_result(outcome)
    return made


class FakeControl:
    """Keeps what it is asked, and answers it; ``outcome`` is what every call ends in instead."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.outcome: Callable[[], Block] | None = None

    def _call(self, title: str, *call: str, **body: object) -> Block:
        self.calls.append(call)
        return Block(title, {"jobId": call[1]} | body) if self.outcome is None else self.outcome()

    def create_job(self, job_id: str, document: str) -> Block:
        return self._call(
            "CreateJobOutput", "create_job", job_id, document, description=None, jobArn=f"arn:aws:iot:::job/{job_id}"
        )

    def delete_job(self, job_id: str) -> Block:
        return self._call("DeleteJobOutput", "delete_job", job_id)


class FakeData:
    """Keeps what it is asked, and the promises it gave; ``outcome`` is what every request ends in."""

    def __init__(self, outcome: Outcome = None) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.given: list[Pending] = []
        self.outcome = outcome

    def _request(self, *call: str) -> Pending:
        self.calls.append(call)
        self.given.append(pending(self.outcome))
        return self.given[-1]

    def get_pending_job_executions(self) -> Pending:
        return self._request("get_pending_job_executions")

    def start_next_pending_job_execution(self) -> Pending:
        return self._request("start_next_pending_job_execution")

    def describe_job_execution(self, job_id: str) -> Pending:
        return self._request("describe_job_execution", job_id)

    def update_job_execution(self, job_id: str, status: str) -> Pending:
        return self._request("update_job_execution", job_id, status)


class FakeSession:
    """What the commands work on."""

    def __init__(self) -> None:
        self.fake_control = FakeControl()
        self.fake_data = FakeData()
        self.control: ControlPlane = self.fake_control
        self.data: DataPlane = self.fake_data
        self.waited: list[tuple[float | None, str | None]] = []
        self.helped = 0

    def wait(self, seconds: float | None, event: str | None) -> None:
        self.waited.append((seconds, event))

    def show_help(self) -> None:
        self.helped += 1


class Screen:
    """A console that writes to memory, and what it wrote."""

    def __init__(self, output: str = "text", **options: Any) -> None:
        self.out = io.StringIO()
        self.err = io.StringIO()
        self.console = Console(output, self.out, self.err, **options)

    @property
    def stdout(self) -> str:
        self.console.flush()
        return self.out.getvalue()

    @property
    def stderr(self) -> str:
        self.console.flush()
        return self.err.getvalue()


class FakeRun:
    """A session with fake planes on a screen of its own."""

    def __init__(self, screen: Screen, timeout: int = 5) -> None:
        self.screen = screen
        self.session = Session(screen.console, "T", timeout)
        self.control = FakeControl()
        self.data = FakeData()
        self.session.control = self.control
        self.session.data = self.data
