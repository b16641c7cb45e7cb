"""The data plane: what a device does, over an mTLS MQTT5 connection. The only importer of awscrt and awsiot.

Four requests and two streams of AWS IoT Jobs
(https://docs.aws.amazon.com/iot/latest/developerguide/jobs-mqtt-api.html). The SDK calls back on a thread that
also serves the connection: nothing here raises in it, writes to a terminal from it, or keeps it waiting for longer
than a request takes to be handed to the SDK.
"""

import json
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Protocol, Self

from awscrt import mqtt5
from awscrt.exceptions import AwsCrtError
from awscrt.mqtt_request_response import ClientOptions, SubscriptionStatusEventType
from awsiot import ServiceStreamOptions, iotjobs, mqtt5_client_builder

from jobs_sandbox.blocks import CHANGED, REJECTED, STREAM_TOPICS, Block, Pending
from jobs_sandbox.data_plane.connection import Connection
from jobs_sandbox.data_plane.diagnosis import explain_connection
from jobs_sandbox.data_plane.messages import readable, unreadable
from jobs_sandbox.data_plane.nodelay import send_at_once
from jobs_sandbox.data_plane.requests import ATTACH, Request
from jobs_sandbox.errors import Rejected, RequestFailed, StartError
from jobs_sandbox.settings import Settings

# Silence is noticed within 15 s: a ping after 10 s without traffic, and 5 s to answer it. AWS IoT may insist on
# 30 s in its CONNACK, and the SDK then obeys: 35 s.
_KEEP_ALIVE = 10
_PING_TIMEOUT_MS = 5000
# The SDK's own backoff reaches two minutes; who watches a prompt wants the connection back when the network is.
_RECONNECT_MS = (500, 2000)
# For so long the broker keeps the subscriptions and the QoS 1 messages of a client that comes back.
_SESSION_EXPIRY = 3600
# The SDK subscribes for each request and unsubscribes after its answer. AWS IoT allows 50 subscriptions a connection.
_SUBSCRIPTIONS = 10
_STOP_TIMEOUT = 1.0  # seconds
_REMEMBERED = 10  # requests whose answer may still come


class Listener(Protocol):
    """Who is told what happens; each method returns at once and never raises."""

    def event(self, answer: Block) -> None:
        """A stream's event."""

    def late_answer(self, answer: Block, request: Pending) -> None:
        """The answer to a request that had already failed for want of one."""

    def caught_up(self, pending: Block) -> None:
        """What is pending now that the connection is back."""

    def connection(self, state: str, message: str) -> None:
        """The connection is now ``connected``, ``reconnecting`` or ``stopped``; the message, if any, says why."""

    def warning(self, message: str) -> None:
        """Something else that the user should know."""


