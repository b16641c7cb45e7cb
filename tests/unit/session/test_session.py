"""A session: lines in, answers, events and failures out."""

import asyncio
import gc
import json
import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs_sandbox.commands.command import COMMANDS, parse
from jobs_sandbox.core.blocks import Block
from jobs_sandbox.core.errors import Quit, Rejected, RequestFailed, SandboxError, UsageError
from jobs_sandbox.session import session as session_module
from jobs_sandbox.session.session import Running
from tests.unit.fakes import TIMEOUT, FakeRun, Outcome, Screen, titles, until

PENDING = Block(
    "GetPendingJobExecutionsResponse", {"queuedJobs": [{"jobId": "Job1"}], "inProgressJobs": []}
)
UPDATED = Block("UpdateJobExecutionResult", {"executionState": None})
CHANGED = Block("JobExecutionsChangedEvent", {"jobs": {}})
QUEUED = Block("JobExecutionsChangedEvent", {"jobs": {"QUEUED": [{"jobId": "Job1"}]}})
NEXT = Block("NextJobExecutionChangedEvent", {})
REFUSAL = Rejected(
    {"code": "ResourceNotFound", "message": "no such job", "clientToken": "c"}, b"{}"
)


@pytest.fixture
async def impatient(monkeypatch: pytest.MonkeyPatch, screen: Screen) -> FakeRun:
    """A session that gives up at once on a request that has no answer yet."""
    monkeypatch.setattr(session_module, "_GRACE_TIMEOUT", 0.01)
    return FakeRun(screen, timeout=0)


@pytest.fixture
async def patient(screen: Screen) -> FakeRun:
    """A session that gives up later than any test does."""
    return FakeRun(screen, timeout=600)


def raiser(error: Exception) -> Callable[[], None]:
    def call() -> None:
        raise error

    return call


async def begun(run: FakeRun, line: str) -> "asyncio.Task[None]":
    """A command whose request has been sent."""
    before = len(run.data.requests)
    task = asyncio.create_task(run.session.run(line))
    await until(lambda: len(run.data.requests) > before)
    return task


# Commands


async def test_answer_is_shown(run: FakeRun) -> None:
    """The answer to a command is shown as a response, and what it says is learnt."""
    run.data.outcome = PENDING
    await run.session.run("get-pending-job-executions")
    assert titles(await run.screen.stdout()) == ["GetPendingJobExecutionsResponse"]
    assert run.session.executions.counts() == (1, 0)


async def test_control_plane_answer_is_shown(run: FakeRun) -> None:
    """An answer of the control plane is shown in the same way; the call was made off the event loop."""
    threads: list[threading.Thread] = []
    run.control.work = lambda: threads.append(threading.current_thread())
    run.session.event(QUEUED)
    await run.session.run("delete-job Job1")
    assert titles(await run.screen.stdout()) == ["JobExecutionsChangedEvent", "DeleteJobOutput"]
    assert run.session.executions.job_ids() == {}
    assert threads != [threading.current_thread()]


async def test_an_answer_goes_before_what_follows_it(patient: FakeRun) -> None:
    """An answer is shown when it arrives, before its command wakes: no event that came after it overtakes it."""
    task = await begun(patient, "update-job-execution Job1 FAILED")
    patient.data.requests[0].end(UPDATED)
    patient.session.event(CHANGED)
    patient.session.event(NEXT)
    assert not task.done()
    await task
    shown = titles(await patient.screen.stdout())
    assert shown == [
        "UpdateJobExecutionResult",
        "JobExecutionsChangedEvent",
        "NextJobExecutionChangedEvent",
    ]


