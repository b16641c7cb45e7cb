"""The data plane against a hand-written stand-in for the device SDK."""

import json
from collections.abc import Callable
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from awscrt import mqtt5
from awscrt.exceptions import AwsCrtError
from awscrt.mqtt_request_response import SubscriptionStatusEventType as Status
from awsiot import V2DeserializationFailure, V2ServiceException, iotjobs, mqtt5_client_builder

from jobs_sandbox.blocks import CHANGED, NEXT_CHANGED, REJECTED, Block, Pending
from jobs_sandbox.data_plane import client as data_plane
from jobs_sandbox.data_plane.client import DataPlane
from jobs_sandbox.errors import Rejected, RequestFailed, StartError
from jobs_sandbox.settings import Settings

SETTINGS = Settings("host", "cert", "key", "region", "Thing", "test-1", port=1, ca_file="ca", timeout=1)
JOBS = "$aws/things/Thing/jobs/"
RR = "AWS_ERROR_MQTT_REQUEST_RESPONSE_"
HANGUP = AwsCrtError(5, "AWS_ERROR_MQTT_UNEXPECTED_HANGUP", "hung up")


class FakeSink:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[Block] = []
        self.late: list[tuple[Block, Pending]] = []
        self.pending: list[Block] = []
        self.states: list[tuple[str, str]] = []
        self.warnings: list[str] = []

    def event(self, answer: Block) -> None:
        self.events.append(answer)

    def late_answer(self, answer: Block, request: Pending) -> None:
        self.late.append((answer, request))

    def caught_up(self, pending: Block) -> None:
        self.pending.append(pending)

    def connection(self, state: str, message: str) -> None:
        self.states.append((state, message))

    def warning(self, message: str) -> None:
        self.warnings.append(message)


class FakeStream:
    """Keeps its listeners."""

    def __init__(self, options: Any) -> None:
        self.options = options
        self.opened = 0

    def open(self) -> None:
        self.opened += 1

    def status(self, kind: Status, error: Exception | None = None) -> None:
        self.options.subscription_status_listener(SimpleNamespace(type=int(kind), error=error))


