"""Requests over MQTT: sends them, and matches the answers by their client tokens."""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any

from awscrt.exceptions import AwsCrtError

from jobs_sandbox.core.blocks import REJECTED, Block
from jobs_sandbox.core.errors import Rejected
from jobs_sandbox.core.protocols import Show
from jobs_sandbox.data_plane.connection_log import Connection
from jobs_sandbox.data_plane.failures import jobs_topic, request_failed
from jobs_sandbox.data_plane.payloads import to_block


class Requests:
    """The requests in flight."""

    def __init__(self, connection: Connection, on_loop: Callable[..., Any]) -> None:
        self._connection = connection
        self._on_loop = on_loop
        # By client token: a function that takes the topic and the payload of the answer.
        self._in_flight: dict[str, Callable[[str, bytes], None]] = {}

    async def send(self, title: str, call: Callable[[Any], Any], request: Any, show: Show) -> Block:
        """Send a request of the SDK with a method of the SDK, and wait for its answer.

        A request whose caller stops waiting (is canceled) is forgotten.

        Args:
            title: of the response.
            call: the SDK's method.
            request: the SDK's request; the SDK sets its client token.
            show: called with the block of the answer, in the callback in which it arrives.

        Raises:
            Rejected: ``show`` has received the rejection.
            RequestFailed: the SDK reports that there will be no answer.

        """
        answered: asyncio.Future[Block] = asyncio.get_running_loop().create_future()

        def on_answer(topic: str, payload: bytes) -> None:
            # QoS 1 allows duplicates, and the caller may have stopped waiting.
            if answered.done():
                return
            rejected = topic.endswith("/rejected")
            block = to_block(REJECTED if rejected else title, payload)
            show(block)
            if rejected:
                answered.set_exception(Rejected(block.body, payload))
            else:
                answered.set_result(block)

        def on_sdk_done(done: Any) -> None:
            # Only an AwsCrtError means that there is no answer. Anything else is the SDK's view
            # of an answer; a rejection that its model does not fit looks like a failure to it.
            error = getattr(done.exception(), "inner_error", None)
            if isinstance(error, AwsCrtError) and not answered.done():
                answered.set_exception(error)

        sent = monotonic()
        call(request).add_done_callback(self._on_loop(on_sdk_done))
        self._in_flight[request.client_token] = on_answer
        try:
            return await answered
        except AwsCrtError as error:
            seconds = monotonic() - sent
            topic = jobs_topic(request.thing_name, title)
            trouble = self._connection.trouble(seconds)
            raise request_failed(topic, error, seconds, trouble) from error
        finally:
            del self._in_flight[request.client_token]

    def on_message(self, topic: str, payload: bytes) -> None:
        """Take a message that is not an event: an answer, if it has the token of a request."""
        for token, on_answer in self._in_flight.items():
            # A token is unique, so it is also found in an answer that is not valid JSON.
            if token.encode() in payload:
                on_answer(topic, payload)
