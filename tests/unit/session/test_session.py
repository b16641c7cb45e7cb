"""A session: lines in; answers, events and failures out."""

import asyncio
import gc
import time

import pytest

from jobs_sandbox.core import blocks
from jobs_sandbox.core.blocks import Block
from jobs_sandbox.core.errors import (
    Interrupted,
    Quit,
    Rejected,
    RequestFailed,
    SandboxError,
    UsageError,
)
from tests.unit.fakes import FakeRun, FakeService, until
from tests.unit.session.conftest import FakeOutput

PENDING = Block(blocks.GET_PENDING, {"queuedJobs": [{"jobId": "J"}], "inProgressJobs": []})
UPDATED = Block(blocks.UPDATE, {"executionState": None})
QUEUED = Block(blocks.CHANGED, {"jobs": {"QUEUED": [{"jobId": "J"}]}})
REFUSAL = Rejected({"code": "InvalidRequest", "message": "no"}, b"{}")
LOST = RequestFailed("lost", cause="the network", next_step="try", uncertain=True)

# A request to the data plane.
UPDATE = "update-job-execution J FAILED"


async def begun(run: FakeRun, line: str) -> "asyncio.Task[None]":
    """A command whose request has been sent."""
    task = asyncio.create_task(run.session.run(line))
    await until(lambda: run.data.requests)
    return task


# Answers


async def test_an_answer_is_shown_before_later_events(run: FakeRun, output: FakeOutput) -> None:
    """An answer is shown when it arrives, before its command ends and before later events."""
    task = await begun(run, UPDATE)
    run.data.requests[0].end(UPDATED)
    run.monitor.event(QUEUED)
    assert not task.done()
    await task
    assert output.shown == [("response", UPDATED), ("event", QUEUED)]


async def test_an_answer_of_the_control_plane(run: FakeRun, output: FakeOutput) -> None:
    """It is shown and recorded, too."""
    run.monitor.event(QUEUED)
    await run.session.run("delete-job J")
    assert output.shown[1][1].title == blocks.DELETE_JOB
    assert run.monitor.executions.statuses() == {}


async def test_a_rejection(run: FakeRun, output: FakeOutput) -> None:
    """A rejection is shown as such and raised, and the status is not recorded."""
    run.data.outcome = REFUSAL
    with pytest.raises(Rejected, match="InvalidRequest: no"):
        await run.session.run(UPDATE)
    assert output.shown == [("rejected", Block(blocks.REJECTED, REFUSAL.body, b"{}"))]
    assert run.monitor.executions.statuses() == {}


async def test_lines_without_a_request(run: FakeRun, output: FakeOutput) -> None:
    """A comment does nothing, and `quit` leaves."""
    await run.session.run("# comment")
    with pytest.raises(Quit):
        await run.session.run("quit")
    assert (output.shown, output.reported) == ([], [])


async def test_no_device(run: FakeRun) -> None:
    """Without a device under test, the error says how to have one."""
    with pytest.raises(UsageError) as caught:
        await run.session.run("stop-device")
    assert "--device COMMAND" in caught.value.next_step


# Faults


async def test_faults(output: FakeOutput) -> None:
    """A fault goes to the service; from then on, what the device does is counted anew."""
    service = FakeService()
    run = FakeRun(output, service=service)
    service.log.append({"time": time.time(), "what": "connect"})
    await run.session.run("expect-device connects at-least 1 0")
    await run.session.run("fault reject get InternalError always")
    [(kind, given)] = service.faults
    assert (kind, given["detail"], given["code"], given["times"]) == (
        "reject",
        "get",
        "InternalError",
        None,
    )
    await run.session.run("expect-device connects at-most 0 0")
    await run.session.run("device-activity")
    [(_, block)] = output.shown
    assert block.title == blocks.DEVICE_ACTIVITY
    assert (block.body or {})["connects"] == 0


async def test_a_warning(output: FakeOutput) -> None:
    """A failure after ``should`` is a warning; without it, it is none."""
    run = FakeRun(output, timeout=0, service=FakeService())
    for line, is_warning in (("should expect-device get at-least 1", True), ("frob", False)):
        with pytest.raises(SandboxError) as caught:
            await run.session.run(line)
        assert caught.value.is_warning is is_warning


@pytest.mark.parametrize(
    "line", ["fault none", "device-activity", "expect-device connects at-most 1 0"]
)
async def test_no_service(run: FakeRun, line: str) -> None:
    """Without --local, the error says that it is needed."""
    with pytest.raises(UsageError) as caught:
        await run.session.run(line)
    assert "--local" in caught.value.next_step


# Failures


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (UPDATE, "no UpdateJobExecutionResult for 0 s"),
        ("delete-job J", "no control plane for 0 s"),
    ],
)
async def test_time_out(output: FakeOutput, line: str, message: str) -> None:
    """The plane explains a missing answer."""
    run = FakeRun(output, timeout=0)
    with pytest.raises(RequestFailed, match=message) as caught:
        await run.session.run(line)
    assert "it may have been carried out: `" in caught.value.next_step


