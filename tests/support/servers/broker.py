"""A small MQTT 5 broker with mutual TLS that a test scripts, and a control plane beside it."""

import asyncio
import json
import re
import ssl
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import mqtt5
import trustme

from jobs_sandbox.local import HOST
from tests.support.drivers.program import command_line
from tests.support.servers.control import Control
from tests.support.servers.loop import Server
from tests.support.waiting import PATIENCE, until

THING = "Thing"
JOBS = f"$aws/things/{THING}/jobs/"


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
        """Its client token."""
        return str(self.body["clientToken"])

    def accept(self, **fields: object) -> None:
        """Publish an answer with these fields and the token on the accepted topic."""
        self._answer("accepted", fields)

    def reject(self, **fields: object) -> None:
        """Publish such an answer on the rejected topic."""
        self._answer("rejected", fields)

    def send(self, payload: bytes, outcome: str = "accepted") -> None:
        """Publish these bytes on the topic of an outcome."""
        self._broker.publish(f"{self.name}/{outcome}", payload)

    def _answer(self, outcome: str, fields: dict[str, object]) -> None:
        body = {"clientToken": self.token, "timestamp": 1} | fields
        self.send(json.dumps(body).encode(), outcome)


def accept(request: Request) -> None:
    """Answer a device as if it had nothing to do."""
    lists = ("inProgressJobs", "queuedJobs") if request.name == "get" else ()
    request.accept(**{name: [] for name in lists})


def never(_: Request) -> None:
    """Give no answer."""


class _Client:
    """The session of a client id, and its connection while it has one."""

    def __init__(self) -> None:
        self.writer: asyncio.StreamWriter | None = None
        self.filters: set[str] = set()
        self.missed: list[tuple[str, bytes]] = []
        self._packet_id = 0

    def send(self, packet: Any) -> None:
        if self.writer:
            self.writer.write(packet.write())

    def publish(self, topic: str, payload: bytes) -> None:
        """Send a message to which it is subscribed, or keep it until it is connected."""
        if not any(_covers(pattern, topic) for pattern in self.filters):
            return
        if not self.writer:
            self.missed.append((topic, payload))
            return
        self._packet_id = self._packet_id % 65535 + 1
        qos = mqtt5.QoS.AT_LEAST_ONCE
        self.send(mqtt5.PublishPacket(topic, payload, qos=qos, packet_id=self._packet_id))


