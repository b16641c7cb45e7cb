"""`wait` and `expect`: how long they wait, and the cause when they waited in vain."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from jobs_sandbox.core import blocks
from jobs_sandbox.core.blocks import Block
from jobs_sandbox.core.errors import NotFound, RequestFailed, SandboxError, Unavailable
from jobs_sandbox.core.protocols import Switch
from jobs_sandbox.session import waiting
from jobs_sandbox.session.activity import Activity
from tests.unit.fakes import TIMEOUT, FakeRun, until

CHANGED = Block(blocks.CHANGED, {"jobs": {}})
NEXT = Block(blocks.NEXT_CHANGED, {})
LOST = Unavailable("lost", cause="the network", next_step="look.")
NONE = NotFound("no such job")


# Events


async def wait(run: FakeRun, title: str = blocks.CHANGED, seconds: float = 0) -> None:
    await waiting.wait_for_event(run.monitor, title, "T", seconds)


async def wait_in_vain(run: FakeRun) -> str:
    """The cause."""
    with pytest.raises(RequestFailed, match="no JobExecutionsChangedEvent within 0 s") as caught:
        await wait(run)
    return caught.value.cause


async def test_an_event_counts_once(run: FakeRun) -> None:
    """Each event that came ends one wait; a later failure says when the last one came."""
    for _ in range(2):
        run.monitor.event(CHANGED)
    for _ in range(2):
        await wait(run)
    assert "the last one came at " in await wait_in_vain(run)


async def test_an_event_ends_the_wait(run: FakeRun) -> None:
    """A wait ends as soon as its event comes; others do not end it."""
    task = asyncio.create_task(wait(run, blocks.NEXT_CHANGED, 600))
    for _ in range(3):
        await asyncio.sleep(0)
        run.monitor.event(CHANGED)
    assert not task.done()
    run.monitor.event(NEXT)
    await asyncio.wait_for(task, TIMEOUT)
    assert run.monitor.take_event(blocks.CHANGED)


async def test_why_no_event_came(run: FakeRun) -> None:
    """The cause is the connection, if it was down, or a permission."""
    assert "iot:Receive on topic/$aws/things/T/jobs/notify" in await wait_in_vain(run)
    run.monitor.connection("reconnecting", "")
    assert await wait_in_vain(run) == "the connection is down"
    asyncio.get_running_loop().call_soon(run.monitor.connection, "connected", "")
    assert "was down meanwhile" in await wait_in_vain(run)
    assert "iot:Receive" in await wait_in_vain(run)


# The device


def seen(
    *entries: dict[str, Any],
    connected: bool = True,
    unacknowledged: int = 0,
    started: float | None = None,
) -> Activity:
    """What the service has seen, an entry a second; ``started`` is when the device was."""
    client = {
        "client_id": "test-device",
        "connected": connected,
        "subscriptions": ["$aws/things/T/jobs/notify-next"],
        "unacknowledged": unacknowledged,
    }
    log = [{"time": float(second), **entry} for second, entry in enumerate(entries, 1)]
    switches = [] if started is None else [Switch(started, "start")]
    return Activity({"clients": [client], "log": log, "wildcards": []}, switches=switches)


CONNECT = {"what": "connect"}


def observations(*activities: Activity) -> waiting.Observe:
    """What the service has seen, asked again and again; the last one stays."""
    left = list(activities)

    async def observe() -> Activity:
        return left.pop(0) if len(left) > 1 else left[0]

    return observe


@pytest.fixture
def observed_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """`expect_device` asks again at once."""
    monkeypatch.setattr(waiting, "_OBSERVE_AGAIN", 0)


@pytest.mark.parametrize(("bound", "seconds"), [("at-least", 600), ("at-most", 0.05)])
@pytest.mark.usefixtures("observed_often")
async def test_a_bound_that_is_kept(bound: str, seconds: float) -> None:
    """A lower bound is awaited and no longer; an upper one may be reached."""
    observe = observations(seen(), seen(CONNECT), seen(CONNECT, CONNECT))
    async with asyncio.timeout(TIMEOUT):
        await waiting.expect_device(observe, "connects", bound, 2, seconds)


@pytest.mark.parametrize(
    ("bound", "seconds", "message"),
    [
        ("at-least", 0, "connects of the device within 0 s: 2; expected: at least 3"),
        ("at-most", 600, "connects of the device within 600 s: 2; expected: at most 1"),
    ],
)
@pytest.mark.usefixtures("observed_often")
async def test_a_bound_that_is_not_kept(bound: str, seconds: float, message: str) -> None:
    """A lower bound fails when the time is up, an upper one at once, with what the device did."""
    observe = observations(seen(CONNECT, CONNECT, {"what": "end", "how": "SIGSEGV"}))
    number = 3 if bound == "at-least" else 1
    with pytest.raises(RequestFailed, match=message) as caught:
        await waiting.expect_device(observe, "connects", bound, number, seconds)
    assert "the device has ended: SIGSEGV" in caught.value.cause
    assert "the last pauses between them: 1.0 s" in caught.value.cause


@pytest.mark.usefixtures("observed_often")
async def test_unacknowledged_messages() -> None:
    """A message may be unacknowledged for a moment: the number counts when the time is up."""
    observe = observations(seen(unacknowledged=1), seen())
    await waiting.expect_device(observe, "unacknowledged", "at-most", 0, 0.05)
    with pytest.raises(RequestFailed, match="unacknowledged of the device within 0 s: 1"):
        await waiting.expect_device(
            observations(seen(unacknowledged=1)), "unacknowledged", "at-most", 0, 0
        )


# Statuses


def execution(status: str, **fields: object) -> Block:
    return Block(blocks.JOB_EXECUTION, {"jobId": "J", "status": status} | fields)


QUEUED, IN_PROGRESS, FAILED = map(execution, ("QUEUED", "IN_PROGRESS", "FAILED"))


def answers(*outcomes: Block | Exception) -> Callable[[], Block]:
    """What the control plane answers, one after another; then the time is up."""
    left = [*outcomes, TimeoutError()]

    def work() -> Block:
        outcome = left.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return work


async def expect(run: FakeRun, status: str, seconds: float = 600) -> Block:
    return await waiting.expect(run.monitor, run.control, "J", status, seconds)


async def failure(run: FakeRun, status: str, seconds: float = 600) -> RequestFailed:
    with pytest.raises(RequestFailed) as caught:
        await expect(run, status, seconds)
    return caught.value


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """`expect` asks again at once."""
    monkeypatch.setattr(waiting, "_ASK_AGAIN", 0)


async def test_it_asks_after_events(run: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks at once, and again after each event, also after one that comes meanwhile."""
    monkeypatch.setattr(waiting, "_ASK_AGAIN", 600)
    run.control.work = answers(QUEUED, IN_PROGRESS, FAILED)
    task = asyncio.create_task(expect(run, "FAILED"))
    asyncio.get_running_loop().call_soon(run.monitor.event, CHANGED)
    await until(lambda: run.monitor.executions.statuses() == {"J": "IN_PROGRESS"})
    await asyncio.sleep(0)
    assert len(run.control.calls) == 2
    run.monitor.event(NEXT)
    assert await asyncio.wait_for(task, TIMEOUT) == FAILED
    assert run.monitor.take_event(blocks.CHANGED)


