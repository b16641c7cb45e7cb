"""What the embedded AWS IoT sees of each MQTT client: its state, and a log in order of time.

Runs in MiniStack's process, in its event loop. An entry of the log has ``time`` (seconds since the
epoch), ``client_id`` and ``what``, and with that these fields:

- ``connect``: ``mqtt`` (5, or 4 for MQTT 3.1.1), ``keep_alive`` in seconds
- ``connack``: ``code``, ``session_present``
- ``disconnect``: ``reason``, as in AWS's lifecycle events; ``unacknowledged`` messages
- ``subscribe``: ``filter``, ``code`` (from 128 on: refused)
- ``request``: ``operation`` (get, start-next, describe, update), ``job_id``, ``status``
- ``response``: ``operation``, ``job_id``, ``outcome`` (accepted, rejected), ``code``, ``message``
- ``event``: ``name`` (notify, notify-next)
- ``refused``: ``action`` and ``resource`` that the policies of the certificate do not allow
- ``fault``: ``kind`` and ``detail`` of a fault that took effect
- ``handshake``: ``failure``, of a TLS handshake; nobody's client id is known then
"""

import asyncio
import operator
import re
import ssl
import time
from collections import deque
from contextlib import suppress
from typing import Any, NamedTuple

from ministack.services import iot

from jobs_sandbox.local import ACCOUNT, REGION

_MOST_CLIENTS = 100
_MOST_ENTRIES = 1000  # for each client

_TOPIC = re.compile(
    r"\$aws/things/[^/]+/jobs/"
    r"(?:(?:([^/]+)/)??(get|start-next|update)(?:/(accepted|rejected))?|(notify|notify-next))"
)
# Of connections that have not sent a CONNECT.
_NOBODY = ""
_logs: dict[str, deque[dict[str, Any]]] = {}
# By client id, the id of the certificate with which it connected last.
_certificates: dict[str, str | None] = {}


class Message(NamedTuple):
    """A message of Jobs: a request, a response or an event.

    Attributes:
        operation: ``get``, ``start-next``, ``describe`` or ``update``; ``""`` for an event.
        job_id: of a describe or update.
        outcome: ``accepted`` or ``rejected``, of a response.
        event: ``notify`` or ``notify-next``.
        packet_id: the packet identifier, or None at QoS 0.
        payload: its JSON, if it is an object.

    """

    operation: str
    job_id: str | None
    outcome: str | None
    event: str | None
    packet_id: int | None
    payload: dict[str, Any]

    @property
    def request(self) -> dict[str, Any]:
        """What it asks for, or answers."""
        return {"operation": self.operation, "job_id": self.job_id}