@pytest.mark.parametrize(
    ("line", "failure"),
    [("get-pending-job-executions", LOST), (UPDATE, LOST.replace(uncertain=False))],
)
async def test_other_failures(run: FakeRun, line: str, failure: RequestFailed) -> None:
    """A command that changes nothing, or has certainly failed, keeps its own next step."""
    run.data.outcome = failure
    with pytest.raises(RequestFailed) as caught:
        await run.session.run(line)
    assert caught.value.next_step == "try"


# Ctrl-C


async def interrupted(run: FakeRun, line: str = UPDATE) -> None:
    task = await begun(run, line)
    assert run.session.interrupt()
    with pytest.raises(Interrupted):
        await task
    gc.collect()


async def test_a_late_answer(run: FakeRun, output: FakeOutput) -> None:
    """After Ctrl-C the request stays in flight; its answer is shown with a note, and recorded."""
    await interrupted(run)
    run.data.requests[0].end(UPDATED._replace(note="odd"))
    [(_, block)] = output.shown
    assert block.note == "late answer to: update-job-execution J; odd"
    assert run.monitor.executions.statuses() == {"J": "FAILED"}


async def test_a_late_rejection(run: FakeRun, output: FakeOutput) -> None:
    """A late rejection is shown once, as a rejection."""
    await interrupted(run)
    run.data.requests[0].end(REFUSAL)
    await until(lambda: len(asyncio.all_tasks()) == 1)
    [(kind, block)] = output.shown
    assert (kind, block.note) == ("rejected", "late answer to: update-job-execution J")
    assert [kind for kind, _ in output.reported] == ["warning"]


@pytest.mark.parametrize(("seconds", "message"), [(600, "lost"), (0.5, "no Update")])
async def test_a_late_failure(output: FakeOutput, seconds: float, message: str) -> None:
    """A late failure or time-out is reported with its command and how to find out more."""
    run = FakeRun(output, timeout=seconds)
    await interrupted(run)
    if seconds == 600:
        run.data.requests[0].end(LOST)
    await until(lambda: len(output.reported) == 2)
    (_, warning), (kind, error) = output.reported
    assert "`update-job-execution J`" in warning
    assert kind == "error"
    assert f"`update-job-execution J`, no longer waited for: {message}" in error
    assert "; it may have been carried out: " in error


@pytest.mark.parametrize(
    ("line", "label"),
    [
        ("wait 600", "wait"),
        ("wait JobExecutionsChangedEvent", "wait"),
        ("expect J FAILED", "expect J"),
    ],
)
async def test_a_wait_is_interrupted(
    run: FakeRun, output: FakeOutput, line: str, label: str
) -> None:
    """Ctrl-C ends a command that only waits, and promises no answer."""
    task = asyncio.create_task(run.session.run(line))
    await asyncio.sleep(0)
    run.session.interrupt()
    with pytest.raises(Interrupted):
        await task
    assert output.reported == [("warning", f"no longer waiting: `{label}` was interrupted.")]
    await until(lambda: len(asyncio.all_tasks()) == 1)


async def test_an_interrupt_too_late(run: FakeRun, output: FakeOutput) -> None:
    """Ctrl-C without a running command, or together with its answer, changes nothing."""
    assert not run.session.interrupt()
    task = await begun(run, "get-pending-job-executions")
    run.data.requests[0].end(PENDING)
    assert run.session.interrupt()
    assert run.session.interrupt()
    await task
    assert not run.session.interrupt()
    assert output.reported == []


async def test_cancellation(run: FakeRun, output: FakeOutput) -> None:
    """When the program is to end, the command ends, too."""
    task = await begun(run, UPDATE)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(run.data.requests[0].answer.cancelled)
    assert output.reported == []


# Waits, and the counts in the toolbar


@pytest.mark.parametrize(
    ("line", "forgets"),
    [("create-job J {}", True), ("start-next-pending-job-execution", False), ("help", False)],
)
async def test_events_before_a_change(run: FakeRun, line: str, *, forgets: bool) -> None:
    """An event from before a command that causes events is not one that it caused."""
    run.data.outcome = PENDING
    run.monitor.event(QUEUED)
    await run.session.run(line)
    assert run.monitor.take_event(blocks.CHANGED) is not forgets


async def test_waits(output: FakeOutput) -> None:
    """Waits last as long as a request may take, or as long as their own time."""
    run = FakeRun(output, timeout=0)
    for line in ("wait JobExecutionsChangedEvent", "expect J FAILED"):
        with pytest.raises(RequestFailed, match="0 s"):
            await run.session.run(line)
    await run.session.run("wait 0.001")
    await run.session.run("expect J QUEUED 600")
    assert [block.title for _, block in output.shown] == [blocks.JOB_EXECUTION]


async def test_refresh(output: FakeOutput) -> None:
    """The pending executions are asked for silently; a failure or a time-out is silent, too."""
    run = FakeRun(output, timeout=0)
    for outcome in (None, LOST, PENDING):
        run.data.outcome = outcome
        run.session.refresh()
        await until(lambda: len(asyncio.all_tasks()) == 1)
    assert run.monitor.executions.counts() == (1, 0)
    assert (output.shown, output.reported) == ([], [])
