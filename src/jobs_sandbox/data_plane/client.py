"""The data plane: what a device does, over an mTLS MQTT5 connection. The connection's life, from start to close.

Four requests and two streams of AWS IoT Jobs
(https://docs.aws.amazon.com/iot/latest/developerguide/jobs-mqtt-api.html). The SDK calls back on a thread that also
serves the connection: every callback does one thing, it hands over to the event loop. Every message comes in through
`_on_publish`; the SDK's streams and futures tell the state of subscriptions and the failures of requests only.
"""

import asyncio
import math
import os
import re
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Self

from awscrt import mqtt5
from awscrt.mqtt_request_response import ClientOptions
from awsiot import iotjobs, mqtt5_client_builder

from jobs_sandbox.core.blocks import EVENTS, REJECTED, TOPICS, Block
from jobs_sandbox.core.protocols import Listener, Show
from jobs_sandbox.core.settings import Settings
from jobs_sandbox.data_plane.connection_log import Connection
from jobs_sandbox.data_plane.diagnosis import explain_connection, explain_refusal
from jobs_sandbox.data_plane.failures import connection_cause, not_connected
from jobs_sandbox.data_plane.nodelay import send_at_once
from jobs_sandbox.data_plane.payloads import to_block
from jobs_sandbox.data_plane.requests import (
    DESCRIBE_EXECUTION,
    GET_PENDING,
    START,
    UPDATE_EXECUTION,
    Requests,
)
from jobs_sandbox.data_plane.streams import Streams

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
_EVENTS = {TOPICS[title]: title for title in EVENTS}