class Connection(iot._WSSession):  # type: ignore[misc]
    """A connection of MiniStack's broker that is observed."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        # The client id of its CONNECT, also of one that is refused.
        self.name = ""
        # The filters of the SUBSCRIBE that is being answered.
        self._filters: list[str] = []

    def observe(self, kind: int, flags: int, body: bytes) -> None:
        """Record a packet from the client."""
        # MiniStack itself rejects malformed packets.
        with suppress(ValueError, IndexError):
            if kind == iot.PKT_CONNECT:
                self.name = iot._read_string(body, _after_properties(10, body, body[6]))[0]
                _certificates[self.name] = self.certificate_id
                keep_alive = int.from_bytes(body[8:10], "big")
                record(self.name, "connect", mqtt=body[6], keep_alive=keep_alive)
            elif kind == iot.PKT_SUBSCRIBE:
                self._filters = []
                offset = _after_properties(2, body, self.protocol_version)
                while offset < len(body):
                    name, offset = iot._read_string(body, offset)
                    self._filters.append(name)
                    offset += 1  # its options
            elif kind == iot.PKT_PUBLISH:
                message = _read_publish(flags, body, self.protocol_version)
                if message is not None:
                    status = message.payload.get("status")
                    record(self.name, "request", **message.request, status=status)

    def message_in(self, packet: bytes) -> Message | None:
        """The message of Jobs in a packet to the client, if it is one."""
        if packet[0] >> 4 != iot.PKT_PUBLISH:
            return None
        return _read_publish(packet[0], _body_of(packet), self.protocol_version)

    async def send_bytes(self, packet: bytes) -> None:
        """Send a packet to the client, and record it."""
        if self._cleaned_up:
            return
        kind, body = packet[0] >> 4, _body_of(packet)
        if kind == iot.PKT_CONNACK:
            record(self.name, "connack", code=body[1], session_present=bool(body[0]))
        elif kind == iot.PKT_SUBACK:
            codes = body[-len(self._filters) :]
            for name, code in zip(self._filters, codes, strict=True):
                record(self.name, "subscribe", filter=name, code=code)
        elif message := self.message_in(packet):
            if message.event:
                record(self.name, "event", name=message.event)
            else:
                answer = {name: message.payload.get(name) for name in ("code", "message")}
                record(self.name, "response", **message.request, outcome=message.outcome, **answer)
        await super().send_bytes(packet)

    async def cleanup(self) -> None:
        """End the connection."""
        if self._client_id and not self._cleaned_up:
            fields = {"reason": self.disconnect_reason(), "unacknowledged": len(self._in_flight)}
            record(self.name, "disconnect", **fields)
        await super().cleanup()

    def _policy_allows(self, action: str, resource: str) -> bool:
        allowed = bool(super()._policy_allows(action, resource))
        if not allowed:
            record(self.name, "refused", action=action, resource=resource)
        return allowed


class Acceptor(iot._MtlsAcceptor):  # type: ignore[misc]
    """Accepts connections of MQTT, and records TLS handshakes that fail."""

    async def _upgrade(self, transport: Any) -> None:
        # As MiniStack does it, which ignores failures.
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        try:
            context = await iot._mtls_context()
            upgraded = await loop.start_tls(transport, protocol, context, server_side=True)
        except (OSError, RuntimeError) as error:
            reason = error.reason if isinstance(error, ssl.SSLError) else None
            record(_NOBODY, "handshake", failure=reason or "closed by the device")
            transport.abort()
            return
        if not upgraded:
            return
        protocol.connection_made(upgraded)
        writer = asyncio.StreamWriter(upgraded, protocol, reader, loop)
        await iot._mtls_handle_conn(reader, writer)


def _read_publish(flags: int, body: bytes, version: int) -> Message | None:
    topic, offset = iot._read_string(body, 0)
    found = _TOPIC.fullmatch(topic)
    if found is None:
        return None
    packet_id = None
    if flags & 0x06:
        packet_id = int.from_bytes(body[offset : offset + 2], "big")
        offset += 2
    job_id, verb, outcome, event = found.groups()
    operation = "describe" if verb == "get" and job_id else verb or ""
    payload = iot.parse_json_body(body[_after_properties(offset, body, version) :])
    return Message(operation, job_id, outcome, event, packet_id, payload)


def _body_of(packet: bytes) -> bytes:
    return packet[iot._decode_remaining_length(packet, 1)[1] :]


def _after_properties(offset: int, body: bytes, version: int) -> int:
    """The offset after the properties of a packet, which MQTT 5 alone has."""
    end: int = iot._decode_properties(body, offset)[1] if version == iot.MQTT_5 else offset
    return end


def clients_of(certificate: str) -> list[str]:
    """The client ids that connected with a certificate, by its id."""
    return [client_id for client_id, used in _certificates.items() if used == certificate]


def record(client_id: str, what: str, **fields: Any) -> None:
    """Add an entry to the log of a client; fields that are None are left out."""
    if client_id not in _logs and len(_logs) >= _MOST_CLIENTS:
        del _logs[next(iter(_logs))]
    given = {name: value for name, value in fields.items() if value is not None}
    entry = {"time": time.time(), "client_id": client_id, "what": what} | given
    _logs.setdefault(client_id, deque(maxlen=_MOST_ENTRIES)).append(entry)


def activity(client_ids: list[str]) -> dict[str, Any]:
    """The states of clients, and their logs as one."""
    log = [entry for name in [*client_ids, _NOBODY] for entry in _logs.get(name, ())]
    log.sort(key=operator.itemgetter("time"))
    return {"clients": [_state(client_id) for client_id in client_ids], "log": log}


def _state(client_id: str) -> dict[str, Any]:
    key = ACCOUNT, REGION, client_id
    session = iot._connected_clients.get(key)
    since = iot._connectivity.get(key, {}).get("timestamp")
    return {
        "client_id": client_id,
        "connected": session is not None,
        "since": since and since / 1000,
        "subscriptions": sorted(session._sub_filters.values()) if session else [],
        "unacknowledged": len(session._in_flight) if session else 0,
    }
