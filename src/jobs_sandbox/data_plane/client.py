"""The data plane: what a device does, over an MQTT5 connection with mutual TLS.

Four requests and two streams of AWS IoT Jobs
(https://docs.aws.amazon.com/iot/latest/developerguide/jobs-mqtt-api.html). The SDK calls back on
a thread that also serves the connection, so every callback only hands over to the event loop.
"""

import asyncio
import math
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Self

from awscrt import mqtt5
from awscrt.mqtt_request_response import ClientOptions
from awsiot import iotjobs, mqtt5_client_builder

from jobs_sandbox.core.blocks import (
    DESCRIBE,
    EVENTS,
    GET_PENDING,
    REJECTED,
    START_NEXT,
    UPDATE,
    Block,
)
from jobs_sandbox.core.errors import RequestFailed, SandboxError, StartError
from jobs_sandbox.core.protocols import Listener, Show
from jobs_sandbox.core.settings import Settings
from jobs_sandbox.data_plane.connection_log import Connection
from jobs_sandbox.data_plane.diagnosis import explain_connection, explain_refusal
from jobs_sandbox.data_plane.failures import (
    connection_cause,
    jobs_topic,
    not_connected,
    unanswered,
)
from jobs_sandbox.data_plane.nodelay import send_at_once
from jobs_sandbox.data_plane.payloads import to_block
from jobs_sandbox.data_plane.requests import Requests
from jobs_sandbox.data_plane.streams import Streams

_STOP_TIMEOUT = 1.0  # seconds


