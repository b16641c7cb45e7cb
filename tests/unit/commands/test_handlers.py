"""What each command does: its one request, wait or question."""

import pytest

from jobs_sandbox.commands.command import parse
from jobs_sandbox.core.blocks import Block
from jobs_sandbox.core.errors import Quit, UsageError
from jobs_sandbox.ui.formatting import error_text
from tests.unit.fakes import Call, FakeSession


@pytest.fixture
async def sandbox() -> FakeSession:
    """What a handler works with."""
    return FakeSession()


async def run(sandbox: FakeSession, line: str) -> None:
    invocation = parse(line)
    assert invocation is not None
    await invocation.run(sandbox)


@pytest.mark.parametrize(
    ("line", "call"),
    [
        ("get-pending-job-executions", ("get_pending_job_executions",)),
        ("start-next-pending-job-execution", ("start_next_pending_job_execution",)),
        ("describe-job-execution Job1", ("describe_job_execution", "Job1")),
        ("describe-job-execution $next", ("describe_job_execution", "$next")),
        ("update-job-execution Job1 failed", ("update_job_execution", "Job1", "FAILED")),
        (
            'start-next-pending-job-execution {"stepTimeoutInMinutes": 5}',
            ("start_next_pending_job_execution", {"stepTimeoutInMinutes": 5}),
        ),
        (
            'describe-job-execution Job1 {"executionNumber": 2}',
            ("describe_job_execution", "Job1", {"executionNumber": 2}),
        ),
        (
            'update-job-execution Job1 FAILED {"expectedVersion": 3}',
            ("update_job_execution", "Job1", "FAILED", {"expectedVersion": 3}),
        ),
    ],
)
async def test_data_plane(sandbox: FakeSession, line: str, call: Call) -> None:
    """A data plane command makes its one request, and its answer is shown."""
    answer = sandbox.fake_data.outcome = Block("Answer", {"to": line})
    await run(sandbox, line)
    assert sandbox.fake_data.calls == [call]
    assert sandbox.control.calls == []
    assert sandbox.shown == [answer]


@pytest.mark.parametrize(
    ("line", "call", "title"),
    [
        ("create-job Job1 {} ", ("create_job", "Job1", "{} "), "CreateJobOutput"),
        ("delete-job Job1", ("delete_job", "Job1"), "DeleteJobOutput"),
        ("cancel-job Job1", ("cancel_job", "Job1", False), "CancelJobOutput"),
        ("cancel-job Job1 force", ("cancel_job", "Job1", True), "CancelJobOutput"),
    ],
)
async def test_control_plane(sandbox: FakeSession, line: str, call: Call, title: str) -> None:
    """A control plane command makes its one call, and the answer to that is shown."""
    await run(sandbox, line)
    assert sandbox.control.calls == [call]
    assert sandbox.fake_data.calls == []
    assert [block.title for block in sandbox.shown] == [title]


@pytest.mark.parametrize(
    ("line", "waited"),
    [
        ("wait 2.5", (2.5, None)),
        ("wait JobExecutionsChanged", (None, "JobExecutionsChangedEvent")),
        ("wait JobExecutionsChangedEvent 7", (7.0, "JobExecutionsChangedEvent")),
        ("expect Job1 failed", ("Job1", "FAILED", None)),
        ("expect Job1 QUEUED 0.5", ("Job1", "QUEUED", 0.5)),
    ],
)
async def test_wait(sandbox: FakeSession, line: str, waited: Call) -> None:
    """``wait`` waits some seconds, or for an event, or for it within some seconds; ``expect`` for a status."""
    await run(sandbox, line)
    assert sandbox.waited == [waited]
    assert sandbox.shown == []


async def test_wait_for_seconds_within_seconds(sandbox: FakeSession) -> None:
    """A timeout without an event makes no sense, and the usage line says what does."""
    with pytest.raises(UsageError) as caught:
        await run(sandbox, "wait 5 3")
    assert error_text(caught.value) == (
        "a timeout goes with an event.\n  next: `help wait` explains it.\n"
    )
    assert sandbox.waited == []


async def test_help(sandbox: FakeSession) -> None:
    """``help`` shows the help, or that of one command."""
    await run(sandbox, "help")
    await run(sandbox, "help exit")
    assert sandbox.shown == [Block("Help", {"lines": [""]}), Block("Help", {"lines": ["quit"]})]


async def test_connection(sandbox: FakeSession) -> None:
    """``connection`` shows the connection."""
    await run(sandbox, "connection")
    assert [block.title for block in sandbox.shown] == ["Connection"]


async def test_device(sandbox: FakeSession) -> None:
    """The device under test is killed and started."""
    await run(sandbox, "stop-device")
    await run(sandbox, "start-device")
    assert sandbox.device == ["stop", "start"]


async def test_quit(sandbox: FakeSession) -> None:
    """``quit`` leaves."""
    with pytest.raises(Quit):
        await run(sandbox, "quit")