async def test_the_control_planes_answer_goes_before_what_follows_it(patient: FakeRun) -> None:
    """The control plane's answers are shown in the order of their arrival, too."""
    loop = asyncio.get_running_loop()
    shown = patient.session.answered

    def answered(*given: object, **late: object) -> None:
        loop.call_soon(patient.session.event, CHANGED)
        shown(*given, **late)  # type: ignore[arg-type]

    patient.session.answered = answered  # type: ignore[method-assign]
    patient.control.work = lambda: [loop.call_soon_threadsafe(patient.session.event, NEXT)].clear()
    await patient.session.run("delete-job Job1")
    await asyncio.sleep(0)
    shown_titles = titles(await patient.screen.stdout())
    assert shown_titles == [
        "NextJobExecutionChangedEvent",
        "DeleteJobOutput",
        "JobExecutionsChangedEvent",
    ]


async def test_update_is_learnt(run: FakeRun) -> None:
    """An accepted update, whose answer names no job, still tells what the execution's status is."""
    run.session.event(CHANGED)
    run.data.outcome = UPDATED
    await run.session.run("update-job-execution Job1 in_progress")
    assert run.session.executions.counts() == (0, 1)


async def test_other_answers_tell_no_status(run: FakeRun) -> None:
    """Only an update's own arguments are taken for a status."""
    run.session.event(CHANGED)
    await run.session.run('create-job QUEUED "IN_PROGRESS"')
    assert run.session.executions.counts() == (0, 0)


async def test_refused_update_is_not_learnt(run: FakeRun) -> None:
    """A rejected update does not teach what it asked for."""
    run.session.event(QUEUED)
    run.data.outcome = Rejected({"code": "InvalidRequest", "message": "no"}, b"")
    with pytest.raises(Rejected):
        await run.session.run("update-job-execution Job1 IN_PROGRESS")
    assert run.session.executions.counts() == (1, 0)


@pytest.mark.parametrize("line", ["", "  ", "# comment"])
async def test_nothing_to_do(run: FakeRun, line: str) -> None:
    """A blank line or a comment does nothing."""
    await run.session.run(line)
    assert (await run.screen.stdout(), await run.screen.stderr(), run.data.calls) == ("", "", [])


async def test_mistake(run: FakeRun) -> None:
    """A line that is no command is raised, with nothing shown or sent."""
    with pytest.raises(UsageError, match="unknown command"):
        await run.session.run("frobnicate")
    assert (await run.screen.stdout(), run.data.calls) == ("", [])


async def test_help(run: FakeRun) -> None:
    """``help`` shows every command."""
    await run.session.run("help")
    shown = await run.screen.stdout()
    assert titles(shown) == ["Help"]
    assert all(f"\n  {command.usage}\n" in shown for command in COMMANDS.values())


@pytest.mark.parametrize("line", ["quit", "exit"])
async def test_quit(run: FakeRun, line: str) -> None:
    """``quit`` and ``exit`` leave."""
    with pytest.raises(Quit):
        await run.session.run(line)


async def test_rejected(run: FakeRun) -> None:
    """A rejection is shown as its own block and raised, so that a script fails; its error, too, names what it says."""
    run.data.outcome = REFUSAL
    with pytest.raises(
        Rejected, match="the service rejected the request: ResourceNotFound: no such job"
    ):
        await run.session.run("describe-job-execution Job1")
    header, rest = (await run.screen.stdout()).split("\n", 1)
    assert header.startswith("─── Service Request Rejected ──")
    assert json.loads(rest) == REFUSAL.body


async def test_a_rejection_has_a_colour_of_its_own() -> None:
    """A rejection, unlike an answer, is told apart at a glance."""
    screen = Screen(colour=True)
    screen.out.isatty = lambda: True  # type: ignore[method-assign]
    run = FakeRun(screen)
    run.data.outcome = REFUSAL
    with pytest.raises(Rejected):
        await run.session.run("describe-job-execution Job1")
    assert (await screen.stdout()).startswith("\x1b[31m─── Service Request Rejected ─")
    run.data.outcome = UPDATED
    await run.session.run("update-job-execution Job1 SUCCEEDED")
    assert "\x1b[31m─── UpdateJobExecutionResult ─" not in await screen.stdout()
    await screen.console.close()