class DataPlane:
    """The connection of one thing, its requests and its streams; `core.protocols.DataPlane`.

    An async context manager: entering it connects and opens both streams, leaving it ends the
    MQTT session. It is made and used on one event loop, which also calls the listener.
    """

    def __init__(self, settings: Settings, listener: Listener) -> None:
        """Give the settings to the SDK; nothing is sent yet.

        Raises:
            StartError: the SDK refuses the certificate, the key, the CA or another setting.

        """
        self._settings = settings
        self._listener = listener
        self._connection = Connection(listener.connection)
        self._loop = asyncio.get_running_loop()
        # Done after the first attempt to connect; its result is the SDK's data if that failed, or
        # else None.
        self._connected: asyncio.Future[Any] = self._loop.create_future()
        self._stopped: asyncio.Future[None] = self._loop.create_future()
        try:
            self._mqtt = self._mqtt_client()
            self._jobs = self._jobs_client()
        # The SDK raises errors of many types, its own and Python's.
        except Exception as error:
            raise explain_refusal(settings, str(error)) from error
        self._requests = Requests(self._connection, self._on_loop)
        self._streams = Streams(
            self._jobs, settings.thing, listener.warning, self._on_missed_events, self._on_loop
        )
        self._events = {jobs_topic(settings.thing, title): title for title in EVENTS}
        # The event loop alone does not keep a task alive.
        self._catching_up: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Connect, and wait until both subscriptions are established.

        Raises:
            StartError: with the cause, within the timeout plus a few seconds.

        """
        self._mqtt.start()
        try:
            await self._start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """End the MQTT session and its streams, without waiting for a network that is gone."""
        self._connection.close()
        self._mqtt.stop(mqtt5.DisconnectPacket(session_expiry_interval_sec=0))
        # Without the DISCONNECT, the broker keeps the session.
        if self._connection.up:
            await asyncio.wait([self._stopped], timeout=_STOP_TIMEOUT)

    async def _start(self) -> None:
        settings = self._settings
        failure = None
        try:
            async with asyncio.timeout(settings.timeout):
                failure = await self._connected
                if failure is None:
                    await self._streams.open()
                    return
        except TimeoutError:
            tried = not self._connected.cancelled()
            failure = self._connected.result() if tried else None
            if tried and failure is None:
                raise StartError(
                    f"the streams have no subscription after {settings.timeout:g} s",
                    cause=self._connection.trouble(settings.timeout) or "a slow network",
                    next_step="try again with a larger --timeout.",
                ) from None
        # The SDK goes on trying, but that is not reported.
        self._connection.close()
        if failure is None:
            raise await explain_connection(settings, "")
        if failure.connack_packet:
            raise not_connected(settings.client_id, failure.connack_packet)
        raise await explain_connection(settings, str(failure.exception))

    # Requests

    async def get_pending_job_executions(self, show: Show) -> Block:
        """The executions of this thing that are not terminal (GetPendingJobExecutions)."""
        request = iotjobs.GetPendingJobExecutionsRequest(thing_name=self._settings.thing)
        call = self._jobs.get_pending_job_executions
        return await self._requests.send(GET_PENDING, call, request, show)

    async def start_next_pending_job_execution(
        self, show: Show, fields: Mapping[str, Any]
    ) -> Block:
        """Start the next queued execution, or get the one in progress (StartNextPending…)."""
        request = iotjobs.StartNextPendingJobExecutionRequest(
            thing_name=self._settings.thing, **_attributes(fields)
        )
        call = self._jobs.start_next_pending_job_execution
        return await self._requests.send(START_NEXT, call, request, show)

    async def describe_job_execution(
        self, show: Show, job_id: str, fields: Mapping[str, Any]
    ) -> Block:
        """The thing's execution of a job, or of the next one, ``$next`` (DescribeJobExecution)."""
        request = iotjobs.DescribeJobExecutionRequest(
            thing_name=self._settings.thing, job_id=job_id, **_attributes(fields)
        )
        call = self._jobs.describe_job_execution
        return await self._requests.send(DESCRIBE, call, request, show)

    async def update_job_execution(
        self, show: Show, job_id: str, status: str, fields: Mapping[str, Any]
    ) -> Block:
        """Set the status of this thing's execution of a job (UpdateJobExecution)."""
        request = iotjobs.UpdateJobExecutionRequest(
            thing_name=self._settings.thing, job_id=job_id, status=status, **_attributes(fields)
        )
        call = self._jobs.update_job_execution
        return await self._requests.send(UPDATE, call, request, show)

    def no_answer(self, title: str, seconds: float) -> RequestFailed:
        """The error of a request without an answer; ``title`` is that of the response."""
        topic = jobs_topic(self._settings.thing, title)
        return unanswered(topic, seconds, self._connection.trouble(seconds))

    def _on_missed_events(self) -> None:
        self._catching_up = asyncio.create_task(self._catch_up())

    async def _catch_up(self) -> None:
        """Ask for the pending executions, and hand the response to the listener."""

        def show(block: Block) -> None:
            if block.title != REJECTED:
                self._listener.caught_up(block)

        try:
            await self.get_pending_job_executions(show)
        except SandboxError as error:
            self._listener.warning(
                f"what changed while the connection was down is not known: {error}"
            )

    # The SDK

    def _mqtt_client(self) -> Any:
        settings = self._settings
        return mqtt5_client_builder.mtls_from_path(
            settings.cert,
            settings.key,
            endpoint=settings.endpoint,
            port=settings.port,
            ca_filepath=settings.ca_file,
            client_id=settings.client_id,
            connack_timeout_ms=int(settings.timeout * 1000),
            # The SDK notices a silent network within 15 s: it sends a ping after 10 s without
            # traffic, and waits 5 s for the answer. If AWS IoT asks for 30 s in its CONNACK, it
            # takes 35 s.
            keep_alive_interval_sec=10,
            ping_timeout_ms=5000,
            # The SDK's own backoff reaches two minutes, too long for a user at a prompt.
            min_reconnect_delay_ms=500,
            max_reconnect_delay_ms=2000,
            # The broker stores QoS 1 messages for an hour for a client that comes back.
            session_behavior=mqtt5.ClientSessionBehaviorType.REJOIN_POST_SUCCESS,
            session_expiry_interval_sec=3600,
            # The SDK's default paces every request to 25 to 33 ms, to stay below the 100 publishes
            # a second that AWS IoT allows on a connection. One request at a time stays below it.
            extended_validation_and_flow_control_options=(
                mqtt5.ExtendedValidationAndFlowControlOptions.NONE
            ),
            # The SDK's streams and futures see the same messages, but as its models, which drop
            # the fields they do not know and report an odd rejection as a failure to deserialize.
            # Only this callback gets the service's own JSON.
            on_publish_received=self._on_loop(self._on_publish),
            on_lifecycle_connection_success=self._on_loop(self._on_connected),
            on_lifecycle_connection_failure=self._on_loop(self._on_failure),
            on_lifecycle_disconnection=self._on_loop(self._on_lost),
            on_lifecycle_stopped=self._on_loop(self._stopped.set_result),
        )

    def _jobs_client(self) -> Any:
        options = ClientOptions(
            # The SDK subscribes for each request and unsubscribes after its answer. AWS IoT allows
            # 50 subscriptions a connection.
            max_request_response_subscriptions=10,
            max_streaming_subscriptions=len(EVENTS),
            # The session decides how long a request may take; the SDK gives up later than that.
            operation_timeout_in_seconds=math.ceil(self._settings.timeout) + 5,
        )
        return iotjobs.IotJobsClientV2(self._mqtt, options)

    def _on_loop(self, handler: Callable[..., None]) -> Callable[..., None]:
        """A callback for the SDK's threads that makes the event loop call ``handler``."""

        def hand_over(*arguments: Any) -> None:
            # The loop is closed when the program has ended.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(handler, *arguments)

        return hand_over

    def _on_publish(self, data: Any) -> None:
        topic, payload = data.publish_packet.topic, data.publish_packet.payload or b""
        if title := self._events.get(topic):
            self._listener.event(to_block(title, payload))
        else:
            self._requests.on_message(topic, payload)

    def _on_connected(self, _: Any) -> None:
        send_at_once(self._settings.port)
        self._connection.restored()
        if self._connected.done():
            self._streams.reconnected()
        else:
            self._connected.set_result(None)

    def _on_failure(self, data: Any) -> None:
        if self._connected.done():
            self._connection.failed(connection_cause(data.exception, data.connack_packet))
        else:
            self._connected.set_result(data)

    def _on_lost(self, data: Any) -> None:
        self._connection.lost(connection_cause(data.exception, data.disconnect_packet))


def _attributes(fields: Mapping[str, Any]) -> dict[str, Any]:
    """AWS's names of fields → the SDK's: ``statusDetails`` → ``status_details``."""
    return {
        re.sub("[A-Z]", lambda capital: f"_{capital[0].lower()}", name): value
        for name, value in fields.items()
    }
