"""What a session waits for. What it does with that is proven with the session."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from jobs_sandbox.core.blocks import Block
from jobs_sandbox.core.errors import NotFound, RequestFailed, Throttled
from jobs_sandbox.session import waiting as waiting_module
from jobs_sandbox.session.verdict import is_as_expected, too_late
from jobs_sandbox.session.waiting import Waiting
from tests.unit.fakes import TIMEOUT, until

TITLE = "JobExecutionsChangedEvent"


@pytest.fixture
async def waiting() -> Waiting:
    """What a session waits with."""
    return Waiting()


def block(status: str) -> Block:
    return Block("DescribeJobExecutionOutput", {"jobId": "Job1", "status": status})


class Describe:
    """The control plane, asked again and again; each outcome is the answer to one question, the last to all others."""

    def __init__(self, *outcomes: Block | Exception) -> None:
        self._outcomes = list(outcomes)
        self.asked = 0

    async def __call__(self) -> Block:
        self.asked += 1
        outcome = self._outcomes.pop(0) if len(self._outcomes) > 1 else self._outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


async def test_a_status_that_is(waiting: Waiting) -> None:
    """A status that the execution has already is asked for once, though there be no time."""
    describe = Describe(block("QUEUED"))
    assert await waiting.for_status("Job1", "QUEUED", describe, 0) == block("QUEUED")
    assert describe.asked == 1


async def test_an_event_makes_it_ask(waiting: Waiting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every event makes it ask again, at once, and one that comes while it asks, too; none is used up by that."""
    monkeypatch.setattr(waiting_module, "_ASK_AGAIN", 600)
    describe = Describe(block("QUEUED"), block("IN_PROGRESS"), block("SUCCEEDED"))

    async def with_an_event() -> Block:
        if describe.asked == 1:
            waiting.event_arrived(TITLE)
        await asyncio.sleep(0)
        return await describe()

    task = asyncio.create_task(waiting.for_status("Job1", "SUCCEEDED", with_an_event, 600))
    await until(lambda: describe.asked == 1)
    await asyncio.sleep(0.01)
    assert describe.asked == 1
    waiting.event_arrived(TITLE)
    async with asyncio.timeout(TIMEOUT):
        assert await task == block("SUCCEEDED")
    assert waiting._unclaimed[TITLE] == 2