class FakeSdk:
    """The MQTT client and the Jobs client in one; `on_start` and `on_open` are what happens by itself."""

    def __init__(self) -> None:
        self.built: dict[str, Any] = {}
        self.options: Any = None
        self.stopped_with: list[Any] = []
        self.subscribed: list[str] = []
        self.unsubscribed: list[str] = []
        self.streams: dict[str, FakeStream] = {}
        self.asked: list[tuple[str, Any, Future[Any]]] = []
        self.build_error: Exception | None = None
        self.send_error: Exception | None = None
        self.answer_at_once: Any = None
        self.on_start: Callable[[], None] = self.connected
        self.on_open: Callable[[FakeStream], None] = lambda stream: stream.status(Status.SUBSCRIPTION_ESTABLISHED)
        self.stops = True

    # The builder and the MQTT client

    def build(self, cert: str, key: str, **options: Any) -> "FakeSdk":
        if self.build_error:
            raise self.build_error
        self.built = options | {"cert": cert, "key": key}
        return self

    def jobs_client(self, mqtt: "FakeSdk", options: Any) -> "FakeSdk":
        assert mqtt is self
        self.options = options
        return self

    def start(self) -> None:
        self.on_start()

    def stop(self, packet: Any) -> None:
        self.stopped_with.append(packet)
        if self.stops:
            self.built["on_lifecycle_stopped"](None)

    def subscribe(self, packet: Any) -> None:
        self.subscribed += [subscription.topic_filter for subscription in packet.subscriptions]

    def unsubscribe(self, packet: Any) -> None:
        self.unsubscribed += packet.topic_filters

    # The Jobs client

    def create_job_executions_changed_stream(self, request: Any, options: Any) -> FakeStream:
        assert isinstance(request, iotjobs.JobExecutionsChangedSubscriptionRequest)
        return self._stream(CHANGED, request, options)

    def create_next_job_execution_changed_stream(self, request: Any, options: Any) -> FakeStream:
        assert isinstance(request, iotjobs.NextJobExecutionChangedSubscriptionRequest)
        return self._stream(NEXT_CHANGED, request, options)

    def _stream(self, title: str, request: Any, options: Any) -> FakeStream:
        assert request.thing_name == "Thing"
        options._validate()
        stream = self.streams[title] = FakeStream(options)
        real_open = stream.open

        def open_and_more() -> None:
            real_open()
            self.on_open(stream)

        stream.open = open_and_more  # type: ignore[method-assign]
        return stream

    def get_pending_job_executions(self, request: Any) -> "Future[Any]":
        return self._ask("get_pending_job_executions", request)

    def start_next_pending_job_execution(self, request: Any) -> "Future[Any]":
        return self._ask("start_next_pending_job_execution", request)

    def describe_job_execution(self, request: Any) -> "Future[Any]":
        return self._ask("describe_job_execution", request)

    def update_job_execution(self, request: Any) -> "Future[Any]":
        return self._ask("update_job_execution", request)

    def _ask(self, operation: str, request: Any) -> "Future[Any]":
        if self.send_error:
            raise self.send_error
        request.client_token = f"token-{len(self.asked)}"
        answered: Future[Any] = Future()
        self.asked.append((operation, request, answered))
        if self.answer_at_once is not None:
            answered.set_result(self.answer_at_once)
        return answered

    # What happens

    def connected(self, *, session_present: bool = False) -> None:
        connack = SimpleNamespace(session_present=session_present)
        self.built["on_lifecycle_connection_success"](SimpleNamespace(connack_packet=connack))

    def failed(self, error: Exception = HANGUP, code: int | None = None) -> None:
        connack = None if code is None else mqtt5.ConnackPacket(reason_code=mqtt5.ConnectReasonCode(code))
        self.built["on_lifecycle_connection_failure"](SimpleNamespace(exception=error, connack_packet=connack))

    def lost(self, error: Exception = HANGUP, packet: mqtt5.DisconnectPacket | None = None) -> None:
        self.built["on_lifecycle_disconnection"](SimpleNamespace(exception=error, disconnect_packet=packet))

    def arrives(self, payload: bytes | None, topic: str = "notify") -> None:
        packet = SimpleNamespace(payload=payload, topic=JOBS + topic)
        self.built["on_publish_received"](SimpleNamespace(publish_packet=packet))

    def fails(self, name: str, number: int = -1) -> None:
        error = AwsCrtError(1, RR + name, "words")
        self.asked[number][2].set_exception(V2ServiceException("failure", error, None))


@pytest.fixture
def sdk(monkeypatch: pytest.MonkeyPatch) -> FakeSdk:
    fake = FakeSdk()
    monkeypatch.setattr(mqtt5_client_builder, "mtls_from_path", fake.build)
    monkeypatch.setattr(iotjobs, "IotJobsClientV2", fake.jobs_client)
    monkeypatch.setattr(
        data_plane, "explain_connection", lambda settings, word: StartError(f"explained {settings.endpoint} {word}")
    )
    monkeypatch.setattr(data_plane, "_STOP_TIMEOUT", 0.01)
    return fake


@pytest.fixture
def listener() -> FakeSink:
    return FakeSink()


@pytest.fixture
def data(sdk: FakeSdk, listener: FakeSink) -> DataPlane:
    return DataPlane(SETTINGS, listener).__enter__()


def failure(pending: Pending) -> Any:
    error = pending.exception(0)
    assert isinstance(error, RequestFailed)
    return error


# Connecting and leaving


def test_connect_and_close(sdk: FakeSdk, listener: FakeSink) -> None:
    """It connects as the settings say, opens both streams with all listeners, and ends the session on its way out."""
    with DataPlane(SETTINGS, listener):
        assert {stream.opened for stream in sdk.streams.values()} == {1}
        assert sdk.streams.keys() == {CHANGED, NEXT_CHANGED}
        for stream in sdk.streams.values():
            assert stream.options.incoming_event_listener is not None
            assert stream.options.subscription_status_listener is not None
            assert stream.options.deserialization_failure_listener is not None
    wanted = {"cert": "cert", "key": "key", "endpoint": "host", "port": 1, "ca_filepath": "ca", "client_id": "test-1"}
    assert sdk.built.items() >= wanted.items()
    assert sdk.built["connack_timeout_ms"] == 1000
    assert sdk.built["ping_timeout_ms"] < sdk.built["keep_alive_interval_sec"] * 1000
    assert sdk.built["keep_alive_interval_sec"] + sdk.built["ping_timeout_ms"] / 1000 == 15
    assert sdk.options.operation_timeout_in_seconds == 1
    assert [packet.session_expiry_interval_sec for packet in sdk.stopped_with] == [0]
    assert listener.states == [("connected", ""), ("stopped", "")]


