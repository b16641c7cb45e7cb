"""Requests over MQTT: sends them, matches the answers by their client tokens, and knows those that come late."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from awscrt import mqtt5
from awscrt.exceptions import AwsCrtError

from jobs_sandbox.core.blocks import DESCRIBE, REJECTED, START_NEXT, UPDATE, Block
from jobs_sandbox.core.blocks import GET_PENDING as PENDING
from jobs_sandbox.core.errors import Rejected, RequestFailed
from jobs_sandbox.core.protocols import Show
from jobs_sandbox.data_plane.connection_log import Connection
from jobs_sandbox.data_plane.failures import request_failed, unanswered
from jobs_sandbox.data_plane.payloads import client_token, to_block

_REMEMBERED = 10  # failed requests whose answer may still come


class Operation(NamedTuple):
    """An operation of the Jobs service.

    Attributes:
        title: of its answer.
        topic: its topic below ``$aws/things/<thing>/jobs/``, with ``*`` for the job id, as a policy names it.

    """

    title: str
    topic: str


GET_PENDING = Operation(PENDING, "get")
START = Operation(START_NEXT, "start-next")
DESCRIBE_EXECUTION = Operation(DESCRIBE, "*/get")
UPDATE_EXECUTION = Operation(UPDATE, "*/update")


@dataclass(eq=False, frozen=True)
class _Request:
    """A request that was sent."""

    title: str
    topic: str
    policy_topic: str
    token: str
    deliver: Show
    answered: "asyncio.Future[Block]"
    mark: int  # of the connection, when it was sent

    @property
    def answer_topics(self) -> list[str]:
        return [f"{self.topic}/accepted", f"{self.topic}/rejected"]


class Requests:
    """The requests in flight, and the last ones that failed for want of an answer.

    An answer is a message: `on_message` takes it. The SDK's own future tells failures only.
    """

    def __init__(
        self,
        mqtt: Any,
        connection: Connection,
        timeout: float,
        on_unmatched: Callable[[Block], None],
        *,
        on_loop: Callable[[Callable[..., None]], Callable[..., None]],
    ) -> None:
        self._mqtt = mqtt
        self._connection = connection
        self._timeout = timeout
        self._on_unmatched = on_unmatched
        self._on_loop = on_loop
        self._loop = asyncio.get_running_loop()
        self._in_flight: dict[str, _Request] = {}  # by client token
        self._failed: dict[str, _Request] = {}  # the same; an answer may still come

    def send(
        self, operation: Operation, call: Callable[[Any], Any], request: Any, deliver: Show
    ) -> "asyncio.Future[Block]":
        """Send a request of the SDK with a method of the SDK.

        Returns:
            The answer's block, once ``deliver`` has had it; or `Rejected`, likewise; or `RequestFailed`.

        """
        answered: asyncio.Future[Block] = self._loop.create_future()
        try:
            sdk_future = call(request)
        except (AwsCrtError, ValueError, RuntimeError) as error:
            answered.set_exception(RequestFailed(f"the device SDK refused the request: {error}"))
            return answered
        policy_topic = f"$aws/things/{request.thing_name}/jobs/{operation.topic}"
        topic = policy_topic.replace("*", getattr(request, "job_id", ""))
        token = request.client_token  # the SDK has made one
        sent = _Request(
            operation.title, topic, policy_topic, token, deliver, answered, self._connection.mark()
        )
        self._in_flight[token] = sent
        # The SDK's own timer takes whole seconds, and runs no more when it believes that the answer has come.
        timer = self._loop.call_later(self._timeout, self._on_timeout, sent)
        answered.add_done_callback(lambda _: timer.cancel())
        on_done = self._on_loop(self._on_sdk_done)
        sdk_future.add_done_callback(lambda done: on_done(sent, done.exception()))
        return answered

    def on_message(self, topic: str, payload: bytes) -> None:
        """Take a message from an answer topic: the answer to a request, be it late, or nobody's."""
        operation, _, outcome = topic.rpartition("/")
        rejected = outcome == "rejected"
        waiting = [
            it
            for it in (*self._in_flight.values(), *self._failed.values())
            if it.topic == operation
        ]
        # A token is unique, so its bytes tell, even where the JSON around them cannot be read.
        asked = next((it for it in waiting if it.token.encode() in payload), None)
        if asked:
            self._on_answer(asked, to_block(REJECTED if rejected else asked.title, payload))
        elif waiting and client_token(payload) is None:
            note = f"an answer on {topic} that names no request: its clientToken is missing or unreadable"
            self._on_unmatched(
                to_block(REJECTED if rejected else waiting[0].title, payload)._replace(note=note)
            )

    def _on_answer(self, request: _Request, block: Block) -> None:
        self._in_flight.pop(request.token, None)
        self._forget(request.token)
        if not request.answered.done():  # who waits for it wakes up after this callback
            if block.title == REJECTED:
                request.answered.set_exception(Rejected(block.body, block.payload))
            else:
                request.answered.set_result(block)
        request.deliver(block)

    def _on_sdk_done(self, request: _Request, error: Any) -> None:
        # Anything but an error of its own means that an answer came: the SDK's opinion on it does not matter.
        if error is not None and isinstance(error.inner_error, AwsCrtError):
            broken = self._connection.broken_since(request.mark)
            failure = request_failed(request.policy_topic, error.inner_error, self._timeout, broken)
            self._on_failure(request, failure)

    def _on_timeout(self, request: _Request) -> None:
        broken = self._connection.broken_since(request.mark)
        self._on_failure(request, unanswered(request.policy_topic, self._timeout, broken))

    def _on_failure(self, request: _Request, failure: RequestFailed) -> None:
        if self._in_flight.pop(request.token, None) is None:
            return  # it was answered, or has failed already
        if failure.uncertain:
            self._listen_on(request)
        if not request.answered.done():
            request.answered.set_exception(failure)

    def _listen_on(self, request: _Request) -> None:
        """Subscribe for the late answer, by other filters than the SDK's: it unsubscribes from its own now."""
        self._failed[request.token] = request
        filters = [
            mqtt5.Subscription(topic, mqtt5.QoS.AT_LEAST_ONCE) for topic in request.answer_topics
        ]
        self._mqtt.subscribe(mqtt5.SubscribePacket(filters))
        if len(self._failed) > _REMEMBERED:
            self._forget(next(iter(self._failed)))

    def _forget(self, token: str) -> None:
        """Wait no more for the late answer to a request, if it is one of these."""
        request = self._failed.pop(token, None)
        if request and request.topic not in (other.topic for other in self._failed.values()):
            self._mqtt.unsubscribe(mqtt5.UnsubscribePacket(request.answer_topics))
