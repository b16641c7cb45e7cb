"""The life of the data plane's connection, against a hand-written stand-in for the device SDK."""

import asyncio
import os
import threading
from pathlib import Path

import pytest
from awscrt import mqtt5
from awscrt.exceptions import AwsCrtError

from jobs_sandbox.core import protocols as planes
from jobs_sandbox.core.blocks import CHANGED, NEXT_CHANGED, Block
from jobs_sandbox.core.errors import StartError
from jobs_sandbox.core.settings import Settings
from jobs_sandbox.data_plane import client
from jobs_sandbox.data_plane.client import DataPlane
from tests.unit.data_plane.fakes import (
    HANGUP,
    SETTINGS,
    FakeListener,
    FakeSdk,
    asynchronous,
    settle,
    started,
)


async def start_error(listener: FakeListener, settings: Settings = SETTINGS) -> StartError:
    """What a start ends in that cannot succeed."""
    with pytest.raises(StartError) as raised:
        await DataPlane(settings, listener).__aenter__()
    assert listener.states[-1] == ("stopped", "")
    return raised.value


# The start


@asynchronous
async def test_connect_and_close(sdk: FakeSdk, listener: FakeListener) -> None:
    """It connects as the settings say, opens both streams, and ends the session on its way out."""
    async with started(listener) as data:
        _: planes.DataPlane = data
        assert sdk.streams.keys() == {CHANGED, NEXT_CHANGED}
        assert {stream.opened for stream in sdk.streams.values()} == {1}
        assert listener.states == [("connected", "")]
    wanted = {
        "cert": "cert",
        "key": SETTINGS.key,
        "endpoint": "host",
        "port": 1,
        "ca_filepath": "ca",
        "client_id": "test-1",
    }
    assert sdk.built.items() >= wanted.items()
    assert sdk.built["connack_timeout_ms"] == 60_000
    assert sdk.built["ping_timeout_ms"] < sdk.built["keep_alive_interval_sec"] * 1000
    assert sdk.built["keep_alive_interval_sec"] + sdk.built["ping_timeout_ms"] / 1000 == 15
    assert sdk.built["session_behavior"] == mqtt5.ClientSessionBehaviorType.REJOIN_POST_SUCCESS
    assert sdk.built["session_expiry_interval_sec"] == 3600
    assert (sdk.built["min_reconnect_delay_ms"], sdk.built["max_reconnect_delay_ms"]) == (500, 2000)
    assert sdk.options.max_streaming_subscriptions == 2
    assert [packet.session_expiry_interval_sec for packet in sdk.stopped_with] == [0]
    assert listener.states == [("connected", ""), ("stopped", "")]


@asynchronous
async def test_home(sdk: FakeSdk, listener: FakeListener, monkeypatch: pytest.MonkeyPatch) -> None:
    """``~`` in the paths of the files is the user's home."""
    home, name = os.path.split(SETTINGS.key)
    monkeypatch.setenv("HOME", home)
    settings = SETTINGS._replace(cert="~/cert", key=f"~/{name}", ca_file="~/ca")
    async with started(listener, settings):
        files = [sdk.built[file] for file in ("cert", "key", "ca_filepath")]
    assert files == [f"{home}/cert", SETTINGS.key, f"{home}/ca"]


@pytest.mark.parametrize(("mode", "warnings"), [(0o600, 0), (0o640, 1), (0o604, 1)])
@asynchronous
async def test_key_that_others_can_read(
    sdk: FakeSdk, listener: FakeListener, tmp_path: Path, mode: int, warnings: int
) -> None:
    """A private key that other users can read is warned of; another is not."""
    key = tmp_path / "key"
    key.touch()
    key.chmod(mode)
    async with started(listener, SETTINGS._replace(key=str(key))):
        assert len(listener.warnings) == warnings


@asynchronous
async def test_timeout_of_the_sdk(sdk: FakeSdk, listener: FakeListener) -> None:
    """The SDK, which counts whole seconds, never gives up on a request before the program does."""
    async with started(listener, SETTINGS._replace(timeout=1.5)):
        assert sdk.options.operation_timeout_in_seconds == 2