@pytest.mark.parametrize("up", [True, False])
def test_close_does_not_wait_long(sdk: FakeSdk, listener: FakeSink, up: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """A client that does not stop is not waited for, and its last loss is no news."""
    sdk.stops = False
    with DataPlane(SETTINGS, listener):
        if not up:
            sdk.lost()
    told = len(listener.states)
    sdk.failed()
    sdk.lost()
    assert len(listener.states) == told


@pytest.mark.parametrize("error", [RuntimeError("34"), OSError("gone"), ValueError("x"), AwsCrtError(1, "N", "m")])
def test_builder_fails(sdk: FakeSdk, listener: FakeSink, error: Exception) -> None:
    """Files that the SDK cannot use are a StartError, and there is nothing to stop."""
    sdk.build_error = error
    with pytest.raises(StartError, match="cannot use the certificate, key or endpoint"):
        DataPlane(SETTINGS, listener).__enter__()
    assert not sdk.stopped_with


def test_no_connection_in_time(sdk: FakeSdk, listener: FakeSink) -> None:
    """Without a word of the SDK, the connection is looked into, and the client stopped."""
    sdk.on_start = lambda: None
    with pytest.raises(StartError, match=r"explained host $"):
        DataPlane(SETTINGS._replace(timeout=0), listener).__enter__()
    assert len(sdk.stopped_with) == 1


def test_connection_failure(sdk: FakeSdk, listener: FakeSink) -> None:
    """A failure without a CONNACK is looked into; the SDK's further attempts are not told."""

    def fail_twice() -> None:
        sdk.failed()
        sdk.failed()

    sdk.on_start = fail_twice
    with pytest.raises(StartError, match="explained host AWS_ERROR_MQTT_UNEXPECTED_HANGUP"):
        DataPlane(SETTINGS, listener).__enter__()
    assert listener.states == [("stopped", "")]


@pytest.mark.parametrize(
    ("code", "what", "cause"),
    [
        (135, "NOT_AUTHORIZED (135)", "iot:Connect on client/test-1"),
        (137, "SERVER_BUSY (137)", ""),
    ],
)
def test_connack_refuses(sdk: FakeSdk, listener: FakeSink, code: int, what: str, cause: str) -> None:
    """A CONNACK's refusal is quoted, and one for want of a permission names it."""
    sdk.on_start = lambda: sdk.failed(code=code)
    with pytest.raises(StartError) as raised:
        DataPlane(SETTINGS, listener).__enter__()
    assert what in raised.value.message
    assert cause in raised.value.cause


def test_subscription_refused_at_the_start(sdk: FakeSdk, listener: FakeSink) -> None:
    """A stream that is refused at the start names the permission, and ends the connection."""
    error = AwsCrtError(1, RR + "SUBSCRIBE_FAILURE", "words")
    sdk.on_open = lambda stream: stream.status(Status.SUBSCRIPTION_HALTED, error)
    with pytest.raises(StartError) as raised:
        DataPlane(SETTINGS, listener).__enter__()
    assert "iot:Subscribe on topicfilter/$aws/things/Thing/jobs/notify" in raised.value.cause
    assert "SUBSCRIBE_FAILURE" in raised.value.message
    assert len(sdk.stopped_with) == 1


@pytest.mark.parametrize(("lost", "cause"), [(False, "a slow network"), (True, "the connection was lost meanwhile")])
def test_no_subscription_in_time(sdk: FakeSdk, listener: FakeSink, lost: bool, cause: str) -> None:  # noqa: FBT001
    """A stream without a subscription in time ends the start, with the likely cause."""
    sdk.on_open = lambda _: sdk.lost() if lost else None
    with pytest.raises(StartError, match="has no subscription after 0 s") as raised:
        DataPlane(SETTINGS._replace(timeout=0), listener).__enter__()
    assert raised.value.cause.startswith(cause)


# Events


def test_events_are_paired_with_their_bytes(data: DataPlane, sdk: FakeSdk, listener: FakeSink) -> None:
    """An event is shown with the fields that the SDK's model drops."""
    payload = b'{"timestamp": 5, "odd": 1}'
    event = iotjobs.JobExecutionsChangedEvent.from_payload(json.loads(payload))
    sdk.streams[CHANGED].options.incoming_event_listener(event)
    assert listener.events == []
    sdk.arrives(payload)
    assert listener.events == [Block(CHANGED, {"timestamp": 5, "odd": 1}, payload)]


def test_event_without_its_bytes(data: DataPlane, sdk: FakeSdk, listener: FakeSink) -> None:
    """An event whose bytes never came is shown as the model has it, once the next one comes."""
    arrives = sdk.streams[NEXT_CHANGED].options.incoming_event_listener
    arrives(iotjobs.NextJobExecutionChangedEvent(timestamp=None))
    arrives(iotjobs.NextJobExecutionChangedEvent(timestamp=None))
    assert listener.events == [Block(NEXT_CHANGED, {}, b"")]
    sdk.arrives(None)
    assert listener.events == [Block(NEXT_CHANGED, {}, b"")] * 2


@pytest.mark.parametrize("payload", [b"nonsense", None])
def test_unreadable_event(data: DataPlane, sdk: FakeSdk, listener: FakeSink, payload: bytes | None) -> None:
    """A payload that the SDK cannot read is shown as it came, with the reason, and its bytes are nobody else's."""
    failed = V2DeserializationFailure("failure", TypeError("odd"), payload)
    sdk.streams[CHANGED].options.deserialization_failure_listener(failed)
    sdk.arrives(payload)
    [event] = listener.events
    assert (event.title, event.body, event.payload) == (CHANGED, None, payload or b"")
    assert "TypeError: odd" in event.note


# Requests


REQUESTS: dict[str, tuple[Callable[[DataPlane], Pending], str, str, str, str]] = {
    "get_pending_job_executions": (
        lambda data: data.get_pending_job_executions(),
        "GetPendingJobExecutionsResponse",
        "GetPendingJobExecutionsRequest",
        "get",
        "get",
    ),
    "start_next_pending_job_execution": (
        lambda data: data.start_next_pending_job_execution(),
        "StartNextJobExecutionResponse",
        "StartNextPendingJobExecutionRequest",
        "start-next",
        "start-next",
    ),
    "describe_job_execution": (
        lambda data: data.describe_job_execution("Job1"),
        "DescribeJobExecutionResponse",
        "DescribeJobExecutionRequest",
        "Job1/get",
        "*/get",
    ),
    "update_job_execution": (
        lambda data: data.update_job_execution("Job1", "FAILED"),
        "UpdateJobExecutionResult",
        "UpdateJobExecutionRequest",
        "Job1/update",
        "*/update",
    ),
}
every_request = pytest.mark.parametrize("operation", REQUESTS)


@every_request
def test_requests(data: DataPlane, sdk: FakeSdk, operation: str) -> None:
    """Each request is the SDK's operation of that name, and its answer carries the title of the spec."""
    ask, title, shape, _, _ = REQUESTS[operation]
    pending = ask(data)
    [(called, request, answered)] = sdk.asked
    assert (called, type(request).__name__, request.thing_name) == (operation, shape, "Thing")
    assert getattr(request, "job_id", "Job1") == "Job1"
    assert getattr(request, "status", "FAILED") == "FAILED"
    answered.set_result(iotjobs.DescribeJobExecutionResponse(client_token="token-0"))
    assert not pending.done()
    sdk.arrives(b'{"clientToken": "token-0", "odd": 1}', "any/accepted")
    assert pending.result(0) == Block(
        title, {"clientToken": "token-0", "odd": 1}, b'{"clientToken": "token-0", "odd": 1}'
    )


def test_answer_before_its_callback(data: DataPlane, sdk: FakeSdk) -> None:
    """An answer that is there before anybody listens is paired with its own bytes."""
    sdk.answer_at_once = iotjobs.GetPendingJobExecutionsResponse()
    pending = data.get_pending_job_executions()
    sdk.arrives(b'{"odd": 1}', "get/accepted")
    assert pending.result(0).body == {"odd": 1}


def test_rejected(data: DataPlane, sdk: FakeSdk) -> None:
    """A rejection carries all that the service said."""
    pending = data.get_pending_job_executions()
    error = iotjobs.V2ErrorResponse(code="InvalidRequest", message="no")
    sdk.asked[0][2].set_exception(V2ServiceException("failure", None, error))
    sdk.arrives(b'{"code": "InvalidRequest", "message": "no", "odd": 1}', "get/rejected")
    rejected = pending.exception(0)
    assert isinstance(rejected, Rejected)
    assert rejected.body == {"code": "InvalidRequest", "message": "no", "odd": 1}


def test_unreadable_answer(data: DataPlane, sdk: FakeSdk) -> None:
    """An answer of wrong types is shown as it came, with the reason."""
    pending = data.get_pending_job_executions()
    sdk.asked[0][2].set_exception(V2ServiceException("failure", TypeError("odd"), None))
    sdk.arrives(b'{"timestamp": "now"}', "get/accepted")
    assert pending.result(0).body == {"timestamp": "now"}
    assert "TypeError: odd" in pending.result(0).note


@pytest.mark.parametrize("error", [ValueError("x"), RuntimeError("x"), AwsCrtError(1, "N", "m")])
def test_refused_by_the_sdk(data: DataPlane, sdk: FakeSdk, error: Exception) -> None:
    """A request that the SDK does not take has failed, certainly."""
    sdk.send_error = error
    refused = failure(data.get_pending_job_executions())
    assert "the device SDK refused the request" in refused.message
    assert not refused.uncertain


@every_request
def test_timed_out(data: DataPlane, sdk: FakeSdk, listener: FakeSink, operation: str) -> None:
    """A time-out is uncertain and lists what would explain it; the answer is still listened for, and shown late."""
    ask, title, _, topic, policy_topic = REQUESTS[operation]
    pending = ask(data)
    sdk.fails("TIMEOUT")
    timed_out = failure(pending)
    assert timed_out.message == "no answer within 1 s"
    assert timed_out.uncertain
    assert f"iot:Receive on topic/{JOBS}{policy_topic}/* (the answer)" in timed_out.cause
    assert f"iot:Publish on topic/{JOBS}{policy_topic} (the request)" in timed_out.cause
    assert sdk.subscribed == [f"{JOBS}{topic}/accepted", f"{JOBS}{topic}/rejected"]
    sdk.arrives(b'{"clientToken": "token-0"}', f"{topic}/accepted")
    sdk.arrives(b'{"clientToken": "token-0"}', f"{topic}/accepted")  # QoS 1: duplicates happen
    assert listener.late == [(Block(title, {"clientToken": "token-0"}, b'{"clientToken": "token-0"}'), pending)]
    assert sdk.unsubscribed == sdk.subscribed


def test_late_rejection(data: DataPlane, sdk: FakeSdk, listener: FakeSink) -> None:
    """A late rejection is one; the other requests to that topic are still listened for."""
    data.get_pending_job_executions()
    data.get_pending_job_executions()
    sdk.fails("TIMEOUT", 0)
    sdk.fails("TIMEOUT", 1)
    sdk.arrives(b'{"clientToken": "token-0"}', "get/rejected")
    assert [answer.title for answer, _ in listener.late] == [REJECTED]
    assert sdk.unsubscribed == []


def test_unanswered_requests_are_forgotten(data: DataPlane, sdk: FakeSdk, listener: FakeSink) -> None:
    """Of many requests without an answer, only the latest are listened for."""
    for number in range(15):
        data.describe_job_execution(f"Job{number}")
        sdk.fails("TIMEOUT")
    assert sdk.unsubscribed == sdk.subscribed[:10]
    sdk.arrives(b'{"clientToken": "token-4"}', "Job4/get/accepted")
    assert listener.late == []
    sdk.arrives(b'{"clientToken": "token-5"}', "Job5/get/accepted")
    assert len(listener.late) == 1


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("PUBLISH_FAILURE", f"iot:Publish on topic/{JOBS}*/update"),
        ("SUBSCRIBE_FAILURE", f"iot:Subscribe on topicfilter/{JOBS}*/update/*"),
    ],
)
def test_not_permitted(data: DataPlane, sdk: FakeSdk, name: str, missing: str) -> None:
    """A refused publish or subscription names the permission, and is certain."""
    pending = data.update_job_execution("Job1", "FAILED")
    sdk.fails(name)
    refused = failure(pending)
    assert refused.cause == f"no policy of the certificate allows {missing}"
    assert not refused.uncertain
    assert sdk.subscribed == []


