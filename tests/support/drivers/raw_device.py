"""A device in few words: MQTT 5 packets over mutual TLS, without our program or any AWS SDK."""

import json
import os
import socket
import ssl
from collections import deque
from typing import Any, Protocol, Self

import mqtt5

from tests.support.aws.account import Device
from tests.support.servers.broker import whole_packets
from tests.support.waiting import PATIENCE

_LIST = ("notify", "notify-next", "get/+", "start-next/+", "+/get/+", "+/update/+")


class Endpoint(Protocol):
    """Where a device connects to; without a CA file, the system's CAs are trusted."""

    @property
    def endpoint(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def ca_file(self) -> str | None: ...


class RawDevice:
    """A connection that listens to all Jobs topics of its thing; a context manager.

    With ``session``, in seconds, it resumes its session, and that outlives the connection.

    Attributes:
        thing: the thing's name.
        connack: the reason code of the connection.
        session_present: it found its session.
        qos: that of each message so far, by its name.

    """

    def __init__(
        self,
        where: Endpoint,
        device: Device,
        *,
        client_id: str = "",
        listens: bool = True,
        session: int = 0,
    ) -> None:
        self.thing = device.thing
        self.qos: dict[str, int] = {}
        self._base = f"$aws/things/{device.thing}/jobs/"
        self._data = bytearray()
        self._packet_id = 0
        self._events: deque[tuple[str, dict[str, Any]]] = deque()
        context = ssl.create_default_context(cafile=where.ca_file)
        if device.cert:
            context.load_cert_chain(device.cert, device.key)
        plain = socket.create_connection((where.endpoint, where.port), PATIENCE)
        self._socket = context.wrap_socket(plain, server_hostname=where.endpoint)
        try:
            self._send(
                mqtt5.ConnectPacket(
                    client_id or f"test-{os.urandom(4).hex()}",
                    clean_start=not session,
                    session_expiry_interval=session,
                )
            )
            connack = self._receive(mqtt5.ConnAckPacket)
            self.connack, self.session_present = int(connack.reason_code), connack.session_present
            if listens:
                self.subscribe(*(self._base + name for name in _LIST))
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def subscribe(self, *filters: str) -> list[int]:
        """Subscribe with QoS 1; the reason codes."""
        wanted = [mqtt5.TopicFilter(name, max_qos=mqtt5.QoS.AT_LEAST_ONCE) for name in filters]
        self._send(mqtt5.SubscribePacket(self._next_id(), wanted))
        return [int(code) for code in self._receive(mqtt5.SubAckPacket).reason_codes]

    def publish(self, topic: str, payload: bytes) -> int:
        """Publish with QoS 1; the reason code of the acknowledgement."""
        qos = mqtt5.QoS.AT_LEAST_ONCE
        self._send(mqtt5.PublishPacket(topic, payload, qos=qos, packet_id=self._next_id()))
        acknowledgement = self._receive(mqtt5.PubAckPacket)
        assert acknowledgement.packet_id == self._packet_id
        return int(acknowledgement.reason_code)

    def ask(self, name: str, **fields: object) -> tuple[str, dict[str, Any]]:
        """A request, such as ``get`` or ``Job1/update``; ``accepted`` or ``rejected``, the body."""
        token = os.urandom(4).hex()
        self.publish(self._base + name, json.dumps({"clientToken": token, **fields}).encode())
        earlier = []
        while (message := self.event())[1].get("clientToken") != token:
            earlier.append(message)
        self._events.extendleft(reversed(earlier))
        return message[0].rpartition("/")[2], message[1]

    def event(self) -> tuple[str, dict[str, Any]]:
        """Wait for the next message: its name, such as ``notify`` or ``notify-next``, its body."""
        while not self._events:
            self._receive(mqtt5.PublishPacket)
        return self._events.popleft()

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """All messages up to now: those sent before the answer to a request arrive before it."""
        self.ask("get")
        events = list(self._events)
        self._events.clear()
        return events

    def _next_id(self) -> int:
        self._packet_id += 1
        return self._packet_id

    def _send(self, packet: Any) -> None:
        self._socket.sendall(packet.write())

    def _receive(self, kind: type) -> Any:
        """The next packet of a kind; messages are kept, whichever comes first."""
        while True:
            for packet in whole_packets(self._data):
                if isinstance(packet, mqtt5.PublishPacket):
                    self._keep(packet)
                if isinstance(packet, kind):
                    return packet
            chunk = self._socket.recv(65536)
            if not chunk:
                raise ConnectionError("the connection was closed")
            self._data += chunk

    def _keep(self, packet: mqtt5.PublishPacket) -> None:
        if packet.packet_id is not None:
            self._send(mqtt5.PubAckPacket(packet.packet_id))
        name = packet.topic.removeprefix(self._base)
        self.qos[name] = int(packet.qos)
        self._events.append((name, json.loads(packet.payload)))