class DataPlane:
    """The connection of one thing, its requests and its streams; a context manager.

    Entering it connects and opens both streams; leaving it closes them.
    """

    def __init__(self, settings: Settings, listener: Listener) -> None:
        self._settings = settings
        self._listener = listener
        self._connection = Connection(listener.connection)
        self._started: Future[tuple[Any, Any] | None] = Future()  # the error and the CONNACK, or None
        self._subscribed: dict[str, Future[None]] = {title: Future() for title in STREAM_TOPICS}
        self._streams: dict[str, Any] = {}  # a stream that nobody references is collected and goes silent
        self._resubscribing: set[str] = set()
        self._sending = threading.RLock()
        self._unpaired: Callable[[bytes], None] | None = None
        self._sent: dict[str, Request] = {}  # by client token, until it is answered
        self._stopped: Future[None] = Future()
        self._deadline = 0.0
        self._mqtt: Any = None
        self._jobs: Any = None

    def __enter__(self) -> Self:
        """Connect, and wait until both subscriptions stand.

        Raises:
            StartError: with the cause, within the timeout plus a few seconds.

        """
        try:
            self._connect()
            self._subscribe()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Close the streams and end the MQTT session, without waiting for a network that is gone."""
        self._streams.clear()
        self._connection.closing = True
        self._listener.connection("stopped", "")
        if self._mqtt is not None:
            self._mqtt.stop(mqtt5.DisconnectPacket(session_expiry_interval_sec=0))
            if self._connection.up:
                with suppress(TimeoutError):
                    self._stopped.result(_STOP_TIMEOUT)

    def _connect(self) -> None:
        settings = self._settings
        try:
            self._mqtt = mqtt5_client_builder.mtls_from_path(
                settings.cert,
                settings.key,
                endpoint=settings.endpoint,
                port=settings.port,
                ca_filepath=settings.ca_file,
                client_id=settings.client_id,
                keep_alive_interval_sec=_KEEP_ALIVE,
                ping_timeout_ms=_PING_TIMEOUT_MS,
                connack_timeout_ms=int(settings.timeout * 1000),
                min_reconnect_delay_ms=_RECONNECT_MS[0],
                max_reconnect_delay_ms=_RECONNECT_MS[1],
                session_behavior=mqtt5.ClientSessionBehaviorType.REJOIN_POST_SUCCESS,
                session_expiry_interval_sec=_SESSION_EXPIRY,
                # The SDK's default paces every request to 25 to 33 ms, to stay below the 100 publishes a second
                # that AWS IoT allows on a connection. One request at a time, each waiting for its answer from
                # the network, rarely gets there; if it does, the service's own word (RequestThrottled) is shown.
                extended_validation_and_flow_control_options=mqtt5.ExtendedValidationAndFlowControlOptions.NONE,
                on_publish_received=self._on_publish,
                on_lifecycle_connection_success=self._on_connected,
                on_lifecycle_connection_failure=self._on_failure,
                on_lifecycle_disconnection=self._on_disconnected,
                on_lifecycle_stopped=lambda _: self._stopped.set_result(None),
            )
            self._jobs = iotjobs.IotJobsClientV2(
                self._mqtt,
                ClientOptions(
                    max_request_response_subscriptions=_SUBSCRIPTIONS,
                    max_streaming_subscriptions=len(STREAM_TOPICS),
                    operation_timeout_in_seconds=math.ceil(settings.timeout),
                ),
            )
        except (AwsCrtError, OSError, RuntimeError, ValueError) as error:
            raise StartError(
                f"the device SDK cannot use the certificate, key or endpoint: {error}",
                cause="a kind of key or certificate that its TLS library does not know, or no host name",
                next_step="use the files that `aws iot create-keys-and-certificate` wrote.",
            ) from error
        self._deadline = time.monotonic() + settings.timeout
        self._mqtt.start()
        try:
            failure = self._started.result(self._left())
        except TimeoutError:
            raise explain_connection(settings, "") from None
        if failure:
            raise self._refused(*failure)

    def _left(self) -> float:
        """The seconds that are left of the timeout, which the whole start shares."""
        return max(0.0, self._deadline - time.monotonic())

    def _refused(self, error: Any, connack: Any) -> StartError:
        if connack is None:
            return explain_connection(self._settings, _name(error))
        what = f"the endpoint refused the connection: {_cause(error, connack)}"
        if connack.reason_code != mqtt5.ConnectReasonCode.NOT_AUTHORIZED:
            return StartError(
                what,
                cause="the endpoint is busy or limits connections, or it does not take this client id",
                next_step="try again in a moment, or with another --client-id.",
            )
        return StartError(
            what,
            cause=f"no policy of the certificate allows iot:Connect on client/{self._settings.client_id}, or the "
            "certificate is not ACTIVE",
            next_step="attach policies/device-policy.json, filled in, or name a client id that your policy allows with "
            "--client-id.",
        )

    def _subscribe(self) -> None:
        for title in STREAM_TOPICS:
            self._open(title)
        for title, standing in self._subscribed.items():
            try:
                standing.result(self._left())
            except TimeoutError:
                lossy = (
                    f"the connection was lost meanwhile: {self._connection.cause}" if self._connection.losses else ""
                )
                raise StartError(
                    f"the {title} stream has no subscription after {self._settings.timeout:g} s",
                    cause=lossy or "a slow network",
                    next_step="try again with a larger --timeout.",
                ) from None

    def _open(self, title: str) -> None:
        if title == CHANGED:
            create = self._jobs.create_job_executions_changed_stream
            request: Any = iotjobs.JobExecutionsChangedSubscriptionRequest(thing_name=self._settings.thing)
        else:
            create = self._jobs.create_next_job_execution_changed_stream
            request = iotjobs.NextJobExecutionChangedSubscriptionRequest(thing_name=self._settings.thing)

        def on_event(event: Any) -> None:
            self._pair(lambda payload: self._listener.event(readable(title, event, payload)))

        options = ServiceStreamOptions(
            incoming_event_listener=on_event,
            subscription_status_listener=lambda status: self._on_subscription(title, status),
            deserialization_failure_listener=lambda failure: self._listener.event(
                unreadable(title, failure.payload or b"", failure.inner_error)
            ),
        )
        self._streams[title] = create(request, options)
        self._streams[title].open()

    # Requests

    def get_pending_job_executions(self) -> Pending:
        """All executions of this thing that are not terminal (GetPendingJobExecutions)."""
        request = iotjobs.GetPendingJobExecutionsRequest(thing_name=self._settings.thing)
        return self._request("GetPendingJobExecutionsResponse", "get", self._jobs.get_pending_job_executions, request)

    def start_next_pending_job_execution(self) -> Pending:
        """Start the next queued execution, or get the one in progress (StartNextPendingJobExecution)."""
        request = iotjobs.StartNextPendingJobExecutionRequest(thing_name=self._settings.thing)
        send = self._jobs.start_next_pending_job_execution
        return self._request("StartNextJobExecutionResponse", "start-next", send, request)

    def describe_job_execution(self, job_id: str) -> Pending:
        """The thing's execution of a job, or of the next one, ``$next`` (DescribeJobExecution)."""
        request = iotjobs.DescribeJobExecutionRequest(thing_name=self._settings.thing, job_id=job_id)
        send = self._jobs.describe_job_execution
        return self._request("DescribeJobExecutionResponse", "*/get", send, request, job_id)

    def update_job_execution(self, job_id: str, status: str) -> Pending:
        """Set the status of this thing's execution of a job (UpdateJobExecution)."""
        request = iotjobs.UpdateJobExecutionRequest(thing_name=self._settings.thing, job_id=job_id, status=status)
        send = self._jobs.update_job_execution
        return self._request("UpdateJobExecutionResult", "*/update", send, request, job_id)

    def _request(self, title: str, topic: str, send: Callable[[Any], Any], request: Any, job_id: str = "") -> Pending:
        """Send a request; ``topic`` is its topic below ``…/jobs/``, with ``*`` for the job id."""
        pending = Request(title, f"$aws/things/{self._settings.thing}/jobs/{topic}", job_id, self._connection)

        def done(answered: Any) -> None:
            error = answered.exception()
            if pending.done():
                return  # `_on_unclaimed` was first
            if error is not None and isinstance(error.inner_error, AwsCrtError):
                failure = pending.failed(error.inner_error, self._settings.timeout)
                if failure.uncertain:
                    # By other filters than the SDK's, which unsubscribes from its own now.
                    filters = [mqtt5.Subscription(topic, mqtt5.QoS.AT_LEAST_ONCE) for topic in pending.answer_topics]
                    self._mqtt.subscribe(mqtt5.SubscribePacket(filters))
                else:
                    self._forget(request.client_token)
                pending.set_exception(failure)
                return
            self._forget(request.client_token)
            if error is None:
                self._pair(lambda payload: pending.set_result(readable(title, answered.result(), payload)))
            elif error.modeled_error is not None:
                self._pair(lambda payload: pending.set_exception(_rejected(error.modeled_error, payload)))
            else:
                self._pair(lambda payload: pending.set_result(unreadable(title, payload, error.inner_error)))

        try:
            with self._sending:  # an answer may be there before `done` is: `_on_publish` waits for it
                answered = send(request)
                self._sent[request.client_token] = pending
                if len(self._sent) > _REMEMBERED:
                    self._forget(next(iter(self._sent)))
                answered.add_done_callback(done)
        except (AwsCrtError, ValueError, RuntimeError) as error:
            pending.set_exception(RequestFailed(f"the device SDK refused the request: {error}"))
        return pending

    def _forget(self, token: str) -> Request | None:
        """Wait no more for the answer to this request; what it was, if it was still waited for."""
        with self._sending:
            request = self._sent.pop(token, None)
            topics = [asked.topic for asked in self._sent.values()]
            if request and request.done() and request.topic not in topics:
                self._mqtt.unsubscribe(mqtt5.UnsubscribePacket(request.answer_topics))
            return request

    # What the SDK calls back. A message reaches its listener first and, on the same thread, `_on_publish` next,
    # with the bytes as they came: so the fields that the SDK's model drops can be put back.

    def _pair(self, finish: Callable[[bytes], None]) -> None:
        if self._unpaired:
            self._unpaired(b"")
        self._unpaired = finish

    def _on_publish(self, data: Any) -> None:
        packet = data.publish_packet
        with self._sending:
            finish, self._unpaired = self._unpaired, None
        if finish:
            finish(packet.payload or b"")
        else:
            self._on_unclaimed(packet.topic, packet.payload or b"")

    def _on_unclaimed(self, topic: str, payload: bytes) -> None:
        """A message that the SDK has no use for: a late answer, one that names no request, or another client's."""
        operation, _, outcome = topic.rpartition("/")
        body: Any = None
        with suppress(ValueError, RecursionError):
            body = json.loads(payload)
        token = body.get("clientToken") if isinstance(body, dict) else None
        with self._sending:
            if isinstance(token, str):
                request = self._forget(token)
            else:
                request = next((asked for asked in self._sent.values() if asked.topic == operation), None)
        if request is None:
            return
        title = REJECTED if outcome == "rejected" else request.title
        if not isinstance(token, str):
            note = f"an answer on {topic} that names no request: its clientToken is missing or unreadable"
            self._listener.event(Block(title, body if isinstance(body, dict) else None, payload, note))
        elif request.done():
            self._listener.late_answer(Block(title, body, payload), request)
        elif outcome == "rejected":  # no JSON to the SDK's other parser, which is stricter than Python's
            request.set_exception(Rejected(body, payload))
        else:
            request.set_result(
                Block(title, body, payload, "not what AWS IoT Jobs documents: no JSON to the device SDK")
            )

    def _on_connected(self, data: Any) -> None:
        first = not self._started.done()
        send_at_once(self._settings.port)
        self._connection.restored()
        if first:
            self._started.set_result(None)
            return
        for title, standing in self._subscribed.items():
            if standing.done() and title not in self._streams:  # it was halted
                self._open(title)
        if data.connack_packet.session_present:
            self._catch_up()
        else:
            self._resubscribing = set(STREAM_TOPICS)

    def _on_failure(self, data: Any) -> None:
        if self._started.done():
            self._connection.failed(_cause(data.exception, data.connack_packet))
        else:
            self._connection.closing = (
                True  # the first failure ends the program, and the SDK's further attempts are no news
            )
            self._started.set_result((data.exception, data.connack_packet))

    def _on_disconnected(self, data: Any) -> None:
        self._connection.lost(_cause(data.exception, data.disconnect_packet))

    def _on_subscription(self, title: str, status: Any) -> None:
        standing = self._subscribed[title]
        if status.type == SubscriptionStatusEventType.SUBSCRIPTION_ESTABLISHED:
            if not standing.done():
                standing.set_result(None)
        elif status.type == SubscriptionStatusEventType.SUBSCRIPTION_HALTED:
            self._on_halted(title, status.error)
        else:
            return  # lost for the moment: this is told with the connection
        if title in self._resubscribing:
            self._resubscribing.discard(title)
            if not self._resubscribing:
                self._catch_up()

    def _on_halted(self, title: str, error: Any) -> None:
        self._streams.pop(title, None)
        missing = f"iot:Subscribe on topicfilter/$aws/things/{self._settings.thing}/jobs/{STREAM_TOPICS[title]}"
        what = f"the {title} stream was refused its subscription ({_name(error)})"
        cause = f"no policy of the certificate allows {missing}"
        if self._subscribed[title].done():
            self._listener.warning(f"{what}: {cause}; its events are not shown until the next reconnect succeeds")
        else:
            self._subscribed[title].set_exception(StartError(what, cause=cause, next_step=ATTACH))

    def _catch_up(self) -> None:
        """Ask once what is pending: it shows what changed while nobody listened."""

        def answered(pending: Future[Block]) -> None:
            error = pending.exception()
            if error is None:
                self._listener.caught_up(pending.result())
            else:
                self._listener.warning(f"what changed while the connection was down is not known: {error}")

        self.get_pending_job_executions().add_done_callback(answered)


def _rejected(error: Any, payload: bytes) -> Rejected:
    answer = readable(REJECTED, error, payload)
    return Rejected(answer.body, payload)


def _name(error: Any) -> str:
    """The SDK gives a few of its errors as Python's own exceptions, which have no such name."""
    return str(getattr(error, "name", type(error).__name__))


def _cause(error: Any, packet: Any) -> str:
    """Why a connection ended or failed: in the words of the broker's CONNACK or DISCONNECT, or else in the SDK's."""
    code = packet and packet.reason_code
    if code is None:  # the SDK gives None for a code that it does not know as well
        return f"{getattr(error, 'message', error)} ({_name(error)})"
    words = " ".join((packet.reason_string or "").split())
    return f"{_HINTS.get(code, '')}{code.name} ({code:d}){words and ': '}{words}"


_HINTS = {
    mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER: "another client connected with the same client id: ",
    mqtt5.DisconnectReasonCode.SERVER_SHUTTING_DOWN: "the endpoint is shutting down: ",
}
