"""A device in the fewest words: MQTT 5 packets over mTLS, without our program or any AWS SDK."""

import json
import os
import socket
import ssl
import time
from collections import deque
from typing import Any, Self

import mqtt5
import pytest

from tests.support.account import Account, Device
from tests.support.broker import whole_packet

PATIENCE = 15.0
_LIST = ("notify", "notify-next", "get/+", "start-next/+", "+/get/+", "+/update/+")


class RawDevice:
    """A connection that listens to all of its thing's Jobs topics; a context manager.

    Attributes:
        thing: the thing, which exists.

    """

    def __init__(self, account: Account, device: Device, *, client_id: str = "", listens: bool = True) -> None:
        self.thing = device.thing
        self._base = f"$aws/things/{device.thing}/jobs/"
        self._data = bytearray()
        self._packet_id = 0
        self._events: deque[tuple[str, dict[str, Any]]] = deque()
        context = ssl.create_default_context(cafile=account.local.ca_file)
        if device.cert:
            context.load_cert_chain(device.cert, device.key)
        plain = socket.create_connection((account.local.endpoint, account.local.port), PATIENCE)
        self._socket = context.wrap_socket(plain, server_hostname=account.local.endpoint)
        try:
            self._send(mqtt5.ConnectPacket(client_id or f"test-{os.urandom(4).hex()}", clean_start=True))
            self.connack = self._receive(mqtt5.ConnAckPacket).reason_code
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

    def ask(self, name: str, **fields: object) -> tuple[str, dict[str, Any]]:
        """A request, such as ``get`` or ``Job1/update``; ``accepted`` or ``rejected``, and the body."""
        token = os.urandom(4).hex()
        payload = json.dumps({"clientToken": token, **fields}).encode()
        packet = mqtt5.PublishPacket(self._base + name, payload, qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=self._next_id())
        self._send(packet)
        while True:
            topic, body = self._message()
            if body.get("clientToken") == token:
                return topic.rpartition("/")[2], body
            self._events.append((topic, body))

    def event(self) -> tuple[str, dict[str, Any]]:
        """Wait for the next event: ``notify`` or ``notify-next``, and its body."""
        return self._events.popleft() if self._events else self._message()

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """All events up to now: what was sent before the answer to a request has come before it."""
        self.ask("get")
        events = list(self._events)
        self._events.clear()
        return events

    def _message(self) -> tuple[str, dict[str, Any]]:
        packet = self._receive(mqtt5.PublishPacket)
        if packet.packet_id is not None:
            self._send(mqtt5.PubAckPacket(packet.packet_id))
        return packet.topic.removeprefix(self._base), json.loads(packet.payload)

    def _next_id(self) -> int:
        self._packet_id += 1
        return self._packet_id

    def _send(self, packet: Any) -> None:
        self._socket.sendall(packet.write())

    def _receive(self, kind: type) -> Any:
        """The next packet of a kind; acknowledgements of others may come before it."""
        end = time.monotonic() + PATIENCE
        while True:
            while (size := whole_packet(self._data)) is not None:
                packet, _ = mqtt5.read(memoryview(bytes(self._data[:size])))
                del self._data[:size]
                if isinstance(packet, kind):
                    return packet
                if isinstance(packet, mqtt5.PublishPacket):
                    pytest.fail(f"a message came instead of {kind.__name__}: {packet.topic}")
            self._socket.settimeout(max(end - time.monotonic(), 0.001))
            chunk = self._socket.recv(65536)
            if not chunk:
                raise ConnectionError("the connection was closed")
            self._data += chunk