def test_other_failure(data: DataPlane, sdk: FakeSdk) -> None:
    """Any other failure of the SDK is quoted, and uncertain."""
    pending = data.get_pending_job_executions()
    sdk.fails("CLIENT_SHUT_DOWN")
    assert failure(pending).message == f"the request failed: {RR}CLIENT_SHUT_DOWN: words"
    assert failure(pending).uncertain


@pytest.mark.parametrize("name", ["TIMEOUT", "PUBLISH_FAILURE"])
@pytest.mark.parametrize(
    ("restored", "cause"), [(False, "the connection is down: hung up"), (True, "the connection was lost meanwhile")]
)
def test_failed_with_the_connection(
    data: DataPlane,
    sdk: FakeSdk,
    name: str,
    restored: bool,  # noqa: FBT001
    cause: str,
) -> None:
    """A request that was under way when the connection was lost fails for that, and is uncertain."""
    pending = data.get_pending_job_executions()
    sdk.lost()
    if restored:
        sdk.connected()
    sdk.fails(name, 0)
    assert failure(pending).cause.startswith(cause)
    assert failure(pending).uncertain


def test_asked_while_down(data: DataPlane, sdk: FakeSdk) -> None:
    """A request that was made while the connection was down does not blame a policy."""
    sdk.lost()
    pending = data.get_pending_job_executions()
    sdk.connected()
    sdk.fails("SUBSCRIBE_FAILURE", 0)
    assert "the connection was lost meanwhile" in failure(pending).cause