class DataPlane:
    """The connection of one thing, its requests and its streams: `planes.DataPlane`, as an async context manager.

    Entering it connects and opens both streams; leaving it ends the session. It is used, and calls its listener, on the
    loop that it was made on.
    """

    def __init__(self, settings: Settings, listener: Listener) -> None:
        # A shell does not expand ~ within quotes.
        self._settings = settings._replace(
            cert=os.path.expanduser(settings.cert),
            key=os.path.expanduser(settings.key),
            ca_file=settings.ca_file and os.path.expanduser(settings.ca_file),
        )
        self._listener = listener
        self._connection = Connection(listener.connection)
        self._loop = asyncio.get_running_loop()
        self._on_loop = partial(_handing_over, self._loop)
        self._started: asyncio.Future[tuple[Any, Any]] = (
            self._loop.create_future()
        )  # its error, if any, and CONNACK
        self._stopped: asyncio.Future[None] = self._loop.create_future()
        self._mqtt: Any = None
        self._jobs: Any = None

    async def __aenter__(self) -> Self:
        """Connect, and wait until both subscriptions are established.

        Raises:
            StartError: with the cause, within the timeout plus a few seconds.

        """
        deadline = self._loop.time() + self._settings.timeout  # the whole start shares it
        try:
            self._build()
            await self._connect()
            await self._streams.open(max(0.0, deadline - self._loop.time()))
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """End the MQTT session, and with it the streams, without waiting for a network that is gone."""
        self._connection.closing = True
        self._listener.connection("stopped", "")
        if self._jobs is None:
            return
        self._mqtt.stop(mqtt5.DisconnectPacket(session_expiry_interval_sec=0))
        if self._connection.up:  # the DISCONNECT is to leave: else the broker keeps the session
            await asyncio.wait([self._stopped], timeout=_STOP_TIMEOUT)

    def _build(self) -> None:
        settings, listener = self._settings, self._listener
        try:
            self._mqtt = _mqtt_client(
                settings,
                on_publish_received=self._on_loop(self._on_publish),
                on_lifecycle_connection_success=self._on_loop(self._on_connected),
                on_lifecycle_connection_failure=self._on_loop(self._on_failure),
                on_lifecycle_disconnection=self._on_loop(
                    lambda data: self._connection.lost(
                        connection_cause(data.exception, data.disconnect_packet)
                    )
                ),
                on_lifecycle_stopped=self._on_loop(lambda _: self._stopped.set_result(None)),
            )
            self._jobs = _jobs_client(self._mqtt, settings)
        # The SDK raises errors of many types, its own and Python's.
        except Exception as error:
            raise explain_refusal(settings, str(error)) from error
        if os.stat(settings.key).st_mode & (stat.S_IRGRP | stat.S_IROTH):
            listener.warning(f"other users can read the private key {settings.key}; chmod 600 it.")
        self._requests = Requests(
            self._mqtt, self._connection, settings.timeout, listener.event, on_loop=self._on_loop
        )
        self._streams = Streams(
            self._jobs,
            settings,
            self._connection,
            listener.warning,
            catch_up=self._catch_up,
            on_loop=self._on_loop,
        )

    async def _connect(self) -> None:
        self._mqtt.start()
        answered, _ = await asyncio.wait([self._started], timeout=self._settings.timeout)
        error, connack = self._started.result() if answered else (None, None)
        if answered and error is None:
            return
        self._connection.closing = True
        if connack is not None:
            raise not_connected(self._settings, error, connack)
        raise await explain_connection(self._settings, str(error) if answered else "")

    # Requests

    async def get_pending_job_executions(self, deliver: Show) -> Block:
        """All executions of this thing that are not terminal (GetPendingJobExecutions)."""
        return await self._get_pending(deliver)

    async def start_next_pending_job_execution(
        self, deliver: Show, fields: Mapping[str, Any]
    ) -> Block:
        """Start the next queued execution, or get the one in progress (StartNextPendingJobExecution)."""
        request = iotjobs.StartNextPendingJobExecutionRequest(
            thing_name=self._settings.thing, **_attributes(fields)
        )
        return await self._requests.send(
            START, self._jobs.start_next_pending_job_execution, request, deliver
        )

    async def describe_job_execution(
        self, deliver: Show, job_id: str, fields: Mapping[str, Any]
    ) -> Block:
        """The thing's execution of a job, or of the next one, ``$next`` (DescribeJobExecution)."""
        request = iotjobs.DescribeJobExecutionRequest(
            thing_name=self._settings.thing, job_id=job_id, **_attributes(fields)
        )
        return await self._requests.send(
            DESCRIBE_EXECUTION, self._jobs.describe_job_execution, request, deliver
        )

    async def update_job_execution(
        self, deliver: Show, job_id: str, status: str, fields: Mapping[str, Any]
    ) -> Block:
        """Set the status of this thing's execution of a job (UpdateJobExecution)."""
        request = iotjobs.UpdateJobExecutionRequest(
            thing_name=self._settings.thing, job_id=job_id, status=status, **_attributes(fields)
        )
        return await self._requests.send(
            UPDATE_EXECUTION, self._jobs.update_job_execution, request, deliver
        )

    def _get_pending(self, deliver: Show) -> "asyncio.Future[Block]":
        request = iotjobs.GetPendingJobExecutionsRequest(thing_name=self._settings.thing)
        return self._requests.send(
            GET_PENDING, self._jobs.get_pending_job_executions, request, deliver
        )

    def _catch_up(self) -> None:
        """Ask once what is pending: it shows what changed while nobody listened."""

        def deliver(block: Block) -> None:
            if block.title != REJECTED:
                self._listener.caught_up(block)

        def answered(pending: "asyncio.Future[Block]") -> None:
            if error := pending.exception():
                self._listener.warning(
                    f"what changed while the connection was down is not known: {error}"
                )

        self._get_pending(deliver).add_done_callback(answered)

    # What the SDK calls back

    def _on_publish(self, data: Any) -> None:
        topic, payload = data.publish_packet.topic, data.publish_packet.payload or b""
        title = _EVENTS.get(topic.removeprefix(f"$aws/things/{self._settings.thing}/jobs/"))
        if title:
            self._listener.event(to_block(title, payload))
        else:
            self._requests.on_message(topic, payload)

    def _on_connected(self, data: Any) -> None:
        send_at_once(self._settings.port)
        self._connection.restored()
        if self._started.done():
            self._streams.reconnected(session_present=data.connack_packet.session_present)
        else:
            self._started.set_result((None, None))

    def _on_failure(self, data: Any) -> None:
        if self._started.done():
            self._connection.failed(connection_cause(data.exception, data.connack_packet))
        else:
            self._connection.closing = (
                True  # the start has failed: the SDK's further attempts are no news
            )
            self._started.set_result((data.exception, data.connack_packet))


def _handing_over(
    loop: asyncio.AbstractEventLoop, handler: Callable[..., None]
) -> Callable[..., None]:
    """What the SDK is given to call, on its own threads, so that ``handler`` runs on the loop."""

    def hand_over(*arguments: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody is left to tell
            loop.call_soon_threadsafe(handler, *arguments)

    return hand_over


def _mqtt_client(settings: Settings, **callbacks: Callable[..., None]) -> Any:
    return mqtt5_client_builder.mtls_from_path(
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
        # The SDK's default paces every request to 25 to 33 ms, to stay below the 100 publishes a second that AWS IoT
        # allows on a connection. One request at a time, each waiting for its answer, rarely gets there.
        extended_validation_and_flow_control_options=mqtt5.ExtendedValidationAndFlowControlOptions.NONE,
        **callbacks,
    )


def _jobs_client(mqtt: Any, settings: Settings) -> Any:
    options = ClientOptions(
        max_request_response_subscriptions=_SUBSCRIPTIONS,
        max_streaming_subscriptions=len(EVENTS),
        operation_timeout_in_seconds=math.ceil(settings.timeout),
    )
    return iotjobs.IotJobsClientV2(mqtt, options)


def _attributes(fields: Mapping[str, Any]) -> dict[str, Any]:
    """AWS's names of fields → the SDK's: ``statusDetails`` → ``status_details``."""
    return {
        re.sub("[A-Z]", lambda capital: f"_{capital[0].lower()}", name): value
        for name, value in fields.items()
    }
