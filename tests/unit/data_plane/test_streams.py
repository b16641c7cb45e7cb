"""The streams' subscriptions: at the start, after a reconnect, and when the broker refuses them."""

import asyncio

import pytest
from awscrt.mqtt_request_response import SubscriptionStatusEventType as Status

from jobs_sandbox.core.blocks import CHANGED, NEXT_CHANGED
from jobs_sandbox.core.errors import StartError
from jobs_sandbox.data_plane.client import DataPlane
from tests.unit.data_plane.fakes import JOBS, FakeSdk, FakeStream, rr_error, settle

NOT_ALLOWED = f"no policy of the certificate allows iot:Subscribe on topicfilter/{JOBS}notify-next"


async def test_start_waits_for_both(sdk: FakeSdk) -> None:
    """The start ends when both subscriptions are established, also if one is lost meanwhile."""
    sdk.on_open = lambda _: None
    start = asyncio.ensure_future(sdk.data_plane().__aenter__())
    await settle()
    sdk.streams[CHANGED].established()
    sdk.streams[CHANGED].status(Status.SUBSCRIPTION_LOST)
    for title in (NEXT_CHANGED, CHANGED):
        await settle()
        assert not start.done()
        sdk.streams[title].established()
    await start
    assert sdk.asked == []


async def test_refused_at_the_start(sdk: FakeSdk) -> None:
    """A stream that is refused at the start names the permission, and ends the connection."""

    def refuse_the_second(stream: FakeStream) -> None:
        if sdk.opened[1:]:
            stream.refused()
        else:
            stream.established()

    sdk.on_open = refuse_the_second
    with pytest.raises(StartError) as refused:
        await sdk.data_plane().__aenter__()
    assert refused.value.cause == NOT_ALLOWED
    assert sdk.listener.warnings == []
    assert len(sdk.stopped_with) == 1


@pytest.mark.parametrize(
    ("lost", "cause"),
    [(False, "a slow network"), (True, "the connection is down")],
)
async def test_no_subscription_in_time(sdk: FakeSdk, *, lost: bool, cause: str) -> None:
    """A stream without a subscription in time ends the start, with the likely cause."""
    sdk.on_open = lambda _: sdk.lost() if lost else None
    with pytest.raises(StartError, match=r"no subscription after 0\.01 s") as late:
        await sdk.data_plane(timeout=0.01).__aenter__()
    assert late.value.cause.startswith(cause)


async def test_session_kept(sdk: FakeSdk, data: DataPlane) -> None:
    """A broker that has kept the session sends what was missed: nothing is asked or opened."""
    sdk.lost()
    sdk.connected()
    await settle()
    assert (sdk.asked, sdk.opened) == ([], [CHANGED, NEXT_CHANGED])


async def test_session_forgotten(sdk: FakeSdk, data: DataPlane) -> None:
    """Else what is pending is asked once, when both are subscribed again, and handed on."""
    sdk.forgotten()
    sdk.streams[CHANGED].established()
    await settle()
    assert sdk.asked == []
    sdk.streams[NEXT_CHANGED].established()
    await settle()
    [(operation, _, _)] = sdk.asked
    assert operation == "get_pending_job_executions"
    sdk.answers("get/accepted", odd=1)
    await settle()
    listener = sdk.listener
    assert [block.body for block in listener.pending] == [{"clientToken": "token-0", "odd": 1}]
    assert (listener.blocks, listener.warnings) == ([], [])


@pytest.mark.parametrize("reason", ["RequestThrottled", "no answer within"])
async def test_catching_up_fails(sdk: FakeSdk, data: DataPlane, reason: str) -> None:
    """When what is pending cannot be found out, a warning says so, and why."""
    sdk.forgotten()
    for stream in sdk.streams.values():
        stream.established()
    await settle()
    if reason == "RequestThrottled":
        sdk.answers("get/rejected", code=reason)
    else:
        sdk.ends(rr_error("TIMEOUT"))
    await settle()
    assert sdk.listener.pending == []
    [warning] = sdk.listener.warnings
    assert "what changed while the connection was down is not known: " in warning
    assert reason in warning


async def test_refused_after_a_reconnect(sdk: FakeSdk, data: DataPlane) -> None:
    """A stream refused after a reconnect names the permission; the next reconnect reopens it."""
    sdk.forgotten()
    sdk.streams[NEXT_CHANGED].refused()
    sdk.streams[CHANGED].established()
    await settle()
    [warning] = sdk.listener.warnings
    assert f"{NOT_ALLOWED}; its events are not shown" in warning
    assert len(sdk.asked) == 1
    sdk.lost()
    sdk.connected()
    await settle()
    assert sdk.opened == [CHANGED, NEXT_CHANGED, NEXT_CHANGED]
    assert len(sdk.asked) == 2
