"""Faults on the wire of a device, and what the embedded AWS IoT sees of it: by a raw client."""

import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mqtt5
import pytest

from jobs_sandbox import LocalIoT, local_iot
from jobs_sandbox.core.errors import SandboxError
from tests.support.aws.account import Account, Device
from tests.support.drivers.raw_device import RawDevice
from tests.support.waiting import until

THING = "Lamp"


@pytest.fixture(scope="module")
def local() -> Iterator[LocalIoT]:
    """An embedded AWS IoT for this module, whose faults are in no other test's way."""
    with local_iot(THING) as running:
        yield running


@pytest.fixture(autouse=True)
def _no_faults(local: LocalIoT) -> Iterator[None]:
    yield
    local.fault("none")


@pytest.fixture
def device(local: LocalIoT) -> Iterator[RawDevice]:
    """The device under test, whose client id is the thing's name."""
    with connect(local) as device:
        yield device


@pytest.fixture
def job(local: LocalIoT, device: RawDevice, tmp_path: Path) -> Iterator[str]:
    """A job for the device, whose events have come."""
    account = Account(local, tmp_path)
    job = account.create_job(THING)
    assert [device.event()[0], device.event()[0]] == ["notify", "notify-next"]
    yield job
    account.iot.cancel_job(jobId=job, force=True)


def connect(local: LocalIoT, client_id: str = THING, **options: Any) -> RawDevice:
    identity = Device(THING, local.device_cert, local.device_key, "")
    return RawDevice(local, identity, client_id=client_id, **options)


def log(local: LocalIoT, what: str) -> list[dict[str, Any]]:
    """The entries of a kind in the log of the device."""
    return [entry for entry in local.activity()["log"] if entry["what"] == what]


# Connections


def test_disconnect(local: LocalIoT, device: RawDevice) -> None:
    """The connection ends, under MQTT 5 with the reason code."""
    local.fault("disconnect", reason=0x8B)
    assert device._receive(mqtt5.DisconnectPacket).reason_code == 0x8B
    with pytest.raises(ConnectionError):
        device.event()
    until(lambda: not local.activity()["clients"][0]["connected"])
    assert log(local, "disconnect")[-1]["reason"] == "SERVER_INITIATED_DISCONNECT"


def test_take_over(local: LocalIoT, device: RawDevice) -> None:
    """Another client with the same client id ends the connection, with reason code 142."""
    local.fault("take-over")
    assert device._receive(mqtt5.DisconnectPacket).reason_code == 142
    assert log(local, "disconnect")[-1]["reason"] == "DUPLICATE_CLIENTID"


def test_a_fight(local: LocalIoT) -> None:
    """For a while, the other client comes back whenever the device does."""
    local.fault("take-over", THING, seconds=60)
    for _ in range(2):
        with connect(local, listens=False) as device:
            assert device._receive(mqtt5.DisconnectPacket).reason_code == 142


def test_refuse(local: LocalIoT) -> None:
    """New connections are closed, get no CONNACK for a while, or one that says busy."""
    local.fault("refuse", detail="close", seconds=60)
    with pytest.raises(ConnectionError):
        connect(local)
    local.fault("none")
    local.fault("refuse", detail="hold", seconds=0.5)
    began = time.monotonic()
    with pytest.raises(ConnectionError):
        connect(local)
    assert time.monotonic() - began > 0.3
    local.fault("refuse", detail="busy", seconds=60)
    with connect(local, listens=False) as refused:
        assert refused.connack == 0x89
    local.fault("none")
    with connect(local) as device:
        assert device.connack == 0
    assert [entry["detail"] for entry in log(local, "fault")[-3:]] == ["close", "hold", "busy"]


def test_silence(local: LocalIoT, device: RawDevice) -> None:
    """Nothing passes in either direction, and afterwards all of it, in order."""
    local.fault("silence", seconds=1)
    began = time.monotonic()
    assert device.ask("get")[0] == "accepted"
    assert time.monotonic() - began > 0.7
    [response] = log(local, "response")[-1:]
    assert response["time"] - log(local, "connack")[-1]["time"] > 0.9


def test_events_of_a_silence_come_in_order(
    local: LocalIoT, device: RawDevice, tmp_path: Path
) -> None:
    """Events that are held back come in order when the silence ends."""
    local.fault("silence", seconds=60)
    account = Account(local, tmp_path)
    jobs = [account.create_job(THING) for _ in range(3)]
    assert log(local, "event") == []
    local.fault("none")
    events = [device.event()[1] for _ in range(4)]
    lists = [
        [one["jobId"] for one in event["jobs"]["QUEUED"]] for event in events if "jobs" in event
    ]
    assert lists == [jobs[:1], jobs[:2], jobs]
    for each in jobs:
        account.iot.cancel_job(jobId=each)