async def test_it_asks_each_second(waiting: Waiting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without events, which a policy may withhold, it asks again after a while, and not all the time."""
    monkeypatch.setattr(waiting_module, "_ASK_AGAIN", 0.05)
    describe = Describe(block("QUEUED"), block("QUEUED"), block("SUCCEEDED"))
    began = time.monotonic()
    await waiting.for_status("Job1", "SUCCEEDED", describe, 600)
    assert time.monotonic() - began >= 0.1
    assert describe.asked == 3


async def test_another_end(waiting: Waiting) -> None:
    """An execution that has ended in another status will not come to this one: a failure at once."""
    with pytest.raises(RequestFailed, match="ended as FAILED, not SUCCEEDED"):
        await waiting.for_status("Job1", "SUCCEEDED", Describe(block("FAILED")), 600)


@pytest.mark.parametrize(
    ("outcome", "seen"),
    [
        (block("IN_PROGRESS"), "it is IN_PROGRESS"),
        (NotFound("no such job"), "there is none"),
        (RequestFailed("the network", uncertain=True), "no answer came"),
        (Throttled("slow down"), "no answer came"),
    ],
)
async def test_a_status_that_is_not(
    waiting: Waiting, monkeypatch: pytest.MonkeyPatch, outcome: Block | Exception, seen: str
) -> None:
    """What it last saw is told when the time is over; no execution yet, no answer, or throttling is waited out."""
    monkeypatch.setattr(waiting_module, "_ASK_AGAIN", 0.01)
    describe = Describe(outcome)
    began = time.monotonic()
    with pytest.raises(
        RequestFailed, match=f"the execution of Job1 is not SUCCEEDED after 0.05 s: {seen}"
    ):
        await waiting.for_status("Job1", "SUCCEEDED", describe, 0.05)
    assert time.monotonic() - began >= 0.05
    assert describe.asked > 1


async def test_what_was_seen_is_kept(waiting: Waiting, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later answer that is lost does not make what was seen before unseen."""
    monkeypatch.setattr(waiting_module, "_ASK_AGAIN", 0.01)
    describe = Describe(block("IN_PROGRESS"), RequestFailed("the network", uncertain=True))
    with pytest.raises(RequestFailed, match="it is IN_PROGRESS"):
        await waiting.for_status("Job1", "SUCCEEDED", describe, 0.05)


async def test_a_failure_that_stays(waiting: Waiting) -> None:
    """What will not be otherwise a moment later, such as a missing permission, is a failure at once."""
    error = RequestFailed("access denied")
    with pytest.raises(RequestFailed) as caught:
        await waiting.for_status("Job1", "SUCCEEDED", Describe(error), 600)
    assert caught.value is error


async def hung(
    waiting: Waiting, seconds: float
) -> tuple["asyncio.Task[Block]", "asyncio.Future[Block]"]:
    """A wait for a status whose question has no answer."""
    future: asyncio.Future[Block] = asyncio.get_running_loop().create_future()
    asked: list[int] = []

    def describe() -> Awaitable[Block]:
        asked.append(1)
        return future

    task = asyncio.create_task(_caught(waiting, describe, seconds))
    await until(lambda: asked)
    return task, future


async def _caught(
    waiting: Waiting, describe: Callable[[], Awaitable[Block]], seconds: float
) -> Block:
    try:
        return await waiting.for_status("Job1", "SUCCEEDED", describe, seconds)
    except KeyboardInterrupt:
        return Block("Interrupted", {})


async def test_a_question_without_an_answer(waiting: Waiting) -> None:
    """A question without an answer is given up when the time is over, and left."""
    task, future = await hung(waiting, 0.05)
    with pytest.raises(RequestFailed, match="no answer came"):
        await task
    assert future.cancelled()


async def test_a_question_is_interrupted(waiting: Waiting) -> None:
    """Ctrl-C does not wait for the answer to a question; nor for the next one."""
    task, future = await hung(waiting, 600)
    waiting.interrupt()
    assert (await task).title == "Interrupted"
    assert future.cancelled()
    waiting.begin(forget_events=False)
    task = asyncio.create_task(_caught(waiting, Describe(block("QUEUED")), 600))
    await asyncio.sleep(0.01)
    waiting.interrupt()
    assert (await task).title == "Interrupted"


async def test_a_flood_of_other_events(waiting: Waiting) -> None:
    """A wait for an event ends in time, though others arrive in every turn of the loop."""

    async def flood() -> None:
        while True:
            waiting.event_arrived("NextJobExecutionChangedEvent")
            await asyncio.sleep(0)

    flooding = asyncio.create_task(flood())
    with pytest.raises(RequestFailed, match=r"no JobExecutionsChangedEvent within 0\.05 s"):
        async with asyncio.timeout(TIMEOUT):
            await waiting.for_event(TITLE, "T", 0.05)
    flooding.cancel()


@pytest.mark.parametrize("forget", [True, False])
async def test_begin(waiting: Waiting, forget: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """A new command knows of earlier events if it is to, and of no earlier interrupt."""
    waiting.event_arrived(TITLE)
    waiting.interrupt()
    waiting.begin(forget_events=forget)
    await waiting.for_seconds(0)
    if forget:
        with pytest.raises(RequestFailed):
            await waiting.for_event(TITLE, "T", 0)
    else:
        await waiting.for_event(TITLE, "T", 0)


@pytest.mark.parametrize("seen", ["QUEUED", "IN_PROGRESS", "", None])
def test_too_late_tells_what_to_do_next(seen: str | None) -> None:
    """Whatever was seen last, the failure says why that may be, and what to do."""
    error = too_late("Job1", "SUCCEEDED", seen, 3)
    assert error.cause
    assert error.next_step
    assert ("`expect Job1 SUCCEEDED <seconds>`" in error.next_step) == (seen != "")
    assert ("`describe-job-execution $next`" in error.next_step) == (seen == "QUEUED")


def test_canceled_without_force() -> None:
    """An execution in progress, though its job is canceled: no time that is given to it makes it CANCELED."""
    assert "unless forced" in too_late("Job1", "CANCELED", "IN_PROGRESS", 3).cause


def test_another_end_tells_what_to_do_next() -> None:
    """An execution that has ended stays so."""
    assert "create a new job" in another_end("FAILED").next_step


def another_end(status: str, **body: object) -> RequestFailed:
    with pytest.raises(RequestFailed) as caught:
        is_as_expected(
            Block("DescribeJobExecutionOutput", {"status": status} | body), "Job1", "SUCCEEDED"
        )
    return caught.value


def test_what_the_device_told() -> None:
    """The device's own words on the end are shown as it wrote them, however the service wraps them."""
    for details in ({"detailsMap": {"why": "zu heiß"}}, {"why": "zu heiß"}):
        assert (
            another_end("FAILED", statusDetails=details).cause
            == 'its statusDetails: {"why": "zu heiß"}'
        )


@pytest.mark.parametrize(
    ("status", "cause", "by_the_device"),
    [
        ("CANCELED", "an operator canceled the job or this execution", False),
        ("REMOVED", "the thing is no target of the job any more", False),
        ("TIMED_OUT", "a timer ran out; its statusDetails: none", True),
        ("REJECTED", "its statusDetails: none", True),
    ],
)
def test_who_ended_it(status: str, cause: str, by_the_device: bool) -> None:  # noqa: FBT001 - a parameter
    """The device is blamed for what a device does."""
    error = another_end(status)
    assert error.cause == cause
    assert ("look at what the device does" in error.next_step) is by_the_device
