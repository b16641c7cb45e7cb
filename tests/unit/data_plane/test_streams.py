"""The streams' subscriptions: at the start, after a reconnect, and when the broker refuses them."""

import asyncio

import pytest
from awscrt.exceptions import AwsCrtError
from awscrt.mqtt_request_response import SubscriptionStatusEventType as Status

from jobs_sandbox.core.blocks import CHANGED, NEXT_CHANGED
from jobs_sandbox.core.errors import StartError
from jobs_sandbox.data_plane.client import DataPlane
from tests.unit.data_plane.fakes import (
    JOBS,
    RR,
    SETTINGS,
    FakeListener,
    FakeSdk,
    asynchronous,
    settle,
    started,
)

REFUSED = AwsCrtError(1, RR + "SUBSCRIBE_FAILURE", "words")


async def start_error(listener: FakeListener, seconds: float = 60) -> StartError:
    with pytest.raises(StartError) as raised:
        await DataPlane(SETTINGS._replace(timeout=seconds), listener).__aenter__()
    return raised.value


@asynchronous
async def test_start_waits_for_both(sdk: FakeSdk, listener: FakeListener) -> None:
    """The start has ended when both subscriptions are established, and no sooner."""
    sdk.on_open = lambda _: None
    start = asyncio.ensure_future(DataPlane(SETTINGS, listener).__aenter__())
    for title in (CHANGED, NEXT_CHANGED):
        await settle()
        assert not start.done()
        sdk.streams[title].status(Status.SUBSCRIPTION_ESTABLISHED)
    data = await start
    await data.__aexit__()


@asynchronous
async def test_listeners(sdk: FakeSdk, listener: FakeListener) -> None:
    """Every stream has all three listeners; its messages, readable or not, are shown once and not by these."""
    async with started(listener):
        for stream in sdk.streams.values():
            stream.options.incoming_event_listener(object())
            stream.options.deserialization_failure_listener(object())
        await settle()
        assert listener.events == []


@asynchronous
async def test_refused_at_the_start(sdk: FakeSdk, listener: FakeListener) -> None:
    """A stream that is refused at the start names the permission, and ends the connection; so do both."""
    sdk.on_open = lambda stream: stream.status(Status.SUBSCRIPTION_HALTED, REFUSED)
    error = await start_error(listener)
    assert (
        error.cause
        == f"no policy of the certificate allows iot:Subscribe on topicfilter/{JOBS}notify"
    )
    assert "SUBSCRIBE_FAILURE" in error.message
    assert "policies/device-policy.json" in error.next_step
    assert listener.warnings == []
    assert len(sdk.stopped_with) == 1


@asynchronous
async def test_one_refused_at_the_start(sdk: FakeSdk, listener: FakeListener) -> None:
    """The stream that is named is the one that was refused."""
    sdk.on_open = lambda stream: stream.status(
        *(
            (Status.SUBSCRIPTION_HALTED, REFUSED)
            if stream is sdk.streams.get(NEXT_CHANGED)
            else (Status.SUBSCRIPTION_ESTABLISHED,)
        )
    )
    assert (await start_error(listener)).cause.endswith("/jobs/notify-next")


@pytest.mark.parametrize(
    ("lost", "cause"), [(False, "a slow network"), (True, "the connection is down: hung up")]
)
@asynchronous
async def test_no_subscription_in_time(
    sdk: FakeSdk,
    listener: FakeListener,
    lost: bool,  # noqa: FBT001 - a parameter of the test
    cause: str,
) -> None:
    """A stream without a subscription in time ends the start, with the likely cause."""
    sdk.on_open = lambda _: sdk.lost() if lost else None
    error = await start_error(listener, 0)
    assert error.message == "the JobExecutionsChangedEvent stream has no subscription after 0 s"
    assert error.cause.startswith(cause)
    assert "--timeout" in error.next_step


@asynchronous
async def test_session_forgotten(sdk: FakeSdk, listener: FakeListener) -> None:
    """With the session forgotten, what is pending is asked for once, when both subscriptions are there again."""
    async with started(listener):
        sdk.lost()
        sdk.connected()
        for stream in sdk.streams.values():
            stream.status(Status.SUBSCRIPTION_LOST)
        sdk.streams[CHANGED].status(Status.SUBSCRIPTION_ESTABLISHED)
        await settle()
        assert sdk.asked == []
        sdk.streams[NEXT_CHANGED].status(Status.SUBSCRIPTION_ESTABLISHED)
        sdk.streams[NEXT_CHANGED].status(Status.SUBSCRIPTION_ESTABLISHED)
        await settle()
        assert len(sdk.asked) == 1


@asynchronous
async def test_session_resumed(sdk: FakeSdk, listener: FakeListener) -> None:
    """With the session resumed it is asked for once and at once, and no stream is opened again."""
    async with started(listener):
        sdk.lost()
        sdk.connected(session_present=True)
        await settle()
        assert len(sdk.asked) == 1
        assert {stream.opened for stream in sdk.streams.values()} == {1}


@asynchronous
async def test_refused_after_a_reconnect(sdk: FakeSdk, listener: FakeListener) -> None:
    """A stream refused after a reconnect names the permission and holds nothing up; the next reconnect reopens it."""
    async with started(listener):
        sdk.lost()
        sdk.connected()
        refused = sdk.streams[NEXT_CHANGED]
        refused.status(Status.SUBSCRIPTION_HALTED, REFUSED)
        sdk.streams[CHANGED].status(Status.SUBSCRIPTION_ESTABLISHED)
        await settle()
        [warning] = listener.warnings
        assert warning.startswith(
            "the NextJobExecutionChangedEvent stream was refused its subscription"
        )
        assert (
            f"iot:Subscribe on topicfilter/{JOBS}notify-next; its events are not shown until"
            in warning
        )
        assert len(sdk.asked) == 1
        sdk.lost()
        sdk.connected()
        await settle()
        assert sdk.streams[NEXT_CHANGED] is not refused
        assert sdk.streams[NEXT_CHANGED].opened == 1
        assert sdk.streams[CHANGED].opened == 1


@pytest.mark.parametrize("session_present", [True, False])
@asynchronous
async def test_connection_lost_during_the_start(
    sdk: FakeSdk,
    listener: FakeListener,
    session_present: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """A connection that is lost and restored before the streams are opened, or established, opens none twice."""

    def connect_twice() -> None:
        sdk.connected()
        sdk.lost()
        sdk.connected(session_present=session_present)

    sdk.on_start = connect_twice
    sdk.on_open = lambda _: None
    start = asyncio.ensure_future(DataPlane(SETTINGS, listener).__aenter__())
    await settle()
    sdk.lost()
    sdk.connected(session_present=session_present)
    await settle()
    assert sdk.created == [CHANGED, NEXT_CHANGED]
    for stream in sdk.streams.values():
        stream.status(Status.SUBSCRIPTION_ESTABLISHED)
    await (await start).__aexit__()