# Messages that the SDK has no use for


@pytest.mark.parametrize(
    ("payload", "body"),
    [
        (b"nonsense", None),
        (b"[1]", None),
        (b"[" * 100_000, None),
        (b'{"odd": 1}', {"odd": 1}),
        (b'{"clientToken": 5}', {"clientToken": 5}),
    ],
)
def test_answer_that_names_no_request(
    data: DataPlane, sdk: FakeSdk, listener: FakeSink, payload: bytes, body: object
) -> None:
    """An answer without a token is shown when a request waits on its topic, and only then."""
    sdk.arrives(payload, "get/accepted")
    pending = data.get_pending_job_executions()
    sdk.arrives(payload, "Job1/get/accepted")
    assert listener.events == []
    sdk.arrives(payload, "get/rejected")
    [event] = listener.events
    assert (event.title, event.body, event.payload) == (REJECTED, body, payload)
    assert "names no request" in event.note
    assert not pending.done()


@pytest.mark.parametrize("outcome", ["accepted", "rejected"])
def test_answer_that_only_python_reads(data: DataPlane, sdk: FakeSdk, outcome: str) -> None:
    """An answer that the SDK passes over, though it names its request, is the answer; the time-out that follows not."""
    pending = data.get_pending_job_executions()
    sdk.arrives(b'{"clientToken": "token-0", "odd": NaN}', f"get/{outcome}")
    if outcome == "rejected":
        assert isinstance(pending.exception(0), Rejected)
    else:
        assert "not what AWS IoT Jobs documents" in pending.result(0).note
    sdk.fails("TIMEOUT")
    assert sdk.subscribed == []


