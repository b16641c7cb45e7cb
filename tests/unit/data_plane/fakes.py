"""A hand-written stand-in for the device SDK, and a listener that keeps what it receives."""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from types import SimpleNamespace
from typing import Any

from awscrt import mqtt5
from awscrt.exceptions import AwsCrtError
from awscrt.mqtt_request_response import SubscriptionStatusEventType as Status
from awsiot import V2ServiceException

from jobs_sandbox.core.blocks import CHANGED, NEXT_CHANGED, Block
from jobs_sandbox.core.settings import Settings
from jobs_sandbox.data_plane.client import DataPlane

JOBS = "$aws/things/Thing/jobs/"
OPERATIONS = (
    "get_pending_job_executions",
    "start_next_pending_job_execution",
    "describe_job_execution",
    "update_job_execution",
)
HANGUP = AwsCrtError(5, "AWS_ERROR_MQTT_UNEXPECTED_HANGUP", "hung up")


def rr_error(name: str) -> AwsCrtError:
    """An error of the SDK's requests and streams."""
    return AwsCrtError(1, f"AWS_ERROR_MQTT_REQUEST_RESPONSE_{name}", "its message")


async def settle() -> None:
    """Let the loop run what was handed over to it, and what follows from that."""
    for _ in range(10):
        await asyncio.sleep(0)


class FakeListener:
    """Keeps what it receives, in the order of arrival; `show` is for answers to requests."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.pending: list[Block] = []
        self.states: list[tuple[str, str]] = []
        self.warnings: list[str] = []
        self.event = self.show = self.blocks.append
        self.caught_up = self.pending.append
        self.warning = self.warnings.append

    def connection(self, state: str, message: str) -> None:
        self.states.append((state, message))


class FakeStream:
    """A stream of the SDK; ``on_open`` is called when it is opened."""

    def __init__(self, options: Any, on_open: Callable[["FakeStream"], None]) -> None:
        self.options = options
        self.open = partial(on_open, self)

    def status(self, kind: Status, error: Exception | None = None) -> None:
        self.options.subscription_status_listener(SimpleNamespace(type=int(kind), error=error))

    def established(self) -> None:
        self.status(Status.SUBSCRIPTION_ESTABLISHED)

    def refused(self) -> None:
        self.status(Status.SUBSCRIPTION_HALTED, rr_error("SUBSCRIBE_FAILURE"))


class FakeSdk:
    """The MQTT client and the Jobs client in one.

    Attributes:
        settings, listener: the data plane's.
        on_start, on_open, on_explain: called when the client is started, when a stream is opened,
            and while a failed connection is explained.
        built, options: what the clients were made with.
        opened: the titles of the streams that were opened.
        streams: the last stream of each title.
        asked: each request with the name of its operation and its future.
        stopped_with: the DISCONNECT packets.
        stops: whether the client stops when asked.

    """

    def __init__(self) -> None:
        self.settings = Settings(
            "host", "cert", "key", "region", "Thing", "test-1", 1, "ca", timeout=60
        )
        self.listener = FakeListener()
        self.on_start: Callable[[], None] = self.connected
        self.on_open: Callable[[FakeStream], None] = FakeStream.established
        self.on_explain: Callable[[], None] = lambda: None
        self.built: dict[str, Any] = {}
        self.options: Any = None
        self.opened: list[str] = []
        self.streams: dict[str, FakeStream] = {}
        self.asked: list[tuple[str, Any, Future[Any]]] = []
        self.stopped_with: list[Any] = []
        self.stops = True

    def data_plane(self, **settings: Any) -> DataPlane:
        """A data plane, with other settings if they are given."""
        return DataPlane(self.settings._replace(**settings), self.listener)

    # The builders and the clients

    def build(self, cert: str, key: str, **options: Any) -> "FakeSdk":
        self.built = options | {"cert": cert, "key": key}
        return self

    def jobs_client(self, mqtt: "FakeSdk", options: Any) -> Any:
        self.options = options
        return SimpleNamespace(
            create_job_executions_changed_stream=partial(self._stream, CHANGED),
            create_next_job_execution_changed_stream=partial(self._stream, NEXT_CHANGED),
            **{name: partial(self._ask, name) for name in OPERATIONS},
        )

    def start(self) -> None:
        self.on_start()

    def stop(self, packet: Any) -> None:
        self.stopped_with.append(packet)
        if self.stops:
            self.stopped()

    def _stream(self, title: str, request: Any, options: Any) -> FakeStream:
        assert type(request).__name__ == title.replace("Event", "SubscriptionRequest")
        assert request.thing_name == "Thing"
        options._validate()
        self.opened.append(title)
        self.streams[title] = FakeStream(options, self.on_open)
        return self.streams[title]

    def _ask(self, operation: str, request: Any) -> "Future[Any]":
        request.client_token = f"token-{len(self.asked)}"
        self.asked.append((operation, request, Future()))
        return self.asked[-1][2]

    # What happens

    def connected(self) -> None:
        self.built["on_lifecycle_connection_success"](None)

    def failed(self, connack: mqtt5.ConnackPacket | None = None) -> None:
        data = SimpleNamespace(exception=HANGUP, connack_packet=connack)
        self.built["on_lifecycle_connection_failure"](data)

    def lost(self, packet: mqtt5.DisconnectPacket | None = None) -> None:
        data = SimpleNamespace(exception=HANGUP, disconnect_packet=packet)
        self.built["on_lifecycle_disconnection"](data)

    def forgotten(self) -> None:
        """The connection was lost and is back, but the broker has not kept the session."""
        self.lost()
        self.connected()
        for stream in self.streams.values():
            stream.status(Status.SUBSCRIPTION_LOST)

    def stopped(self) -> None:
        self.built["on_lifecycle_stopped"](None)

    def arrives(self, payload: bytes | None, topic: str = "notify") -> None:
        packet = SimpleNamespace(payload=payload, topic=JOBS + topic)
        self.built["on_publish_received"](SimpleNamespace(publish_packet=packet))

    def answers(self, topic: str, number: int = 0, /, **fields: object) -> bytes:
        """A message with the token of a request arrives."""
        payload = json.dumps({"clientToken": f"token-{number}"} | fields).encode()
        self.arrives(payload, topic)
        return payload

    def ends(self, error: Exception) -> None:
        """The SDK reports the failure of the last request, or what it thinks of the answer."""
        self.asked[-1][2].set_exception(V2ServiceException("failure", error, None))
