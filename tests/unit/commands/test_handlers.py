"""What each command does: its one request, wait or question."""

import pytest

from jobs_sandbox.commands.command import parse
from jobs_sandbox.commands.handlers import Quit
from jobs_sandbox.core.blocks import Block
from jobs_sandbox.core.errors import AlreadyExists, Rejected, RequestFailed, UsageError
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
    assert error_text(caught.value) == ("a timeout goes with an event.\n  next: `help wait` explains it.\n")
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


# A create-job whose first answer was lost


def exists(*, retried: bool) -> AlreadyExists:
    error = AlreadyExists("exists", next_step="choose another job id")
    return error.replace(retried=retried, job_arn="arn:job")


async def create(sandbox: FakeSession, error: Exception, document: str = '{"a": [1]}') -> Exception | None:
    """What becomes of creating Job1 when the control plane raises ``error``."""

    def fail() -> None:
        raise error

    sandbox.control.work = fail
    try:
        await run(sandbox, f"create-job Job1 {document}")
    except AlreadyExists as raised:
        return raised
    return None


def described(document: object) -> Block:
    return Block("DescribeJobExecutionResponse", {"execution": {"jobId": "Job1", "jobDocument": document}})


async def test_retry_finds_its_own_job(sandbox: FakeSession) -> None:
    """A job that a retry finds there, with the very document, was made by the first attempt: no failure."""
    sandbox.fake_data.outcome = described({"a": [1]})
    assert await create(sandbox, exists(retried=True)) is None
    [answer] = sandbox.shown
    assert answer.title == "CreateJobOutput"
    assert answer.body == {"description": None, "jobArn": "arn:job", "jobId": "Job1"}
    assert "the retry found the job there" in answer.note
    assert sandbox.fake_data.calls == [("describe_job_execution", "Job1")]


async def test_retry_finds_its_own_job_without_nulls(sandbox: FakeSession) -> None:
    """The service drops null members of a document: it is the same all the same."""
    sandbox.fake_data.outcome = described({"a": {}})
    assert await create(sandbox, exists(retried=True), '{"a": {"b": null}, "c": null}') is None
    assert [answer.title for answer in sandbox.shown] == ["CreateJobOutput"]


@pytest.mark.parametrize("document", [{"a": [2]}, {"a": [True]}, {}, None, "x"])
async def test_retry_finds_another_job(sandbox: FakeSession, document: object) -> None:
    """A job that a retry finds there with another document is someone else's: a certain failure."""
    sandbox.fake_data.outcome = described(document)
    error = await create(sandbox, exists(retried=True))
    assert isinstance(error, AlreadyExists)
    assert not error.uncertain
    assert error.next_step == "choose another job id"
    assert sandbox.shown == []


@pytest.mark.parametrize(
    "outcome",
    [
        Rejected({"code": "ResourceNotFound", "message": "no"}, b""),
        RequestFailed("no answer"),
        Block("DescribeJobExecutionResponse", None, b"?"),
        Block("DescribeJobExecutionResponse", {"execution": "?"}),
        Block("DescribeJobExecutionResponse", {"timestamp": 1}),
    ],
)
async def test_retry_cannot_see_the_job(sandbox: FakeSession, outcome: Block | Exception) -> None:
    """When a job that a retry finds there cannot be looked at, the outcome is unknown."""
    sandbox.fake_data.outcome = outcome
    error = await create(sandbox, exists(retried=True))
    assert isinstance(error, AlreadyExists)
    assert error.uncertain
    assert sandbox.shown == []


async def test_no_retry_finds_a_job(sandbox: FakeSession) -> None:
    """Without a retry, a job that exists is a failure, and nothing is looked at."""
    error = exists(retried=False)
    assert await create(sandbox, error) is error
    assert not error.uncertain
    assert (sandbox.fake_data.calls, sandbox.shown) == ([], [])
