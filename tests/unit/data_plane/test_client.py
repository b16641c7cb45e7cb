"""The life of the data plane's connection, against a stand-in for the device SDK."""

import asyncio
import threading
from collections.abc import Callable

import pytest
from awscrt import mqtt5

from jobs_sandbox.core import protocols
from jobs_sandbox.core.blocks import CHANGED, NEXT_CHANGED
from jobs_sandbox.core.errors import StartError
from jobs_sandbox.data_plane import client
from jobs_sandbox.data_plane.client import DataPlane
from tests.unit.data_plane.fakes import HANGUP, FakeSdk, settle

STOPPED = ("stopped", "")
BUSY = mqtt5.ConnackPacket(reason_code=mqtt5.ConnectReasonCode.SERVER_BUSY)


# The start


async def test_connect_and_close(sdk: FakeSdk) -> None:
    """It connects as the settings say, opens both streams, and ends the session when it closes."""
    async with sdk.data_plane(timeout=1.5) as data:
        _: protocols.DataPlane = data
        assert set(sdk.opened) == {CHANGED, NEXT_CHANGED}
    expected = {
        "cert": "cert",
        "key": "key",
        "endpoint": "host",
        "port": 1,
        "ca_filepath": "ca",
        "client_id": "test-1",
        "connack_timeout_ms": 1500,
        "session_behavior": mqtt5.ClientSessionBehaviorType.REJOIN_POST_SUCCESS,
    }
    assert sdk.built.items() >= expected.items()
    assert sdk.built["keep_alive_interval_sec"] + sdk.built["ping_timeout_ms"] / 1000 == 15
    # The session's timer runs out first.
    assert sdk.options.operation_timeout_in_seconds > 2
    assert [packet.session_expiry_interval_sec for packet in sdk.stopped_with] == [0]
    assert sdk.listener.states == [("connected", ""), STOPPED]


async def test_connection_failure(sdk: FakeSdk) -> None:
    """A failure without a CONNACK is explained; the SDK's further attempts are not reported."""
    sdk.on_start = sdk.on_explain = sdk.failed
    with pytest.raises(StartError, match=f"explained '{HANGUP}'"):
        await sdk.data_plane().__aenter__()
    assert len(sdk.stopped_with) == 1
    assert sdk.listener.states == [STOPPED]


@pytest.mark.parametrize("late", [FakeSdk.failed, FakeSdk.connected])
async def test_no_connection_in_time(sdk: FakeSdk, late: Callable[[FakeSdk], None]) -> None:
    """A failure or success of the SDK that comes while its silence is explained starts nothing."""
    sdk.on_start = lambda: None
    sdk.on_explain = lambda: late(sdk)
    with pytest.raises(StartError, match="explained ''"):
        await sdk.data_plane(timeout=0.01).__aenter__()
    assert (sdk.opened, sdk.listener.states) == ([], [STOPPED])


async def test_connack_refuses(sdk: FakeSdk) -> None:
    """A CONNACK's refusal is quoted."""
    sdk.on_start = lambda: sdk.failed(BUSY)
    with pytest.raises(StartError, match="SERVER_BUSY"):
        await sdk.data_plane().__aenter__()


async def test_cancelled_start(sdk: FakeSdk) -> None:
    """A start that is canceled leaves no client behind."""
    sdk.on_start = lambda: None
    start = asyncio.ensure_future(sdk.data_plane().__aenter__())
    await settle()
    start.cancel()
    await asyncio.wait([start])
    assert len(sdk.stopped_with) == 1


# The end


async def test_close_waits_for_the_disconnect(sdk: FakeSdk) -> None:
    """Closing waits until the DISCONNECT has left: else the broker would keep the session."""
    sdk.stops = False
    data = await sdk.data_plane().__aenter__()
    closing = asyncio.ensure_future(data.__aexit__())
    await settle()
    assert not closing.done()
    sdk.stopped()
    await closing


@pytest.mark.parametrize(("up", "patience"), [(True, 0.01), (False, 1000)])
async def test_close_does_not_wait_long(
    sdk: FakeSdk, monkeypatch: pytest.MonkeyPatch, *, up: bool, patience: float
) -> None:
    """Closing waits briefly for a connection that is up, and not at all for one that is down."""
    monkeypatch.setattr(client, "_STOP_TIMEOUT", patience)
    sdk.stops = False
    async with sdk.data_plane():
        if not up:
            sdk.lost()
            await settle()
    sdk.failed()
    await settle()
    assert sdk.listener.states[-1] == STOPPED


def test_callbacks_after_the_loop(sdk: FakeSdk) -> None:
    """The SDK may call back when the loop is closed."""

    async def run() -> None:
        sdk.data_plane()

    asyncio.run(run())
    sdk.arrives(b"{}")
    assert sdk.listener.blocks == []


# Messages and changes


async def test_events(sdk: FakeSdk, data: DataPlane) -> None:
    """A message on a stream's topic is its event, handed over from the SDK's thread."""
    for payload, topic in ((b'{"odd": 1}', "notify"), (None, "notify-next")):
        thread = threading.Thread(target=sdk.arrives, args=(payload, topic))
        thread.start()
        thread.join()
    assert sdk.listener.blocks == []
    await settle()
    event, empty = sdk.listener.blocks
    assert (event.title, event.body, event.note) == (CHANGED, {"odd": 1}, "")
    assert (empty.title, empty.body, empty.payload) == (NEXT_CHANGED, None, b"")


async def test_lost(sdk: FakeSdk, data: DataPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loss, a failed attempt and the return are reported; every connection sends at once."""
    ports: list[int] = []
    monkeypatch.setattr(client, "send_at_once", ports.append)
    sdk.lost(mqtt5.DisconnectPacket(mqtt5.DisconnectReasonCode.SERVER_SHUTTING_DOWN))
    sdk.failed(BUSY)
    sdk.connected()
    await settle()
    lost, failed, restored = sdk.listener.states[1:]
    assert lost == ("reconnecting", "connection lost: SERVER_SHUTTING_DOWN (139)")
    assert failed == ("reconnecting", "cannot reconnect yet: SERVER_BUSY (137)")
    assert restored[0] == "connected"
    assert ports == [1]
