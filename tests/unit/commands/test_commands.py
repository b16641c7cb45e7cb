"""What each command does, and what is written about it."""

from pathlib import Path

import pytest

from jobs_sandbox.commands.command import COMMANDS, DATA, Call, Command, parse
from jobs_sandbox.core import blocks
from jobs_sandbox.core.blocks import Block
from jobs_sandbox.core.errors import Quit
from jobs_sandbox.core.settings import connection_fields
from tests.unit.commands.fakes import FakeSession
from tests.unit.fakes import SETTINGS

POLICIES = Path(__file__).parents[3] / "policies"


@pytest.fixture
async def session() -> FakeSession:
    """What a command works with."""
    return FakeSession()


def parsed(line: str, session: FakeSession) -> Call:
    call = parse(line, session)
    assert call is not None
    return call


@pytest.mark.parametrize("name", [name for name in COMMANDS if COMMANDS[name].is_one_request])
async def test_one_request(session: FakeSession, name: str) -> None:
    """A command that sends one request passes its arguments on, and shows the answer."""
    session.data.outcome = Block("Answer", {})
    call = parsed(COMMANDS[name].example, session)
    await call.run()
    [request] = [*session.control.calls, *session.data.calls, *session.waits]
    assert all(argument in request for argument in call.arguments[:1])
    [shown] = session.shown
    assert shown.title == ("Answer" if call.command.plane == DATA else call.command.title)


@pytest.mark.parametrize(
    ("line", "call"),
    [
        ("create-job J {} ", ("create_job", "J", "{} ")),
        (
            'create-job J {"a": [1] }  {"timeoutConfig": {}}',
            ("create_job", "J", '{"a": [1] }', ("timeoutConfig", {})),
        ),
        ("delete-job J", ("delete_job", "J")),
        ("cancel-job J", ("cancel_job", "J", False)),
        ("cancel-job J force", ("cancel_job", "J", True)),
        ("get-pending-job-executions", ("get_pending_job_executions",)),
        ("start-next-pending-job-execution", ("start_next_pending_job_execution", {})),
        ("describe-job-execution $next", ("describe_job_execution", "$next", {})),
        (
            'describe-job-execution J {"executionNumber": 2}',
            ("describe_job_execution", "J", {"executionNumber": 2}),
        ),
        ("update-job-execution J failed", ("update_job_execution", "J", "FAILED", {})),
        (
            'update-job-execution J FAILED {"expectedVersion": 3}',
            ("update_job_execution", "J", "FAILED", {"expectedVersion": 3}),
        ),
    ],
)
async def test_requests(session: FakeSession, line: str, call: tuple[object, ...]) -> None:
    """A command of a plane makes one request and shows its answer."""
    session.data.outcome = Block("Answer", {})
    await parsed(line, session).run()
    assert session.control.calls + session.data.calls == [call]
    assert len(session.shown) == 1


@pytest.mark.parametrize(
    ("line", "wait"),
    [
        ("wait 0", ()),
        ("wait JobExecutionsChangedEvent 7", (blocks.CHANGED, 7)),
        ("expect J failed", ("J", "FAILED", None)),
        ("expect J QUEUED 0.5", ("J", "QUEUED", 0.5)),
        ("diagnose-job J", ("J",)),
        ("expect-device connects at-most 6 15", ("connects", "at-most", 6, 15)),
        ("expect-device UPDATE at-least 1", ("update", "at-least", 1, None)),
    ],
)
async def test_waits(session: FakeSession, line: str, wait: tuple[object, ...]) -> None:
    """``wait`` waits for an event or some seconds, ``expect`` for a status."""
    await parsed(line, session).run()
    assert session.waits == [wait for _ in wait[:1]]


@pytest.mark.parametrize(
    ("words", "details"),
    [
        ("disconnect", {}),
        ("disconnect 0x8B", {"reason": 0x8B}),
        ("refuse 5", {"seconds": 5, "detail": "close"}),
        ("REFUSE 5 Hold", {"seconds": 5, "detail": "hold"}),
        ("silence 0.5", {"seconds": 0.5}),
        ("lose start-next", {"detail": "start-next"}),
        ("delay get 2 always", {"detail": "get", "seconds": 2, "times": None}),
        (
            "reject update requestthrottled 3",
            {"detail": "update", "code": "RequestThrottled", "times": 3},
        ),
        ("events Twice 2", {"detail": "twice", "times": 2}),
        ("events late 2 2", {"detail": "late", "seconds": 2, "times": 2}),
        ("take-over", {}),
        ("take-over 6", {"seconds": 6}),
        ("withhold puback", {"detail": "PUBACK"}),
        ("certificate expired", {"detail": "expired"}),
        ("none", {}),
    ],
)
async def test_faults(session: FakeSession, words: str, details: dict[str, object]) -> None:
    """The words of a fault become the arguments of the service; without a number, it is once."""
    await parsed(f"fault {words}", session).run()
    assert session.faults == [(words.split(maxsplit=1)[0].lower(), details)]


async def test_device_activity(session: FakeSession) -> None:
    """What the device has done is shown as a block."""
    await parsed("device-activity", session).run()
    assert session.shown == [Block(blocks.DEVICE_ACTIVITY, {"connects": 1})]


async def test_program(session: FakeSession) -> None:
    """The commands of the program itself need no plane."""
    for line in ("stop-device", "start-device", "connection", "help"):
        await parsed(line, session).run()
    assert session.device.calls == ["stop", "start"]
    connection, help_ = session.shown
    assert connection == Block(blocks.CONNECTION, connection_fields(SETTINGS))
    assert help_.title == blocks.HELP
    with pytest.raises(Quit):
        await parsed("exit", session).run()


@pytest.mark.parametrize("name", COMMANDS)
async def test_verify_hint(session: FakeSession, name: str) -> None:
    """A command that changes something names the command that shows whether it did."""
    call = parsed(COMMANDS[name].example, session)
    changing = {
        "CreateJob",
        "DeleteJob",
        "CancelJob",
        "StartNextPendingJobExecution",
        "UpdateJobExecution",
    }
    assert bool(call.verify_hint) is (call.command.operation in changing)
    assert "{" not in call.verify_hint


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
async def test_every_command(session: FakeSession, command: Command) -> None:
    """A command can be completed and explained, and the device policy allows its request."""
    assert len(command.summary) <= 40
    call = parsed(command.example, session)
    assert call.command is command
    assert command.example.startswith(call.label)
    assert call.label.endswith(call.job_id)
    if command.plane == DATA:
        assert f'/jobs/{command.topic}"' in (POLICIES / "device-policy.json").read_text()