@pytest.mark.parametrize("outcome", [QUEUED, NONE, LOST])
@pytest.mark.usefixtures("often")
async def test_it_asks_again(run: FakeRun, outcome: Block | RequestFailed) -> None:
    """Without events it asks again after a while, whatever the first answer was."""
    run.control.work = answers(outcome, FAILED)
    assert await expect(run, "FAILED") == FAILED


async def test_a_refusal_is_final(run: FakeRun) -> None:
    """A failure that stays, such as a missing permission, is raised at once."""
    refusal = RequestFailed("access denied")
    run.control.work = answers(refusal)
    assert await failure(run, "FAILED") is refusal


@pytest.mark.parametrize(
    ("status", "details", "cause"),
    [
        ("FAILED", {"detailsMap": {"why": "heiß"}}, "the device reported FAILED (statusDetails: "),
        ("REJECTED", {"why": "heiß"}, '(statusDetails: {"why": "heiß"})'),
        ("TIMED_OUT", None, "a timer ran out before the device reported the end"),
        ("CANCELED", None, "an operator canceled"),
        ("REMOVED", None, "no longer a target"),
    ],
)
async def test_another_end(run: FakeRun, status: str, details: object, cause: str) -> None:
    """An execution that ended in another status fails at once, and its status is recorded."""
    run.control.work = answers(execution(status, statusDetails=details))
    error = await failure(run, "SUCCEEDED")
    assert error.message == f"the execution of J ended as {status}, not SUCCEEDED"
    assert cause in error.cause
    assert "create a new job" in error.next_step
    assert ("the device" in error.next_step) is ("reported" in error.cause)
    assert run.monitor.executions.statuses() == {"J": status}