@asynchronous
async def test_new_connections_send_at_once(
    sdk: FakeSdk, listener: FakeListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each connection, the first and every other, sends small packets without delay."""
    ports: list[int] = []
    monkeypatch.setattr(client, "send_at_once", ports.append)
    async with started(listener):
        sdk.lost()
        sdk.connected()
        await settle()
    assert ports == [1, 1]


@pytest.mark.parametrize(
    "error", [RuntimeError("34"), OSError("gone"), ValueError("x"), AwsCrtError(1, "N", "m")]
)
@asynchronous
async def test_builder_fails(sdk: FakeSdk, listener: FakeListener, error: Exception) -> None:
    """Settings that the SDK refuses are explained, and there is nothing to stop."""
    sdk.build_error = error
    assert "the certificate file 'cert' cannot be read" in (await start_error(listener)).message
    assert not sdk.stopped_with


@asynchronous
async def test_no_connection_in_time(sdk: FakeSdk, listener: FakeListener) -> None:
    """Without a word of the SDK, the connection is looked into, and the client stopped."""
    sdk.on_start = lambda: None
    error = await start_error(listener, SETTINGS._replace(timeout=0))
    assert error.message == "explained host "
    assert len(sdk.stopped_with) == 1


@pytest.mark.parametrize("word", ["failed", "connected"])
@asynchronous
async def test_words_that_come_too_late(
    sdk: FakeSdk, listener: FakeListener, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    """What the SDK says while the connection is looked into is no news, and starts nothing."""

    async def explain(*_: object) -> StartError:
        getattr(sdk, word)()
        getattr(sdk, word)()
        await settle()
        return StartError("explained")

    monkeypatch.setattr(client, "explain_connection", explain)
    sdk.on_start = lambda: None
    assert (await start_error(listener, SETTINGS._replace(timeout=0))).message == "explained"
    assert listener.states == [("stopped", "")]
    assert (sdk.created, sdk.asked) == ([], [])


@asynchronous
async def test_connection_failure(sdk: FakeSdk, listener: FakeListener) -> None:
    """A failure without a CONNACK is looked into; the SDK's further attempts are not told."""

    def fail_twice() -> None:
        sdk.failed()
        sdk.failed(MemoryError("full"))

    sdk.on_start = fail_twice
    error = await start_error(listener)
    assert error.message == f"explained host {HANGUP}"
    assert listener.states == [("stopped", "")]


@asynchronous
async def test_connack_refuses(sdk: FakeSdk, listener: FakeListener) -> None:
    """A CONNACK's refusal is quoted: there is nothing to look into."""
    sdk.on_start = lambda: sdk.failed(code=mqtt5.ConnectReasonCode.SERVER_BUSY)
    assert "SERVER_BUSY (137)" in (await start_error(listener)).message


@asynchronous
async def test_interrupted_start(sdk: FakeSdk, listener: FakeListener) -> None:
    """A start that is cancelled stops the client."""
    sdk.on_start = lambda: None
    start = asyncio.ensure_future(DataPlane(SETTINGS, listener).__aenter__())
    await settle()
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert len(sdk.stopped_with) == 1


# The end


@asynchronous
async def test_close_waits_for_the_disconnect(
    sdk: FakeSdk, listener: FakeListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leaving waits until the DISCONNECT has left: else the broker would keep the session."""
    monkeypatch.setattr(client, "_STOP_TIMEOUT", 60)
    sdk.stops = False
    data = await DataPlane(SETTINGS, listener).__aenter__()
    closing = asyncio.ensure_future(data.__aexit__())
    await settle()
    assert len(sdk.stopped_with) == 1
    assert not closing.done()
    sdk.stopped()
    await asyncio.wait_for(closing, 30)


@pytest.mark.parametrize("up", [True, False])
@asynchronous
async def test_close_does_not_wait_long(
    sdk: FakeSdk,
    listener: FakeListener,
    monkeypatch: pytest.MonkeyPatch,
    up: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """A client that does not stop is not waited for, at all when it has no connection; its last loss is no news."""
    monkeypatch.setattr(client, "_STOP_TIMEOUT", 0.01 if up else 60)
    sdk.stops = False
    data = await DataPlane(SETTINGS, listener).__aenter__()
    if not up:
        sdk.lost()
        await settle()
    told = [*listener.states, ("stopped", "")]
    await asyncio.wait_for(data.__aexit__(), 30)
    sdk.failed()
    sdk.lost()
    await settle()
    assert listener.states == told


def test_callbacks_after_the_loop(sdk: FakeSdk, listener: FakeListener) -> None:
    """What the SDK calls when the loop is closed disturbs nobody."""

    async def session() -> None:
        async with started(listener):
            pass

    asyncio.run(session())
    told = list(listener.states)
    sdk.lost()
    sdk.arrives(b"{}")
    assert (listener.states, listener.events) == (told, [])


# Messages


@asynchronous
async def test_events(sdk: FakeSdk, listener: FakeListener) -> None:
    """A message on a stream's topic is its event, whatever it holds, in the order of arrival."""
    async with started(listener):
        sdk.arrives(b'{"timestamp": 5, "odd": 1}')
        sdk.arrives(None, "notify-next")
        await settle()
        good, empty = listener.events
        assert good == Block(CHANGED, {"timestamp": 5, "odd": 1}, b'{"timestamp": 5, "odd": 1}')
        assert (empty.title, empty.body, empty.payload) == (NEXT_CHANGED, None, b"")
        assert "not what AWS IoT Jobs documents" in empty.note


@asynchronous
async def test_callbacks_hand_over(sdk: FakeSdk, listener: FakeListener) -> None:
    """Whatever thread the SDK calls on, everything happens on the loop's."""
    async with started(listener):
        for call in (lambda: sdk.arrives(b"{}"), sdk.lost, sdk.failed, sdk.connected):
            thread = threading.Thread(target=call)
            thread.start()
            thread.join()
        assert listener.events == []
        await settle()
        assert len(listener.events) == 1
        assert [state for state, _ in listener.states] == [
            "connected",
            "reconnecting",
            "reconnecting",
            "connected",
        ]
    assert listener.threads == {threading.get_ident()}


# The connection's ups and downs


@asynchronous
async def test_lost(sdk: FakeSdk, listener: FakeListener) -> None:
    """A loss is told with its cause; so are a failed attempt and the return."""
    async with started(listener):
        taken_over = mqtt5.DisconnectPacket(mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER)
        sdk.lost(packet=taken_over)
        sdk.failed(MemoryError("full"))
        sdk.failed(code=mqtt5.ConnectReasonCode.SERVER_BUSY)
        sdk.failed(HANGUP, code=mqtt5.ConnectReasonCode.SUCCESS)
        sdk.connected()
        await settle()
        assert listener.states[1:5] == [
            (
                "reconnecting",
                "connection lost: another client connected with the same client id: SESSION_TAKEN_OVER (142)",
            ),
            ("reconnecting", "cannot reconnect yet: full (MemoryError); trying on"),
            ("reconnecting", "cannot reconnect yet: SERVER_BUSY (137); trying on"),
            (
                "reconnecting",
                "cannot reconnect yet: hung up (AWS_ERROR_MQTT_UNEXPECTED_HANGUP); trying on",
            ),
        ]
        assert listener.states[5][1].startswith("reconnected after ")


@asynchronous
async def test_catching_up(sdk: FakeSdk, listener: FakeListener) -> None:
    """After a reconnect, what is pending is handed on before whatever comes after it."""
    async with started(listener):
        sdk.lost()
        sdk.connected(session_present=True)
        await settle()
        assert [operation for operation, _, _ in sdk.asked] == ["get_pending_job_executions"]
        sdk.answers("get/accepted", odd=1)
        sdk.arrives(b"{}")
        await settle()
        assert [block.body for block in listener.pending] == [
            {"clientToken": "token-0000", "odd": 1}
        ]
        assert len(listener.events) == 1
        assert listener.warnings == []


@asynchronous
async def test_catching_up_in_vain(sdk: FakeSdk, listener: FakeListener) -> None:
    """When what is pending cannot be learnt, that is said; an answer that comes after all is taken."""
    async with started(listener):
        sdk.lost()
        sdk.connected(session_present=True)
        await settle()
        sdk.fails("TIMEOUT")
        await settle()
        assert listener.warnings == [
            "what changed while the connection was down is not known: no answer within 60 s"
        ]
        sdk.answers("get/accepted")
        await settle()
        assert len(listener.pending) == 1


@asynchronous
async def test_catching_up_refused(sdk: FakeSdk, listener: FakeListener) -> None:
    """A rejection is not what is pending."""
    async with started(listener):
        sdk.lost()
        sdk.connected(session_present=True)
        await settle()
        sdk.answers("get/rejected", code="RequestThrottled", message="slow down")
        await settle()
        assert listener.pending == []
        [warning] = listener.warnings
        assert warning.startswith(
            "what changed while the connection was down is not known: the service rejected the "
        )
        assert warning.endswith("RequestThrottled: slow down")