class Broker(Server):
    """Serves devices as a test wants it.

    Attributes:
        control: the control plane beside it.
        answer: called with each request that a device publishes.
        connack: the reason code of the next connections.
        suback, puback: reason codes by filter or topic below ``…/jobs/``, where they are errors.
        keep_sessions: a client that comes back finds its subscriptions and what it missed.
        connections: how many times a client connected.
        subscribed: all filters subscribed to so far, below ``…/jobs/``, in order.
        requests: all requests so far.
        pubacks: how many messages were acknowledged.
        pings: how many PINGREQ packets were answered.

    """

    def __init__(self, folder: Path) -> None:
        self.control = Control(THING)
        self.answer: Callable[[Request], None] = accept
        self.connack = mqtt5.ConnAckReasonCode.SUCCESS
        self.suback: dict[str, mqtt5.SubAckReasonCode] = {}
        self.puback: dict[str, mqtt5.PubAckReasonCode] = {}
        self.keep_sessions = False
        self.connections = 0
        self.subscribed: list[str] = []
        self.requests: list[Request] = []
        self.pubacks = 0
        self.pings = 0
        self._clients: dict[str, _Client] = {}
        self._folder = folder
        authority, device, server = _identities()
        authority.cert_pem.write_to_path(folder / "ca.pem")
        device.cert_chain_pems[0].write_to_path(folder / "certificate.pem")
        (folder / "private.key").touch(mode=0o600)
        device.private_key_pem.write_to_path(folder / "private.key")
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.verify_mode = ssl.CERT_REQUIRED
        authority.configure_trust(tls)
        server.configure_cert(tls)
        super().__init__(tls)

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self.control.__exit__()

    def arguments(self, **options: str) -> list[str]:
        """The command line that runs the program against this broker, or a proxy before it."""
        certificate, key, authority = (
            str(self._folder / name) for name in ("certificate.pem", "private.key", "ca.pem")
        )
        given = {"port": str(self.port), "endpoint_url": self.control.url} | options
        return command_line(HOST, certificate, key, THING, ca_file=authority, **given)

    @property
    def environment(self) -> dict[str, str]:
        """Credentials for the control plane."""
        return {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}

    def publish(self, name: str, payload: bytes) -> None:
        """Publish to a topic below ``…/jobs/``."""
        self.publish_all(name, [payload])

    def publish_all(self, name: str, payloads: Iterable[bytes]) -> None:
        """Publish several messages at once."""

        def work() -> None:
            for payload in payloads:
                for client in self._clients.values():
                    client.publish(JOBS + name, payload)

        self.call(work)

    def disconnect(self, reason: mqtt5.DisconnectReasonCode, words: str | None = None) -> None:
        """Send a DISCONNECT to every client."""

        def work() -> None:
            for client in self._clients.values():
                _send_away(client, reason, words)

        self.call(work)

    def wait_for(self, condition: Callable[[], Any], patience: float = PATIENCE) -> Any:
        """Wait until a condition is true, and return its value."""
        return until(condition, patience)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Handle the packets of a client."""
        data = bytearray()
        client: _Client | None = None
        try:
            while chunk := await reader.read(65536):
                data += chunk
                for packet in whole_packets(data):
                    if isinstance(packet, mqtt5.ConnectPacket):
                        client = self._connect(writer, packet)
                    elif client:
                        self._handle(client, packet)
        finally:
            if client and client.writer is writer:
                client.writer = None

    def _connect(self, writer: asyncio.StreamWriter, packet: mqtt5.ConnectPacket) -> _Client | None:
        self.connections += 1
        if self.connack != mqtt5.ConnAckReasonCode.SUCCESS:
            writer.write(mqtt5.ConnAckPacket(reason_code=self.connack).write())
            writer.close()
            return None
        client = self._clients.get(packet.client_id)
        if client:
            _send_away(client, mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER)
        resumes = client is not None and self.keep_sessions and not packet.clean_start
        if client is None or not resumes:
            client = self._clients[packet.client_id] = _Client()
        client.writer = writer
        client.send(mqtt5.ConnAckPacket(session_present=resumes))
        missed, client.missed = client.missed, []
        for topic, payload in missed:
            client.publish(topic, payload)
        return client

    def _handle(self, client: _Client, packet: mqtt5.Packet) -> None:
        match packet:
            case mqtt5.SubscribePacket():
                codes = []
                for pattern in (topic_filter.pattern for topic_filter in packet.topic_filters):
                    name = pattern.removeprefix(JOBS)
                    self.subscribed.append(name)
                    granted = mqtt5.SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE
                    codes.append(self.suback.get(name, granted))
                    if codes[-1] == granted:
                        client.filters.add(pattern)
                client.send(mqtt5.SubAckPacket(packet.packet_id, codes))
            case mqtt5.UnsubscribePacket():
                client.filters -= set(packet.patterns)
                done = [mqtt5.UnsubAckReasonCode.SUCCESS] * len(packet.patterns)
                client.send(mqtt5.UnsubAckPacket(packet.packet_id, done))
            case mqtt5.PublishPacket(packet_id=int(packet_id)):
                success = mqtt5.PubAckReasonCode.SUCCESS
                code = self.puback.get(packet.topic.removeprefix(JOBS), success)
                client.send(mqtt5.PubAckPacket(packet_id, reason_code=code))
                if code == success:
                    self.requests.append(Request(self, packet.topic, packet.payload))
                    self.answer(self.requests[-1])
            case mqtt5.PubAckPacket():
                self.pubacks += 1
            case mqtt5.PingReqPacket():
                self.pings += 1
                client.send(mqtt5.PingRespPacket())


@cache
def _identities() -> tuple[trustme.CA, trustme.LeafCert, trustme.LeafCert]:
    """A CA, and what it issued to the device and to the broker; the keys take a while to make."""
    kind = trustme.KeyType.RSA
    authority = trustme.CA(key_type=kind)
    device = authority.issue_cert("device", key_type=kind)
    return authority, device, authority.issue_cert(HOST, key_type=kind)


def _send_away(
    client: _Client, reason: mqtt5.DisconnectReasonCode, words: str | None = None
) -> None:
    if client.writer:
        client.send(mqtt5.DisconnectPacket(reason_code=reason, reason_str=words))
        client.writer.close()
        client.writer = None


def whole_packets(data: bytearray) -> Iterator[mqtt5.Packet]:
    """Take the packets that have arrived whole off the beginning of ``data``."""
    while True:
        try:
            packet, size = mqtt5.read(memoryview(bytes(data)))
        except IndexError:
            return
        del data[:size]
        yield packet


def _covers(pattern: str, topic: str) -> bool:
    """Whether a filter, with ``+`` for any level, covers a topic."""
    return re.fullmatch(re.escape(pattern).replace(r"\+", "[^/]+"), topic) is not None