def test_forget_session(local: LocalIoT) -> None:
    """A persistent session is gone, whether the client is connected or not."""
    local.fault("none")
    for connected in (True, False):
        with connect(local, session=60):
            if connected:
                local.fault("forget-session")
        if not connected:
            local.fault("forget-session", THING)
        with connect(local, session=60) as again:
            assert not again.session_present


@pytest.mark.parametrize(
    ("detail", "reason"),
    [
        ("unknown-ca", "unable to get local issuer|self.signed"),
        ("other-name", "Hostname mismatch"),
        ("expired", "certificate has expired"),
    ],
)
def test_certificate(detail: str, reason: str, local: LocalIoT) -> None:
    """The endpoint shows another certificate from the next handshake on."""
    local.fault("certificate", detail=detail)
    with pytest.raises(ssl.SSLCertVerificationError, match=reason):
        connect(local)
    local.fault("certificate", detail="right")
    with connect(local) as device:
        assert device.connack == 0


# Requests


def test_lose(local: LocalIoT, device: RawDevice, job: str) -> None:
    """The request is carried out, and its response never comes; the next one does."""
    local.fault("lose", detail="update")
    device.publish(f"$aws/things/{THING}/jobs/{job}/update", b'{"status": "IN_PROGRESS"}')
    assert device.events() == []
    assert device.ask(f"{job}/get")[1]["execution"]["status"] == "IN_PROGRESS"
    assert device.ask(f"{job}/update", status="IN_PROGRESS")[0] == "accepted"
    assert local.activity()["clients"][0]["unacknowledged"] == 0


def test_delay(local: LocalIoT, device: RawDevice) -> None:
    """The response comes later."""
    local.fault("delay", detail="start-next", seconds=0.5)
    assert device.ask("start-next")[0] == "accepted"
    request, response = log(local, "request")[-1], log(local, "response")[-1]
    assert request["operation"] == response["operation"] == "start-next"
    assert response["time"] - request["time"] > 0.4


@pytest.mark.parametrize(
    ("operation", "topic", "code"),
    [
        ("get", "get", "RequestThrottled"),
        ("start-next", "start-next", "InternalError"),
        ("describe", "{job}/get", "ResourceNotFound"),
        ("update", "{job}/update", "VersionMismatch"),
    ],
)
def test_reject(  # noqa: PLR0917
    operation: str, topic: str, code: str, local: LocalIoT, device: RawDevice, job: str
) -> None:
    """The request is rejected with the code, as often as is said, and not carried out."""
    local.fault("reject", detail=operation, code=code, times=2)
    for _ in range(2):
        outcome, body = device.ask(topic.format(job=job), status="IN_PROGRESS")
        assert (outcome, body["code"]) == ("rejected", code)
    state = {"status": "QUEUED", "versionNumber": 1}
    assert body.get("executionState") == (state if code == "VersionMismatch" else None)
    assert device.ask("get")[1]["inProgressJobs"] == []
    assert device.ask(topic.format(job=job), status="IN_PROGRESS")[0] == "accepted"
    assert log(local, "response")[-4]["code"] == code


# Events


def create(local: LocalIoT, folder: Path) -> None:
    account = Account(local, folder)
    account.iot.cancel_job(jobId=account.create_job(THING))


def test_events_twice(local: LocalIoT, device: RawDevice, job: str, tmp_path: Path) -> None:
    """An event comes twice."""
    local.fault("events", detail="twice", times=2)
    create(local, tmp_path)
    assert [device.event()[0] for _ in range(4)] == ["notify"] * 4
    assert device.events() == []


def test_events_never(local: LocalIoT, device: RawDevice, job: str, tmp_path: Path) -> None:
    """No event comes, and none is sent again."""
    local.fault("events", detail="never", times=None)
    create(local, tmp_path)
    until(lambda: log(local, "fault")[-1]["detail"] == "never")
    assert device.events() == []
    assert local.activity()["clients"][0]["unacknowledged"] == 0


def test_events_late(local: LocalIoT, device: RawDevice, job: str, tmp_path: Path) -> None:
    """An event comes later."""
    local.fault("events", detail="late", seconds=0.5)
    create(local, tmp_path)
    assert [device.event()[0], device.event()[0]] == ["notify"] * 2
    assert log(local, "event")[-1]["time"] - log(local, "fault")[-1]["time"] > 0.4


def test_events_early(local: LocalIoT, device: RawDevice, tmp_path: Path) -> None:
    """An event comes first, and its execution is in the queue later."""
    local.fault("events", detail="early", seconds=60)
    account = Account(local, tmp_path)
    job = account.create_job(THING)
    assert device.event()[1]["jobs"]["QUEUED"][0]["jobId"] == job
    assert device.ask("get")[1]["queuedJobs"] == []
    assert "execution" not in device.ask("start-next")[1]
    local.fault("none")
    assert device.ask("start-next")[1]["execution"]["jobId"] == job
    account.iot.cancel_job(jobId=job, force=True)


# Packets