async def test_unreadable_rejection(run: FakeRun) -> None:
    """A rejection that cannot be read is shown as it came."""
    run.data.outcome = Rejected(None, b"\x1bno")
    with pytest.raises(Rejected, match="the answer cannot be parsed"):
        await run.session.run("describe-job-execution Job1")
    assert "\n\\u001bno\n" in await run.screen.stdout()


@pytest.mark.parametrize(
    ("line", "check_with"),
    [
        ("create-job Job1 {}", COMMANDS["create-job"].check_with.format("Job1", "FAILED")),
        (
            "delete-job Job1",
            "`delete-job Job1` again shows: ResourceNotFoundException means that it is gone",
        ),
        (
            "start-next-pending-job-execution",
            "`get-pending-job-executions` shows whether an execution was started",
        ),
        (
            "update-job-execution Job1 FAILED",
            COMMANDS["update-job-execution"].check_with.format("Job1", "FAILED"),
        ),
    ],
)
async def test_uncertain(run: FakeRun, line: str, check_with: str) -> None:
    """A change that may have happened is said to be that, with the command that shows whether it did."""
    error = RequestFailed("lost", cause="the network", next_step="try", uncertain=True)
    error.__cause__ = OSError("the SDK's own")
    run.data.outcome, run.control.work = error, raiser(error)
    with pytest.raises(RequestFailed, match="lost") as caught:
        await run.session.run(line)
    assert (
        caught.value.next_step
        == f"its outcome is unknown, it may have been carried out: {check_with}."
    )
    assert caught.value.cause == "the network"
    assert caught.value.__cause__ is error.__cause__
    assert error.next_step == "try"