@pytest.mark.parametrize(
    ("status", "outcomes", "message", "cause"),
    [
        ("FAILED", [QUEUED], "it is QUEUED", "no device has started it"),
        ("FAILED", [QUEUED, IN_PROGRESS], "it is IN_PROGRESS", "still working"),
        ("QUEUED", [IN_PROGRESS], "it is IN_PROGRESS", "the device has started it"),
        ("CANCELED", [QUEUED], "it is QUEUED", "not canceled"),
        ("FAILED", [LOST, NONE], "there is none", "no such job"),
        ("FAILED", [LOST], "not known after 600 s", "lost: the network"),
        ("FAILED", [IN_PROGRESS, LOST], "it was IN_PROGRESS", "lost: the network"),
        ("FAILED", [LOST, QUEUED], "it is QUEUED", "no device has started it"),
    ],
)
@pytest.mark.usefixtures("often")
async def test_too_late(
    run: FakeRun, status: str, outcomes: list[Block | Exception], message: str, cause: str
) -> None:
    """When the time is up, the last answer or failure decides the message and the cause."""
    run.control.work = answers(*outcomes)
    error = await failure(run, status)
    assert message in error.message
    assert cause in error.cause
    assert error.next_step


UPDATE = {"operation": "update", "job_id": "J"}
ASKED = {"what": "request", "operation": "get"}
EVENT = {"what": "event", "name": "notify-next"}
LOSE = {"what": "fault", "kind": "lose", "detail": "get"}
REJECTION = {"outcome": "rejected", "code": "VersionMismatch", "message": "no"}


@pytest.mark.parametrize(
    ("found", "activity", "cause"),
    [
        (QUEUED, Activity({"clients": [], "log": [], "wildcards": []}), "no device has connected"),
        (QUEUED, seen(), "the device has not asked for executions"),
        (QUEUED, seen(connected=False), "the device is not connected"),
        (IN_PROGRESS, seen({"what": "end", "how": "SIGSEGV"}), "the device has ended: SIGSEGV"),
        (QUEUED, seen(ASKED), "the device got no event since it asked for executions "),
        (QUEUED, seen(ASKED, EVENT), "has not asked for executions since it got notify-next, "),
        (IN_PROGRESS, seen(ASKED, LOSE), "the response to its last get was lost "),
        (QUEUED, seen(ASKED, started=2.0), "has not asked for executions since it was started"),
        (
            QUEUED,
            seen({"what": "refused", "action": "iot:Publish", "resource": "topic/x"}),
            "the policy of the device does not allow iot:Publish on topic/x",
        ),
        (IN_PROGRESS, seen(), "the device has sent no update of it"),
        (
            IN_PROGRESS,
            seen({"what": "request", "status": "SUCCEEDED"} | UPDATE),
            "the last update of the device said SUCCEEDED, ",
        ),
        (
            IN_PROGRESS,
            seen(
                {"what": "response"} | UPDATE | REJECTION,
                {"what": "response", "operation": "start-next", "outcome": "accepted"},
            ),
            "the last update of the device was rejected: VersionMismatch: no",
        ),
        (
            IN_PROGRESS,
            seen(
                {"what": "response"} | UPDATE | REJECTION, {"what": "response"} | UPDATE | REJECTION
            ),
            "the last 2 update requests of the device were rejected: VersionMismatch: no",
        ),
        (
            IN_PROGRESS,
            seen(
                {"what": "response", "operation": "describe", "outcome": "rejected"}
                | {"code": "TerminalStateReached"}
            ),
            "the device has sent no update of it",
        ),
    ],
)
@pytest.mark.usefixtures("often")
async def test_what_the_service_knows(
    run: FakeRun, found: Block, activity: Activity, cause: str
) -> None:
    """With --local the cause is what the device did, and what it was refused."""
    run.control.work = answers(found)
    with pytest.raises(RequestFailed) as caught:
        await waiting.expect(
            run.monitor, run.control, "J", "FAILED", 600, observe=observations(activity)
        )
    assert cause in caught.value.cause
    assert "rejected" not in caught.value.cause or "rejected" in cause


async def test_a_service_that_has_ended(run: FakeRun) -> None:
    """Without an answer of the service, the likely causes are named."""

    async def observe() -> Activity:
        raise SandboxError("the local AWS IoT does not answer")

    run.control.work = answers(QUEUED)
    with pytest.raises(RequestFailed) as caught:
        await waiting.expect(run.monitor, run.control, "J", "FAILED", 0.05, observe=observe)
    assert "no device has started it" in caught.value.cause


async def test_no_answer(run: FakeRun) -> None:
    """Without any answer, the control plane explains it."""
    error = await failure(run, "FAILED", 0)
    assert error.cause == "no control plane for 0 s"
    assert "`expect J FAILED <seconds>`" in error.next_step