def test_withhold(local: LocalIoT, device: RawDevice) -> None:
    """A PUBACK, a SUBACK and a PINGRESP are not sent, once each; the following ones are."""
    topic = f"$aws/things/{THING}/jobs/get"
    publish = mqtt5.PublishPacket(topic, b"{}", qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=999)
    for packet, detail in (
        (publish, "PUBACK"),
        (mqtt5.SubscribePacket(998, [mqtt5.TopicFilter(f"{topic}/+")]), "SUBACK"),
        (mqtt5.PingReqPacket(), "PINGRESP"),
    ):
        local.fault("withhold", detail=detail)
        device._send(packet)
        # It would not accept the acknowledgement of another packet.
        assert device.ask("get")[0] == "accepted"
        assert log(local, "fault")[-1]["detail"] == detail
    device._send(mqtt5.PingReqPacket())
    device._receive(mqtt5.PingRespPacket)
    assert device.subscribe(f"{topic}/accepted") == [1]


# Whom a fault meets, and what is seen


def test_a_fault_is_for_one_client(local: LocalIoT, device: RawDevice) -> None:
    """A fault meets the client id that it names, or the device's certificate, and no other."""
    program = Device(THING, local.cert, local.key, "")
    with (
        RawDevice(local, program, client_id="test-program") as other,
        connect(local, "test-second") as second,
    ):
        local.fault("reject", "test-second", detail="get", code="InternalError", times=None)
        assert second.ask("get")[0] == "rejected"
        assert device.ask("get")[0] == "accepted"
        local.fault("none", "test-second")
        assert second.ask("get")[0] == "accepted"
        local.fault("reject", detail="get", code="InternalError", times=None)
        assert [one.ask("get")[0] for one in (device, second)] == ["rejected"] * 2
        assert other.ask("get")[0] == "accepted"


@pytest.mark.parametrize("kind", ["disconnect", "take-over", "forget-session"])
def test_a_fault_without_a_connection(local: LocalIoT, kind: str) -> None:
    """A fault for a moment fails if the device is not connected, and has no session."""
    with pytest.raises(SandboxError, match="the device is not connected"):
        local.fault(kind, "test-absent")


def test_an_unknown_fault(local: LocalIoT) -> None:
    """A fault that does not exist is refused."""
    with pytest.raises(SandboxError, match="unknown fault: lose everything"):
        local.fault("lose", detail="everything")


def test_activity(local: LocalIoT, job: str, device: RawDevice) -> None:
    """The log has what a device did, and what it was refused, in order."""
    began = time.time()
    with connect(local, "test-seen") as seen:
        seen.subscribe("elsewhere")
        seen.publish("elsewhere", b"{}")
        seen.ask(f"{job}/update", status="CANCELED")
        [state] = local.activity("test-seen")["clients"]
        assert state["connected"]
        assert state["since"] > began - 1
        assert f"$aws/things/{THING}/jobs/notify" in state["subscriptions"]
    with connect(local, "Other", listens=False) as refused:
        assert refused.connack == 135
    until(lambda: not local.activity("test-seen")["clients"][0]["connected"])
    entries = local.activity("test-seen")["log"] + local.activity("Other")["log"]
    facts = [{**entry, "time": 0, "client_id": 0} for entry in entries]
    common = {"time": 0, "client_id": 0}
    action = {"operation": "update", "job_id": job}
    for expected in (
        {"what": "connect", "mqtt": 5, "keep_alive": 0},
        {"what": "connack", "code": 0, "session_present": False},
        {"what": "refused", "action": "iot:Subscribe", "resource": "topicfilter/elsewhere"},
        {"what": "subscribe", "filter": "elsewhere", "code": 135},
        {"what": "refused", "action": "iot:Publish", "resource": "topic/elsewhere"},
        {"what": "request", "status": "CANCELED"} | action,
        {"what": "response", "outcome": "rejected", "code": "InvalidStateTransition"} | action,
        {"what": "disconnect", "reason": "CONNECTION_LOST", "unacknowledged": 0},
        {"what": "refused", "action": "iot:Connect", "resource": "client/Other"},
        {"what": "connack", "code": 135, "session_present": False},
    ):
        found = [fact for fact in facts if (expected | common).items() <= fact.items()]
        assert found, expected
        facts = facts[facts.index(found[0]) + 1 :]


def test_a_malformed_packet(local: LocalIoT) -> None:
    """A packet that is not MQTT ends its connection, and nothing else."""
    context = ssl.create_default_context(cafile=local.ca_file)
    context.load_cert_chain(local.device_cert, local.device_key)
    with (
        socket.create_connection((local.endpoint, local.port)) as plain,
        context.wrap_socket(plain, server_hostname=local.endpoint) as client,
    ):
        client.sendall(b"\x10\x0c\x00\x04MQTT\x05\x02\x00\x3c\xff\xff")
        client.recv(1024)
        assert client.recv(1024) == b""
    with connect(local) as device:
        assert device.connack == 0
