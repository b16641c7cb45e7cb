"""A hand-written stand-in for the device SDK, a listener that keeps what it receives, and tests on an event loop."""

import asyncio
import functools
import json
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future
from contextlib import asynccontextmanager
from tempfile import NamedTemporaryFile
from types import SimpleNamespace
from typing import Any

from awscrt import mqtt5
from awscrt.exceptions import AwsCrtError
from awscrt.mqtt_request_response import SubscriptionStatusEventType as Status
from awsiot import V2ServiceException, iotjobs

from jobs_sandbox.core.blocks import CHANGED, NEXT_CHANGED, Block
from jobs_sandbox.core.settings import Settings
from jobs_sandbox.data_plane.client import DataPlane

# A file that nobody else can read.
KEY = NamedTemporaryFile()  # noqa: SIM115 - it lasts as long as the tests
SETTINGS = Settings(
    "host", "cert", KEY.name, "region", "Thing", "test-1", port=1, ca_file="ca", timeout=60
)
JOBS = "$aws/things/Thing/jobs/"
RR = "AWS_ERROR_MQTT_REQUEST_RESPONSE_"
HANGUP = AwsCrtError(5, "AWS_ERROR_MQTT_UNEXPECTED_HANGUP", "hung up")


def asynchronous(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test on an event loop of its own, in which no callback may raise and no failure may be overlooked."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        wrong: list[dict[str, Any]] = []

        async def watched() -> None:
            asyncio.get_running_loop().set_exception_handler(
                lambda _, context: wrong.append(context)
            )
            await test(*args, **kwargs)

        asyncio.run(watched())
        assert wrong == []

    return run


async def settle() -> None:
    """Let the loop run what was handed over to it, and what follows from that."""
    for _ in range(10):
        await asyncio.sleep(0)


class FakeListener:
    """Keeps what it receives, all in the order of its arrival in ``log``."""

    def __init__(self) -> None:
        self.log: list[object] = []
        self.events: list[Block] = []
        self.pending: list[Block] = []
        self.states: list[tuple[str, str]] = []
        self.warnings: list[str] = []
        self.threads: set[int] = set()

    def event(self, block: Block) -> None:
        self.events.append(block)
        self.log.append(block)
        self.threads.add(threading.get_ident())

    def caught_up(self, pending: Block) -> None:
        self.pending.append(pending)

    def connection(self, state: str, message: str) -> None:
        self.states.append((state, message))
        self.threads.add(threading.get_ident())

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
        self.streams: dict[str, FakeStream] = {}  # the last of each title
        self.created: list[str] = []
        self.asked: list[tuple[str, Any, Future[Any]]] = []
        self.build_error: Exception | None = None
        self.send_error: Exception | None = None
        self.on_start: Callable[[], None] = self.connected
        self.on_open: Callable[[FakeStream], None] = lambda stream: stream.status(
            Status.SUBSCRIPTION_ESTABLISHED
        )
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
            self.stopped()

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
        self.created.append(title)
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
        request.client_token = f"token-{len(self.asked):04}"
        answered: Future[Any] = Future()
        self.asked.append((operation, request, answered))
        return answered

    # What happens

    def connected(self, *, session_present: bool = False) -> None:
        connack = SimpleNamespace(session_present=session_present)
        self.built["on_lifecycle_connection_success"](SimpleNamespace(connack_packet=connack))

    def failed(self, error: Exception = HANGUP, code: int | None = None) -> None:
        connack = (
            None if code is None else mqtt5.ConnackPacket(reason_code=mqtt5.ConnectReasonCode(code))
        )
        self.built["on_lifecycle_connection_failure"](
            SimpleNamespace(exception=error, connack_packet=connack)
        )

    def lost(self, error: Exception = HANGUP, packet: mqtt5.DisconnectPacket | None = None) -> None:
        self.built["on_lifecycle_disconnection"](
            SimpleNamespace(exception=error, disconnect_packet=packet)
        )

    def stopped(self) -> None:
        self.built["on_lifecycle_stopped"](None)

    def arrives(self, payload: bytes | None, topic: str = "notify") -> None:
        packet = SimpleNamespace(payload=payload, topic=JOBS + topic)
        self.built["on_publish_received"](SimpleNamespace(publish_packet=packet))

    def answers(self, topic: str, number: int = 0, /, **fields: object) -> bytes:
        """A message with the token of a request arrives."""
        payload = json.dumps({"clientToken": f"token-{number:04}"} | fields).encode()
        self.arrives(payload, topic)
        return payload

    def fails(self, name: str, number: int = -1) -> None:
        """The SDK gives up on a request."""
        self.ends(AwsCrtError(1, RR + name, "words"), number)

    def ends(self, error: Exception, number: int = -1) -> None:
        """The SDK reports an error of its own, or what it thinks of an answer."""
        self.asked[number][2].set_exception(V2ServiceException("failure", error, None))


@asynccontextmanager
async def started(
    listener: FakeListener, settings: Settings = SETTINGS
) -> AsyncIterator[DataPlane]:
    """A data plane that is connected to the fake SDK."""
    async with DataPlane(settings, listener) as data:
        yield data
