"""A small MQTT 5 broker over mTLS whose behaviour a test scripts, beside a control plane that agrees to everything."""

import asyncio
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import mqtt5
import trustme

from tests.support.control import Control
from tests.support.proxy import HOST, PATIENCE, LoopThread

THING = "Thing"
JOBS = f"$aws/things/{THING}/jobs/"
Answering = Callable[["Request"], None]


class Request:
    """A request that a device published.

    Attributes:
        name: its topic below ``…/jobs/``, such as ``get`` or ``Job1/update``.
        body: its JSON.

    """

    def __init__(self, broker: "Broker", topic: str, payload: bytes) -> None:
        self._broker = broker
        self.name = topic.removeprefix(JOBS)
        self.body: dict[str, Any] = json.loads(payload)

    @property
    def token(self) -> str:
        return str(self.body["clientToken"])

    def accept(self, **fields: object) -> None:
        """Block on the accepted topic, with the token."""
        self.send(json.dumps({"clientToken": self.token, "timestamp": 1} | fields).encode())

    def reject(self, **fields: object) -> None:
        """Block on the rejected topic, with the token."""
        self.send(
            json.dumps({"clientToken": self.token, "timestamp": 1} | fields).encode(), "rejected"
        )

    def send(self, payload: bytes, outcome: str = "accepted") -> None:
        """Block with these very bytes."""
        self._broker.publish(f"{self.name}/{outcome}", payload)


def accept(request: Request) -> None:
    """What a device with nothing to do is answered."""
    lists: dict[str, object] = (
        {"inProgressJobs": [], "queuedJobs": []} if request.name == "get" else {}
    )
    request.accept(**lists)


def never(_: Request) -> None:
    """No answer."""


class _Connection:
    def __init__(self, writer: asyncio.StreamWriter, client_id: str) -> None:
        self.writer = writer
        self.client_id = client_id
        self.packet_id = 0

    def publish(self, topic: str, payload: bytes) -> None:
        self.packet_id = self.packet_id % 65535 + 1
        packet = mqtt5.PublishPacket(
            topic, payload, qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=self.packet_id
        )
        self.writer.write(packet.write())


class _Session:
    def __init__(self) -> None:
        self.filters: set[str] = set()
        self.queue: list[tuple[str, bytes]] = []