@pytest.mark.parametrize(
    ("line", "uncertain"), [("get-pending-job-executions", True), ("delete-job Job1", False)]
)
async def test_certain(run: FakeRun, line: str, uncertain: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Reading again costs nothing, and what certainly failed is not said to be unknown."""
    error = RequestFailed("lost", next_step="try", uncertain=uncertain)
    run.data.outcome, run.control.work = error, raiser(error)
    with pytest.raises(RequestFailed) as caught:
        await run.session.run(line)
    assert caught.value.next_step == "try"


# Answers that come late


async def test_time_out(impatient: FakeRun) -> None:
    """Without an answer in time the command fails, its outcome unknown; the late answer is shown and learnt as such."""
    with pytest.raises(RequestFailed, match=r"no answer within 0 s") as caught:
        await impatient.session.run("update-job-execution Job1 FAILED")
    assert caught.value.next_step.startswith(
        "its outcome is unknown, it may have been carried out: "
    )
    assert await impatient.screen.stdout() == ""
    impatient.data.requests[0].end(UPDATED)
    shown = await impatient.screen.stdout()
    assert titles(shown) == ["UpdateJobExecutionResult"]
    assert "\n(late answer to: update-job-execution Job1)\n" in shown


async def test_late_answer_after_a_failure(run: FakeRun) -> None:
    """The answer to a request that the data plane itself gave up is shown as late as well."""
    run.data.outcome = RequestFailed("no answer within 5 s", uncertain=True)
    with pytest.raises(RequestFailed):
        await run.session.run("get-pending-job-executions")
    run.data.requests[0].end(PENDING)
    assert "\n(late answer to: get-pending-job-executions)\n" in await run.screen.stdout()
    assert run.session.executions.counts() == (1, 0)


async def test_late_rejection(impatient: FakeRun) -> None:
    """A late rejection is shown as such, once."""
    with pytest.raises(RequestFailed, match="no answer"):
        await impatient.session.run("describe-job-execution Job1")
    impatient.data.requests[0].end(REFUSAL)
    await asyncio.sleep(0.01)
    shown = await impatient.screen.stdout()
    assert titles(shown) == ["Service Request Rejected"]
    assert "\n(late answer to: describe-job-execution Job1)\n" in shown
    assert await impatient.screen.stderr() == ""


async def test_late_failure(impatient: FakeRun) -> None:
    """A request that fails after it was given up is told in a line."""
    with pytest.raises(RequestFailed):
        await impatient.session.run("get-pending-job-executions")
    impatient.data.requests[0].end(RequestFailed("it broke"))
    await until(lambda: not impatient.session._tasks)
    assert (
        await impatient.screen.stderr()
        == "`get-pending-job-executions`, no longer waited for: it broke\n"
    )


async def test_late_failure_of_unknown_outcome(impatient: FakeRun) -> None:
    """A change that fails uncertainly after it was given up is not called a failure: how to look is told again."""
    with pytest.raises(RequestFailed):
        await impatient.session.run("update-job-execution Job1 SUCCEEDED")
    impatient.data.requests[0].end(RequestFailed("no word", uncertain=True))
    await until(lambda: not impatient.session._tasks)
    told = await impatient.screen.stderr()
    assert "`update-job-execution Job1`, no longer waited for: no word\n" in told
    assert "  next: its outcome is unknown, it may have been carried out: " in told


async def test_late_failure_after_the_end(impatient: FakeRun) -> None:
    """While the program leaves, what fails for that is no news."""
    with pytest.raises(RequestFailed):
        await impatient.session.run("get-pending-job-executions")
    impatient.session.connection("stopped", "")
    impatient.data.requests[0].end(RequestFailed("stopped"))
    await until(lambda: not impatient.session._tasks)
    assert await impatient.screen.stderr() == ""


async def test_a_command_that_never_ends(impatient: FakeRun) -> None:
    """A command that is still under way when the program ends does so without a word."""
    with pytest.raises(RequestFailed):
        await impatient.session.run("get-pending-job-executions")
    [task] = impatient.session._tasks
    task.cancel()
    await until(lambda: not impatient.session._tasks)
    assert await impatient.screen.stderr() == ""


async def test_late_update_is_learnt(impatient: FakeRun) -> None:
    """An update whose answer comes late counts all the same; one that is rejected late does not."""
    impatient.session.event(QUEUED)
    for _ in range(2):
        with pytest.raises(RequestFailed):
            await impatient.session.run("update-job-execution Job1 IN_PROGRESS")
    impatient.data.requests[0].end(Rejected({"code": "x"}, b""))
    assert impatient.session.executions.counts() == (1, 0)
    impatient.data.requests[1].end(UPDATED)
    assert impatient.session.executions.counts() == (0, 1)


async def test_a_slow_control_plane(impatient: FakeRun) -> None:
    """A control plane that is slower than the timeout is given up in the same way."""
    go = threading.Event()
    impatient.control.work = lambda: [go.wait(TIMEOUT)].clear()
    with pytest.raises(RequestFailed, match="no answer"):
        await impatient.session.run("delete-job Job1")
    go.set()
    await until(lambda: not impatient.session._tasks)
    assert "(late answer to: delete-job Job1)" in await impatient.screen.stdout()


async def test_grace(monkeypatch: pytest.MonkeyPatch, screen: Screen) -> None:
    """The data plane's own timer, which knows the cause, may run out first."""
    run = FakeRun(screen, timeout=0.01)
    asyncio.get_running_loop().call_later(
        0.05, lambda: run.data.requests[0].end(RequestFailed("it knows the cause"))
    )
    with pytest.raises(RequestFailed, match="it knows the cause"):
        await run.session.run("get-pending-job-executions")


async def test_what_failed_explains_nothing(run: FakeRun) -> None:
    """What a command tried, but certainly failed to do, does not explain what changed while the connection was down."""
    run.session.event(CHANGED)
    for uncertain in (True, False):
        run.control.work = raiser(RequestFailed("no", uncertain=uncertain))
        with pytest.raises(RequestFailed):
            await run.session.run("create-job Job1 {}")
        run.session.caught_up(PENDING)
        assert ("MissedChanges" in titles(await run.screen.stdout())) == (not uncertain)
        run.session.event(CHANGED)


# Ctrl-C


async def test_interrupted(patient: FakeRun) -> None:
    """Ctrl-C stops waiting and says so; the answer that comes later is shown as such, whatever was collected."""
    asyncio.get_running_loop().call_later(0.02, patient.session.waiting.interrupt)
    with pytest.raises(KeyboardInterrupt):
        await patient.session.run("update-job-execution Job1 FAILED")
    told = (
        "no longer waiting for `update-job-execution Job1`; its answer will be shown if it comes.\n"
    )
    assert (await patient.screen.stdout(), await patient.screen.stderr()) == ("", told)
    gc.collect()
    patient.data.requests[0].end(UPDATED)
    assert "\n(late answer to: update-job-execution Job1)\n" in await patient.screen.stdout()


@pytest.mark.parametrize(
    ("line", "label"),
    [
        ("wait 600", "wait"),
        ("wait JobExecutionsChangedEvent", "wait"),
        ("expect Job1 FAILED 600", "expect Job1"),
    ],
)
async def test_interrupted_wait(patient: FakeRun, line: str, label: str) -> None:
    """Ctrl-C ends what only waits, and says so; no answer will come of it, and none is promised."""
    asyncio.get_running_loop().call_later(0.02, patient.session.waiting.interrupt)
    with pytest.raises(KeyboardInterrupt):
        await patient.session.run(line)
    assert await patient.screen.stderr() == f"no longer waiting: `{label}` was interrupted.\n"


async def test_an_interrupt_counts_once(run: FakeRun) -> None:
    """Ctrl-C while nothing waits, or again and again, is not the next command's."""
    run.data.outcome = PENDING
    for _ in range(2):
        run.session.waiting.interrupt()
        run.session.waiting.interrupt()
        await run.session.run("get-pending-job-executions")
        await run.session.run("wait 0")
    assert len(titles(await run.screen.stdout())) == 2


async def test_an_interrupt_too_late(patient: FakeRun) -> None:
    """When the answer has come already, Ctrl-C in the same instant does not make it late."""
    task = await begun(patient, "get-pending-job-executions")
    patient.data.requests[0].end(PENDING)
    [handler] = patient.session._tasks
    handler.add_done_callback(lambda _: patient.session.waiting.interrupt())
    await task
    assert "late" not in await patient.screen.stdout()


# Waiting for events


async def test_wait_for_an_event_that_came(impatient: FakeRun) -> None:
    """An event that came already is what ``wait`` waits for, once."""
    impatient.session.event(CHANGED)
    await impatient.session.run("wait JobExecutionsChangedEvent 0")
    with pytest.raises(RequestFailed):
        await impatient.session.run("wait JobExecutionsChangedEvent 0")


async def test_wait_for_two_events(impatient: FakeRun) -> None:
    """Each of two events that came is waited for by itself."""
    impatient.session.event(CHANGED)
    impatient.session.event(CHANGED)
    for _ in range(2):
        await impatient.session.run("wait JobExecutionsChangedEvent 0")
    with pytest.raises(RequestFailed):
        await impatient.session.run("wait JobExecutionsChangedEvent 0")


async def test_wait_for_an_event_to_come(patient: FakeRun) -> None:
    """``wait`` ends as soon as the event comes, and not for another one."""
    task = asyncio.create_task(patient.session.run("wait NextJobExecutionChangedEvent 600"))
    await asyncio.sleep(0.01)
    patient.session.event(CHANGED)
    patient.session.event(CHANGED)
    await asyncio.sleep(0.01)
    assert not task.done()
    patient.session.event(NEXT)
    async with asyncio.timeout(TIMEOUT):
        await task
    assert patient.session.waiting._unclaimed == {
        "JobExecutionsChangedEvent": 2,
        "NextJobExecutionChangedEvent": 0,
    }


async def test_an_answer_ends_the_wait(patient: FakeRun) -> None:
    """An answer ends the wait for it as it comes, long before the time is over."""
    task = await begun(patient, "get-pending-job-executions")
    assert not task.done()
    patient.data.requests[0].end(PENDING)
    async with asyncio.timeout(TIMEOUT):
        await task


async def test_wait_in_vain(impatient: FakeRun) -> None:
    """An event that does not come in time is a failure that names the permission which would explain it."""
    impatient.session.event(NEXT)
    began = time.monotonic()
    with pytest.raises(
        RequestFailed, match=r"no JobExecutionsChangedEvent within 0\.2 s"
    ) as caught:
        await impatient.session.run("wait JobExecutionsChangedEvent 0.2")
    assert time.monotonic() - began >= 0.2
    assert caught.value.cause.endswith("iot:Receive on topic/$aws/things/T/jobs/notify")
    await impatient.session.run("wait NextJobExecutionChangedEvent 0")
    with pytest.raises(RequestFailed) as caught:
        await impatient.session.run("wait NextJobExecutionChangedEvent 0")
    assert caught.value.cause.endswith("iot:Receive on topic/$aws/things/T/jobs/notify-next")


async def test_wait_while_the_connection_is_down(impatient: FakeRun) -> None:
    """While the connection is down, no policy is to blame."""
    impatient.session.connection("reconnecting", "")
    with pytest.raises(RequestFailed, match="no JobExecutionsChangedEvent within 0 s") as caught:
        await impatient.session.run("wait JobExecutionsChangedEvent 0")
    assert (caught.value.cause, "MissedChanges" in caught.value.next_step) == (
        "the connection is down",
        True,
    )


async def test_other_events_do_not_prolong_the_wait(patient: FakeRun) -> None:
    """However many other events come, the time for the one that is waited for is over when it is over."""

    async def publish() -> None:
        while True:
            patient.session.event(CHANGED)
            await asyncio.sleep(0.01)

    publishing = asyncio.create_task(publish())
    with pytest.raises(RequestFailed, match="no NextJobExecutionChangedEvent"):
        async with asyncio.timeout(TIMEOUT):
            await patient.session.run("wait NextJobExecutionChangedEvent 0.1")
    publishing.cancel()


async def test_wait_without_a_timeout(impatient: FakeRun) -> None:
    """Without a timeout of its own, ``wait`` waits as long as a request may take."""
    with pytest.raises(RequestFailed, match="within 0 s"):
        await impatient.session.run("wait JobExecutionsChangedEvent")


async def test_wait_for_seconds(run: FakeRun) -> None:
    """Waiting some seconds never fails, and no event ends it or is used up by it."""
    asyncio.get_running_loop().call_later(0.01, run.session.event, CHANGED)
    began = time.monotonic()
    await run.session.run("wait 0.05")
    assert time.monotonic() - began >= 0.05
    await run.session.run("wait JobExecutionsChangedEvent 0")


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        ("create-job Job1 {}", False),
        ("update-job-execution Job1 FAILED", False),
        ("delete-job Job1", True),
        ("start-next-pending-job-execution", True),
        ("get-pending-job-executions", True),
        ("help", True),
    ],
)
async def test_events_before_a_change(run: FakeRun, line: str, counts: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """An event from before the last command that raises events is not one that this command raised."""
    run.data.outcome = PENDING
    run.session.event(CHANGED)
    await run.session.run(line)
    if counts:
        await run.session.run("wait JobExecutionsChangedEvent 0")
    else:
        with pytest.raises(RequestFailed):
            await run.session.run("wait JobExecutionsChangedEvent 0")


async def test_unreadable_event_ends_no_wait(impatient: FakeRun) -> None:
    """An event that is not what the service documents is shown, and is not the one waited for."""
    impatient.session.event(
        Block("JobExecutionsChangedEvent", None, b"?", "not what AWS IoT Jobs documents")
    )
    assert "\n?\n" in await impatient.screen.stdout()
    with pytest.raises(RequestFailed):
        await impatient.session.run("wait JobExecutionsChangedEvent 0")


# What the data plane sees


@pytest.fixture
async def changes(run: FakeRun) -> list[str]:
    """The states seen at each change."""
    seen: list[str] = []
    run.session.on_change = lambda: seen.append(run.session.state)
    return seen


async def test_event(run: FakeRun, changes: list[str]) -> None:
    """An event is learnt from, shown, and a change."""
    began = time.time()
    assert run.session.last_event == 0
    run.session.event(QUEUED)
    assert began <= run.session.last_event <= time.time()
    assert run.session.executions.counts() == (1, 0)
    assert titles(await run.screen.stdout()) == ["JobExecutionsChangedEvent"]
    assert changes == ["connecting"]


async def test_an_answer_is_a_change(run: FakeRun, changes: list[str]) -> None:
    """An answer may change the counts."""
    run.data.outcome = PENDING
    await run.session.run("get-pending-job-executions")
    assert changes == ["connecting"]


async def test_connection(
    run: FakeRun, changes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state of the connection is kept, with the time it began; a message is told, an empty one is not."""
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    seen = []
    for state, message in (
        ("connected", ""),
        ("reconnecting", "connection lost: x"),
        ("reconnecting", "still down"),
        ("connected", "reconnected after 1 s"),
    ):
        now += 1
        run.session.connection(state, message)
        seen.append((run.session.state, run.session.since))
    monkeypatch.undo()
    assert seen == [("connected", 1), ("reconnecting", 2), ("reconnecting", 2), ("connected", 4)]
    assert changes == ["connected", "reconnecting", "reconnecting", "connected"]
    assert await run.screen.stderr() == "connection lost: x\nstill down\nreconnected after 1 s\n"


async def test_connection_kinds() -> None:
    """A loss is a warning, a reconnect a notice."""
    run = FakeRun(Screen("json"))
    run.session.connection("reconnecting", "lost")
    run.session.connection("connected", "back")
    run.session.warning("careful")
    kinds = [json.loads(line)["type"] for line in (await run.screen.stderr()).splitlines()]
    assert kinds == ["Warning", "Notice", "Warning"]
    await run.screen.console.close()


async def test_caught_up(run: FakeRun, changes: list[str]) -> None:
    """After a reconnect, what changed meanwhile is shown, marked as such, and learnt."""
    run.session.event(
        Block("JobExecutionsChangedEvent", {"jobs": {"IN_PROGRESS": [{"jobId": "Gone"}]}})
    )
    run.session.caught_up(PENDING)
    header, note, body = (await run.screen.stdout()).split("\n\n")[1].split("\n", 2)
    assert header.startswith("─── MissedChanges ──")
    assert note == "(while the connection was down)"
    expected = {"Gone": {"was": "IN_PROGRESS", "now": None}, "Job1": {"was": None, "now": "QUEUED"}}
    assert json.loads(body) == {"jobs": expected}
    assert run.session.executions.counts() == (1, 0)
    assert len(changes) == 2


async def test_caught_up_without_changes(run: FakeRun, changes: list[str]) -> None:
    """Without changes it stays silent."""
    run.session.event(QUEUED)
    before = await run.screen.stdout()
    run.session.caught_up(PENDING)
    assert await run.screen.stdout() == before
    assert len(changes) == 2


async def test_caught_up_from_nothing(run: FakeRun) -> None:
    """When nothing was known before, the note admits that the changes may be older."""
    run.session.caught_up(PENDING)
    assert (
        "(while the connection was down, or before: nothing was known of them)"
        in await run.screen.stdout()
    )


async def test_learn_pending(run: FakeRun, changes: list[str]) -> None:
    """The pending executions can be asked for without a word; so is an answer that comes late."""
    run.session.learn_pending()
    await until(lambda: run.data.requests)
    gc.collect()
    run.data.requests[0].end(PENDING)
    assert run.session.executions.counts() == (1, 0)
    assert changes == ["connecting"]
    assert await run.screen.stdout() == ""


async def test_learn_pending_in_vain(run: FakeRun, changes: list[str]) -> None:
    """When that fails, it is not worth a word either."""
    run.data.outcome = RequestFailed("no")
    run.session.learn_pending()
    await until(lambda: run.data.requests and not run.session._tasks)
    assert run.session.executions.counts() is None
    assert (changes, await run.screen.stdout(), await run.screen.stderr()) == ([], "", "")


# What handlers may ask for besides


def running(run: FakeRun) -> Running:
    invocation = parse("help")
    assert invocation is not None
    return Running(run.session, invocation)


async def test_expect(run: FakeRun) -> None:
    """The status that is expected is asked for from the control plane, off the event loop; what shows it is shown."""
    threads: list[threading.Thread] = []
    run.control.work = lambda: threads.append(threading.current_thread())
    await running(run).expect("Job1", "QUEUED", None)
    assert titles(await run.screen.stdout()) == ["DescribeJobExecutionOutput"]
    assert run.control.calls == [("describe_job_execution", "Job1")]
    assert threads != [threading.current_thread()]


async def test_expect_in_vain(impatient: FakeRun) -> None:
    """Without a timeout of its own, it waits for a status as long as a request may take; it is asked once even so."""
    with pytest.raises(RequestFailed, match="not SUCCEEDED after 0 s"):
        await running(impatient).expect("Job1", "SUCCEEDED", None)
    with pytest.raises(RequestFailed, match=r"not SUCCEEDED after 0\.01 s"):
        await running(impatient).expect("Job1", "SUCCEEDED", 0.01)
    assert await impatient.screen.stdout() == ""


async def test_show_connection(run: FakeRun) -> None:
    """What a second client needs is what the session was given for it."""
    run.session.join = {"endpoint": "host", "command": "jobs-sandbox host"}
    running(run).show_connection()
    assert "\nendpoint: host\njobs-sandbox host\n" in await run.screen.stdout()


class FakeDevice:
    """A device under test; keeps what becomes of it."""

    def __init__(self) -> None:
        self.story: list[str] = []

    async def start(self) -> None:
        self.story.append("start")

    async def stop(self) -> None:
        self.story.append("stop")


async def test_device(run: FakeRun) -> None:
    """The device under test is stopped and started."""
    run.session.device = device = FakeDevice()
    await running(run).stop_device()
    await running(run).start_device()
    assert device.story == ["stop", "start"]


async def test_no_device(run: FakeRun) -> None:
    """Without a device under test it is said how to have one."""
    for command in (running(run).start_device, running(run).stop_device):
        with pytest.raises(UsageError, match="no device under test") as caught:
            await command()
        assert "--device COMMAND" in caught.value.next_step


# Anything at all

words = st.sampled_from(
    [
        *COMMANDS,
        "Job1",
        "$next",
        "a/b",
        "+",
        "#",
        "get",
        "FAILED",
        "failed",
        "{}",
        "file://",
        "[" * 2000,
        "0",
    ]
)
lines = st.lists(words | st.text(st.characters(codec=None), max_size=70), max_size=4).map(" ".join)
outcomes = st.sampled_from([PENDING, Rejected(None, b"\xff"), RequestFailed("x", uncertain=True)])


@given(lines, outcomes)
async def test_any_line(line: str, outcome: Outcome) -> None:
    """Whatever the line, only legal job ids reach a plane, and only errors that are told reach the prompt."""
    run = FakeRun(Screen(), timeout=0)
    run.data.outcome = outcome
    if isinstance(outcome, Exception):
        run.control.work = raiser(outcome)
    try:
        await run.session.run(line)
    except (SandboxError, Quit):
        pass
    finally:
        await run.screen.console.close()
    legal = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
    for operation, *arguments in run.data.calls + run.control.calls:
        job_id = str(arguments[0]) if arguments else "none"
        is_next = (operation, job_id) == ("describe_job_execution", "$next")
        assert is_next or (set(job_id) <= legal and 1 <= len(job_id) <= 64)
        if operation == "update_job_execution":
            assert arguments[1] in ("SUCCEEDED", "IN_PROGRESS", "FAILED", "REJECTED", "CANCELED")
        if operation == "create_job":
            json.loads(str(arguments[1]))
