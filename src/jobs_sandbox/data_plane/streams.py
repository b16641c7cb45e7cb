"""The two streams of events: their subscriptions, at the start and after a reconnect. The events come another way."""

import asyncio
from collections.abc import Callable
from typing import Any

from awscrt.mqtt_request_response import SubscriptionStatusEventType
from awsiot import ServiceStreamOptions, iotjobs

from jobs_sandbox.core.blocks import CHANGED, EVENTS, NEXT_CHANGED, TOPICS
from jobs_sandbox.core.errors import StartError
from jobs_sandbox.core.settings import Settings
from jobs_sandbox.data_plane.connection_log import Connection
from jobs_sandbox.data_plane.failures import stream_refused


class Streams:
    """Opens the streams, and opens again those that were refused; the SDK keeps the others subscribed."""

    def __init__(
        self,
        jobs: Any,
        settings: Settings,
        connection: Connection,
        warn: Callable[[str], None],
        *,
        catch_up: Callable[[], None],
        on_loop: Callable[[Callable[..., None]], Callable[..., None]],
    ) -> None:
        self._settings = settings
        self._connection = connection
        self._warn = warn
        self._catch_up = catch_up
        self._on_status = on_loop(self._status_changed)
        self._create = {
            CHANGED: (
                jobs.create_job_executions_changed_stream,
                iotjobs.JobExecutionsChangedSubscriptionRequest,
            ),
            NEXT_CHANGED: (
                jobs.create_next_job_execution_changed_stream,
                iotjobs.NextJobExecutionChangedSubscriptionRequest,
            ),
        }
        self._streams: dict[
            str, Any
        ] = {}  # a stream that nobody references is collected and goes silent
        loop = asyncio.get_running_loop()
        # How each first subscription ended: its refusal, or None.
        self._first: dict[str, asyncio.Future[StartError | None]] = {
            title: loop.create_future() for title in EVENTS
        }
        self._resubscribing: set[str] = set()

    async def open(self, seconds: float) -> None:
        """Open both streams, and wait until both subscriptions are established.

        Raises:
            StartError: one was refused, or not established within so many seconds.

        """
        for title in EVENTS:
            self._open(title)
        await asyncio.wait(self._first.values(), timeout=seconds)
        for title, first in self._first.items():
            if not first.done():
                raise StartError(
                    f"the {title} stream has no subscription after {self._settings.timeout:g} s",
                    cause=self._connection.broken_since(0) or "a slow network",
                    next_step="try again with a larger --timeout.",
                )
            if refusal := first.result():
                raise refusal

    def reconnected(self, *, session_present: bool) -> None:
        """The connection is back: catch up, at once or when there are subscriptions again."""
        for title, first in self._first.items():
            if first.done() and title not in self._streams:  # it was refused
                self._open(title)
        if session_present:
            self._catch_up()
        else:
            self._resubscribing = set(EVENTS)

    def _open(self, title: str) -> None:
        create, request = self._create[title]
        options = ServiceStreamOptions(
            incoming_event_listener=_ignore,
            subscription_status_listener=lambda status: self._on_status(title, status),
            deserialization_failure_listener=_ignore,
        )
        self._streams[title] = create(request(thing_name=self._settings.thing), options)
        self._streams[title].open()

    def _status_changed(self, title: str, status: Any) -> None:
        if status.type == SubscriptionStatusEventType.SUBSCRIPTION_LOST:
            return  # for the moment: this is told with the connection
        refusal = None
        if status.type == SubscriptionStatusEventType.SUBSCRIPTION_HALTED:
            refusal = self._refused(title, status.error)
        if not self._first[title].done():
            self._first[title].set_result(refusal)
        elif refusal:
            self._warn(
                f"{refusal.message}: {refusal.cause}; its events are not shown until the next reconnect succeeds"
            )
        if title in self._resubscribing:
            self._resubscribing.discard(title)
            if not self._resubscribing:
                self._catch_up()

    def _refused(self, title: str, error: Any) -> StartError:
        self._streams.pop(title, None)
        return stream_refused(
            title, f"$aws/things/{self._settings.thing}/jobs/{TOPICS[title]}", error
        )


def _ignore(_: object) -> None:
    """Every message, readable or not, is seen by the MQTT client's own callback, with its bytes."""