class Broker:
    """Serves devices until it is told to misbehave; a context manager.

    Attributes:
        port: where it listens; the same after `listen` follows `refuse`.
        control: the control plane beside it.
        answer: what is done with each request that a device publishes.
        connack: the reason code of the next connections; only a success lets them in.
        suback, puback: reason codes by topic or filter below ``…/jobs/``, where it is not a success.
        keep_sessions: a client that comes back finds its subscriptions and what it missed.
        connections: how many connections were accepted so far.
        subscribed: every filter subscribed to so far, below ``…/jobs/``, in order.
        requests: every request so far.
        pubacks: how many messages were acknowledged.
        pings: how many PINGREQs were answered.

    """

    def __init__(self, folder: Path) -> None:
        self.answer: Answering = accept
        self.connack = mqtt5.ConnAckReasonCode.SUCCESS
        self.suback: dict[str, mqtt5.SubAckReasonCode] = {}
        self.puback: dict[str, mqtt5.PubAckReasonCode] = {}
        self.keep_sessions = False
        self.connections = 0
        self.subscribed: list[str] = []
        self.requests: list[Request] = []
        self.pubacks = 0
        self.pings = 0
        self.port = 0
        self.control = Control(THING)
        self._files = {
            name: str(folder / name) for name in ("ca.pem", "certificate.pem", "private.key")
        }
        self._tls = self._make_tls()
        self._loop = LoopThread()
        self._changed = threading.Condition()
        self._connected: dict[str, _Connection] = {}
        self._sessions: dict[str, _Session] = {}
        self._server: asyncio.Server | None = None
        self.listen()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()
        self._loop.close()
        self.control.__exit__()

    def arguments(self, port: int | None = None, **options: str) -> list[str]:
        """The command line that runs the program against this broker, or a proxy before it."""
        given = {
            "port": str(port or self.port),
            "ca-file": self._files["ca.pem"],
            "endpoint-url": self.control.url,
        }
        pairs = [
            (f"--{name.replace('_', '-')}", value) for name, value in (given | options).items()
        ]
        files = [self._files["certificate.pem"], self._files["private.key"]]
        return [HOST, *files, "us-east-1", THING, *(word for pair in pairs for word in pair)]

    @property
    def environment(self) -> dict[str, str]:
        return {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}

    # What a test makes it do

    def publish(self, name: str, payload: bytes) -> None:
        """Publish to a topic below ``…/jobs/``."""
        self.publish_all(name, [payload])

    def publish_all(self, name: str, payloads: Iterable[bytes]) -> None:
        """Publish all to one topic, in one go."""

        def work() -> None:
            for client_id, session in self._sessions.items():
                if not any(_matches(pattern, JOBS + name) for pattern in session.filters):
                    continue
                if connection := self._connected.get(client_id):
                    for payload in payloads:
                        connection.publish(JOBS + name, payload)
                else:
                    session.queue += [(JOBS + name, payload) for payload in payloads]

        self._call(work)

    def disconnect(self, reason: mqtt5.DisconnectReasonCode, words: str | None = None) -> None:
        """Send every client away with a DISCONNECT."""

        def work() -> None:
            for connection in self._connected.values():
                connection.writer.write(
                    mqtt5.DisconnectPacket(reason_code=reason, reason_str=words).write()
                )
                connection.writer.close()

        self._call(work)

    def drop(self) -> None:
        """Cut every connection without a word."""

        def work() -> None:
            for connection in self._connected.values():
                connection.writer.transport.abort()

        self._call(work)

    def refuse(self) -> None:
        """Cut every connection, and accept no more."""
        if self._server:
            self._call(self._server.close)
            self._server = None
        self.drop()

    def listen(self) -> None:
        """Accept connections, on the same port as before."""
        self._server = self._loop.run(
            asyncio.start_server(self._serve, HOST, self.port, ssl=self._tls)
        )
        self.port = self._server.sockets[0].getsockname()[1]

    def wait_for(self, condition: Callable[[], Any], patience: float = PATIENCE) -> Any:
        """Wait until the condition, looked at after each packet, is true; its value."""
        with self._changed:
            value = self._changed.wait_for(condition, patience)
        assert value, "the broker waited in vain"
        return value

    # What it does by itself

    def _call(self, work: Callable[[], None]) -> None:
        """Run on the loop, which `answer` is on already."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            self._loop.call(work)
        else:
            work()

    def _make_tls(self) -> ssl.SSLContext:
        authority = trustme.CA(key_type=trustme.KeyType.RSA)
        device = authority.issue_cert("device", key_type=trustme.KeyType.RSA)
        authority.cert_pem.write_to_path(self._files["ca.pem"])
        device.cert_chain_pems[0].write_to_path(self._files["certificate.pem"])
        Path(self._files["private.key"]).touch(mode=0o600)
        device.private_key_pem.write_to_path(self._files["private.key"])
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.verify_mode = ssl.CERT_REQUIRED
        authority.configure_trust(context)
        authority.issue_cert(HOST, key_type=trustme.KeyType.RSA).configure_cert(context)
        return context

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection: _Connection | None = None
        data = bytearray()
        with suppress(OSError, ssl.SSLError):
            while chunk := await reader.read(65536):
                _acknowledge_at_once(writer)
                data += chunk
                while (size := whole_packet(data)) is not None:
                    packet, _ = mqtt5.read(memoryview(bytes(data[:size])))
                    del data[:size]
                    if isinstance(packet, mqtt5.ConnectPacket):
                        connection = self._connect(writer, packet)
                    elif connection is not None:
                        self._handle(connection, packet)
                    with self._changed:
                        self._changed.notify_all()
        if connection is not None and self._connected.get(connection.client_id) is connection:
            del self._connected[connection.client_id]
        writer.transport.abort()

    def _connect(
        self, writer: asyncio.StreamWriter, packet: mqtt5.ConnectPacket
    ) -> _Connection | None:
        self.connections += 1
        client_id = packet.client_id
        if self.connack != mqtt5.ConnAckReasonCode.SUCCESS:
            writer.write(mqtt5.ConnAckPacket(reason_code=self.connack).write())
            writer.close()
            return None
        present = self.keep_sessions and not packet.clean_start and client_id in self._sessions
        if not present:
            self._sessions[client_id] = _Session()
        if old := self._connected.get(client_id):
            taken_over = mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER
            old.writer.write(mqtt5.DisconnectPacket(reason_code=taken_over).write())
            old.writer.close()
        connection = self._connected[client_id] = _Connection(writer, client_id)
        writer.write(mqtt5.ConnAckPacket(session_present=present).write())
        queue, self._sessions[client_id].queue = self._sessions[client_id].queue, []
        for topic, payload in queue:
            connection.publish(topic, payload)
        return connection

    def _handle(self, connection: _Connection, packet: mqtt5.Packet) -> None:
        match packet:
            case mqtt5.SubscribePacket():
                patterns = [topic_filter.pattern for topic_filter in packet.topic_filters]
                codes = [
                    self.suback.get(
                        pattern.removeprefix(JOBS), mqtt5.SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE
                    )
                    for pattern in patterns
                ]
                granted = {
                    pattern
                    for pattern, code in zip(patterns, codes, strict=True)
                    if int(code) < 128
                }
                self._sessions[connection.client_id].filters |= granted
                self.subscribed += [pattern.removeprefix(JOBS) for pattern in patterns]
                connection.writer.write(mqtt5.SubAckPacket(packet.packet_id, codes).write())
            case mqtt5.UnsubscribePacket():
                self._sessions[connection.client_id].filters -= set(packet.patterns)
                codes_gone = [mqtt5.UnsubAckReasonCode.SUCCESS] * len(packet.patterns)
                connection.writer.write(mqtt5.UnsubAckPacket(packet.packet_id, codes_gone).write())
            case mqtt5.PublishPacket(packet_id=int(packet_id)):
                code = self.puback.get(
                    packet.topic.removeprefix(JOBS), mqtt5.PubAckReasonCode.SUCCESS
                )
                connection.writer.write(mqtt5.PubAckPacket(packet_id, reason_code=code).write())
                if int(code) < 128:
                    request = Request(self, packet.topic, packet.payload)
                    self.requests.append(request)
                    self.answer(request)
            case mqtt5.PubAckPacket():
                self.pubacks += 1
            case mqtt5.PingReqPacket():
                self.pings += 1
                connection.writer.write(mqtt5.PingRespPacket().write())
            case mqtt5.DisconnectPacket(session_expiry_interval=0):
                self._sessions.pop(connection.client_id, None)


def _acknowledge_at_once(writer: asyncio.StreamWriter) -> None:
    """The device SDK writes in small pieces with Nagle's algorithm on: a delayed ACK costs 40 ms a request."""
    if hasattr(socket, "TCP_QUICKACK"):
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def whole_packet(data: bytearray) -> int | None:
    """The size of the packet that ``data`` begins with; None while it is not all there."""
    length = shift = 0
    for index in range(1, min(len(data), 5)):
        length |= (data[index] & 0x7F) << shift
        shift += 7
        if not data[index] & 0x80:
            size = index + 1 + length
            return size if len(data) >= size else None
    return None


def _matches(pattern: str, topic: str) -> bool:
    """Whether a filter, with ``+`` for any level, covers a topic."""
    levels, parts = pattern.split("/"), topic.split("/")
    return len(levels) == len(parts) and all(
        level in ("+", part) for level, part in zip(levels, parts, strict=True)
    )