def test_answer_to_another_client(data: DataPlane, sdk: FakeSdk, listener: FakeSink) -> None:
    """An answer to another client of the same thing is none of ours."""
    pending = data.get_pending_job_executions()
    sdk.arrives(b'{"clientToken": "theirs"}', "get/accepted")
    assert (listener.events, listener.late, pending.done()) == ([], [], False)


# The connection's ups and downs


@pytest.mark.parametrize(
    ("packet", "cause"),
    [
        (None, "hung up (AWS_ERROR_MQTT_UNEXPECTED_HANGUP)"),
        (mqtt5.DisconnectPacket(reason_code=None), "hung up (AWS_ERROR_MQTT_UNEXPECTED_HANGUP)"),
        (
            mqtt5.DisconnectPacket(mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER),
            "another client connected with the same client id: SESSION_TAKEN_OVER (142)",
        ),
        (
            mqtt5.DisconnectPacket(mqtt5.DisconnectReasonCode.SERVER_SHUTTING_DOWN),
            "the endpoint is shutting down: SERVER_SHUTTING_DOWN (139)",
        ),
        (
            mqtt5.DisconnectPacket(mqtt5.DisconnectReasonCode.ADMINISTRATIVE_ACTION, reason_string="by\n  order"),
            "ADMINISTRATIVE_ACTION (152): by order",
        ),
    ],
)
def test_lost(
    data: DataPlane, sdk: FakeSdk, listener: FakeSink, packet: mqtt5.DisconnectPacket | None, cause: str
) -> None:
    """A loss is told with its cause, in the broker's own words if it gave any; so are a failed attempt, the return."""
    sdk.lost(packet=packet)
    sdk.failed(MemoryError("full"))
    sdk.connected()
    assert listener.states[1:3] == [
        ("reconnecting", f"connection lost: {cause}"),
        ("reconnecting", "cannot reconnect yet: full (MemoryError); trying on"),
    ]
    assert listener.states[3][1].startswith("reconnected after ")


