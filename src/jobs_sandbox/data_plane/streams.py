"""The subscriptions of the two streams of events, at the start and after a reconnect."""

import asyncio
from collections.abc import Callable
from typing import Any

from awscrt.mqtt_request_response import SubscriptionStatusEventType as Status
from awsiot import ServiceStreamOptions, iotjobs

from jobs_sandbox.core.blocks import CHANGED, EVENTS, NEXT_CHANGED
from jobs_sandbox.core.errors import StartError
from jobs_sandbox.data_plane.failures import stream_refused


class Streams:
    """Opens both streams, and after a reconnect opens again a stream that was refused.

    The SDK itself subscribes again when the broker has not kept the session: the status of each
    stream is then first "lost" and later "established". Only then, and while a stream was
    refused, can events have been missed; so ``catch_up`` is called when the streams have their
    subscriptions again. A broker that has kept the session delivers the QoS 1 messages of the
    meantime itself
    (https://docs.aws.amazon.com/iot/latest/developerguide/mqtt.html#mqtt-persistent-sessions).

    Args:
        jobs: the SDK's IotJobsClientV2.
        thing: the thing's name.
        warn: called with a warning for the user.
        catch_up: called when events may have been missed.
        on_loop: makes a callback for the SDK of a function that is to run on the event loop.

    """

    def __init__(
        self,
        jobs: Any,
        thing: str,
        warn: Callable[[str], None],
        catch_up: Callable[[], None],
        on_loop: Callable[..., Any],
    ) -> None:
        self._thing = thing
        self._warn = warn
        self._catch_up = catch_up
        self._on_status = on_loop(self._status_changed)
        self._create = {
            CHANGED: (
                jobs.create_job_executions_changed_stream,
                iotjobs.JobExecutionsChangedSubscriptionRequest(thing_name=thing),
            ),
            NEXT_CHANGED: (
                jobs.create_next_job_execution_changed_stream,
                iotjobs.NextJobExecutionChangedSubscriptionRequest(thing_name=thing),
            ),
        }
        # The SDK closes a stream without references.
        self._streams: dict[str, Any] = {}
        self._unsubscribed = set(EVENTS)
        self._opened = False
        # During the start: the refusal of a subscription, or None when one is established.
        self._outcomes: asyncio.Queue[StartError | None] = asyncio.Queue()

    async def open(self) -> None:
        """Open both streams, and wait until both subscriptions are established.

        Raises:
            StartError: one was refused.

        """
        for title in EVENTS:
            self._open(title)
        while not self._opened:
            if refusal := await self._outcomes.get():
                raise refusal
            self._opened = not self._unsubscribed

    def reconnected(self) -> None:
        """Open the streams that were refused."""
        for title in EVENTS:
            if self._opened and title not in self._streams:
                self._open(title)

    def _open(self, title: str) -> None:
        create, request = self._create[title]
        options = ServiceStreamOptions(
            incoming_event_listener=_ignore,
            subscription_status_listener=lambda status: self._on_status(title, status),
            deserialization_failure_listener=_ignore,
        )
        self._streams[title] = create(request, options)
        self._streams[title].open()

    def _status_changed(self, title: str, status: Any) -> None:
        if status.type == Status.SUBSCRIPTION_LOST:
            self._unsubscribed.add(title)
            return
        refusal = None
        if status.type == Status.SUBSCRIPTION_HALTED:
            del self._streams[title]
            refusal = stream_refused(self._thing, title, status.error)
        else:
            self._unsubscribed.discard(title)
        if not self._opened:
            self._outcomes.put_nowait(refusal)
            return
        if refusal:
            self._warn(
                f"{refusal.message}: {refusal.cause}; its events are not shown until the next "
                "reconnect succeeds"
            )
        if not self._unsubscribed & self._streams.keys():
            self._catch_up()


def _ignore(_: object) -> None:
    """The MQTT client's own callback sees every message, with its bytes."""