def test_refused_later(data: DataPlane, sdk: FakeSdk, listener: FakeSink) -> None:
    """A CONNACK that refuses a reconnect is quoted."""
    sdk.lost()
    sdk.failed(code=mqtt5.ConnectReasonCode.SERVER_BUSY)
    assert "SERVER_BUSY (137)" in listener.states[-1][1]


def catch_up(sdk: FakeSdk, number: int = -1) -> None:
    """Block a question for what is pending."""
    sdk.asked[number][2].set_result(iotjobs.GetPendingJobExecutionsResponse())
    sdk.arrives(b'{"odd": 1}', "get/accepted")


def test_session_resumed(data: DataPlane, sdk: FakeSdk, listener: FakeSink) -> None:
    """With the session resumed, what is pending is asked for once and at once."""
    sdk.lost()
    sdk.connected(session_present=True)
    assert [operation for operation, _, _ in sdk.asked] == ["get_pending_job_executions"]
    catch_up(sdk)
    assert [answer.body for answer in listener.pending] == [{"odd": 1}]


def test_session_forgotten(data: DataPlane, sdk: FakeSdk, listener: FakeSink) -> None:
    """With the session forgotten, it is asked for once, when both subscriptions stand again."""
    sdk.lost()
    sdk.connected()
    for stream in sdk.streams.values():
        stream.status(Status.SUBSCRIPTION_LOST)
    sdk.streams[CHANGED].status(Status.SUBSCRIPTION_ESTABLISHED)
    assert sdk.asked == []
    sdk.streams[NEXT_CHANGED].status(Status.SUBSCRIPTION_ESTABLISHED)
    sdk.streams[NEXT_CHANGED].status(Status.SUBSCRIPTION_ESTABLISHED)
    assert len(sdk.asked) == 1
    sdk.fails("TIMEOUT")
    assert listener.pending == []
    assert listener.warnings == ["what changed while the connection was down is not known: no answer within 1 s"]


def test_halted_stream(data: DataPlane, sdk: FakeSdk, listener: FakeSink) -> None:
    """A stream refused after a reconnect names the permission and holds nothing up; the next reconnect reopens it."""
    sdk.lost()
    sdk.connected()
    halted = sdk.streams[NEXT_CHANGED]
    halted.status(Status.SUBSCRIPTION_HALTED, AwsCrtError(1, RR + "SUBSCRIBE_FAILURE", "words"))
    sdk.streams[CHANGED].status(Status.SUBSCRIPTION_ESTABLISHED)
    [warning] = listener.warnings
    assert f"iot:Subscribe on topicfilter/{JOBS}notify-next;" in warning
    assert len(sdk.asked) == 1
    sdk.lost()
    sdk.connected()
    assert sdk.streams[NEXT_CHANGED] is not halted
    assert sdk.streams[NEXT_CHANGED].opened == 1
    assert sdk.streams[CHANGED].opened == 1
