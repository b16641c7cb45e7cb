"""Faults on the wire of a client of the embedded AWS IoT, as `LocalIoT.fault` describes them.

A fault holds for one client id or, without one, for whoever connects with the certificate of the
device under test. Nothing here keeps a publisher waiting: a task sends what is held back. Runs in
MiniStack's process, in its event loop.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from ministack.core import x509_utils
from ministack.services import iot

from jobs_sandbox.core.jobs import OPERATIONS
from jobs_sandbox.local import ACCOUNT, REGION
from jobs_sandbox.local.child import activity
from jobs_sandbox.local.child.corrections import reject, requester, run

_DETAILS: dict[str, tuple[str, ...]] = {
    "refuse": ("close", "hold", "busy"),
    "silence": ("",),
    "lose": tuple(OPERATIONS),
    "delay": tuple(OPERATIONS),
    "reject": tuple(OPERATIONS),
    "events": ("twice", "never", "late", "early"),
    "withhold": ("PUBACK", "SUBACK", "PINGRESP"),
    "disconnect": ("",),
    "take-over": ("",),
    "forget-session": ("",),
    "certificate": ("unknown-ca", "other-name", "expired", "right"),
    "none": ("",),
}
_WITHHELD = {iot.PKT_PUBACK: "PUBACK", iot.PKT_SUBACK: "SUBACK", iot.PKT_PINGRESP: "PINGRESP"}
# CONNACK codes of MQTT 3.1.1 (server unavailable) and of MQTT 5 (server busy).
_BUSY = {iot.MQTT_311: 0x03, iot.MQTT_5: 0x89}
_POLL = 0.05  # seconds
# In seconds: how long the other client of a take-over takes to come back.
_OTHER_RETURNS = 0.2


@dataclass
class Fault:
    """A fault that holds for some connections until ``end``, or until its ``times`` are used up."""

    client_id: str | None
    kind: str
    detail: str
    seconds: float
    times: int | None
    code: str
    end: float


_faults: list[Fault] = []
_device = ""
_certificate_shown = "right"


def apply(device_certificate: str) -> None:
    """Let `Connection` take the place of MiniStack's connections.

    Args:
        device_certificate: the id of the certificate of the device under test.

    """
    global _device  # noqa: PLW0603 - there is one, as of everything in MiniStack
    _device = device_certificate
    iot._WSSession = Connection
    serve, pending = iot._handle_jobs_publish, iot.jobs_pending_for_thing

    async def serve_or_reject(
        account: str, region: str, thing: str, verb: str, job_id: str | None, payload: bytes
    ) -> None:
        operation = "describe" if verb == "get" and job_id else verb
        connection = requester.get()
        if connection and (fault := connection.take("reject", operation)):
            await reject(thing, verb, job_id, payload, fault.code, "a fault of the sandbox")
        else:
            await serve(account, region, thing, verb, job_id, payload)

    def pending_but_new(thing: str) -> list[dict[str, Any]]:
        executions: list[dict[str, Any]] = pending(thing)
        connection = requester.get()
        fault = connection and connection.find("events", "early")
        if not fault:
            return executions
        latest = iot._jobs_now_ms() - fault.seconds * 1000
        return [one for one in executions if one["queuedAt"] < latest or one["status"] != "QUEUED"]

    iot._handle_jobs_publish, iot.jobs_pending_for_thing = serve_or_reject, pending_but_new


class Connection(activity.Connection):
    """A connection of MiniStack's broker that is observed, and meets faults."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._held: list[bytes] = []

    def find(self, kind: str, *details: str) -> Fault | None:
        """The first fault of a kind that holds for this connection now."""
        now = time.monotonic()
        _faults[:] = [fault for fault in _faults if fault.times != 0 and fault.end > now]
        for fault in _faults:
            if fault.kind == kind and (not details or fault.detail in details):
                is_device = self.certificate_id == _device
                if fault.client_id == self.name or (fault.client_id is None and is_device):
                    return fault
        return None

    def take(self, kind: str, *details: str) -> Fault | None:
        """The same, for a fault that takes effect now: it is counted and recorded."""
        fault = self.find(kind, *details)
        if fault is not None:
            activity.record(self.name, "fault", kind=kind, detail=fault.detail)
            if fault.times is not None:
                fault.times -= 1
        return fault

    async def handle_packet(self, kind: int, flags: int, body: bytes) -> bool:
        """A packet from the client; False when the connection must close."""
        self.observe(kind, flags, body)
        if kind == iot.PKT_CONNECT and (fault := self.take("refuse")):
            if fault.detail == "busy":
                code = _BUSY.get(body[6], 3)
                busy = iot._make_connack(return_code=code, protocol_version=body[6])
                await super().send_bytes(busy)
            elif fault.detail == "hold":
                await self._wait_while("refuse")
            return False
        await self._wait_while("silence")
        return not self._cleaned_up and bool(await super().handle_packet(kind, flags, body))

    async def send_bytes(self, packet: bytes) -> None:
        """A packet to the client."""
        kind = packet[0] >> 4
        message = self.message_in(packet)
        fault = None
        if kind in _WITHHELD:
            fault = self.take("withhold", _WITHHELD[kind])
        elif message and message.event:
            fault = self.take("events", "twice", "never", "late")
        elif message:
            operation = message.operation
            fault = self.take("lose", operation) or self.take("delay", operation)
        if fault is None or fault.detail == "twice":
            await self._pass_on(packet)
        if kind == iot.PKT_CONNACK and self.find("take-over"):
            run(self._be_taken_over())
        if fault is None:
            return
        if fault.detail == "twice":
            await self._pass_on(packet)
        elif fault.kind == "delay" or fault.detail == "late":
            run(self._pass_on_later(packet, fault.seconds))
        elif message:
            # Otherwise it would be sent again after 30 s.
            self._in_flight.pop(message.packet_id, None)

    async def _be_taken_over(self) -> None:
        await asyncio.sleep(_OTHER_RETURNS)
        if not self._cleaned_up:
            await _interfere(self.name, "take-over", None)

    async def _pass_on_later(self, packet: bytes, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._pass_on(packet)

    async def _pass_on(self, packet: bytes) -> None:
        """Send a packet, or hold it back while there is silence."""
        if not self._held and not self.find("silence"):
            await super().send_bytes(packet)
            return
        self._held.append(packet)
        if len(self._held) == 1:
            run(self._release())

    async def _release(self) -> None:
        await self._wait_while("silence")
        while self._held:
            await super().send_bytes(self._held[0])
            # Only now: what comes meanwhile must not overtake it.
            del self._held[0]

    async def _wait_while(self, kind: str) -> None:
        # Another command may end the fault at any time.
        while self.find(kind) and not self._cleaned_up:  # noqa: ASYNC110
            await asyncio.sleep(_POLL)


def clients(client_id: str | None = None) -> list[str]:
    """A client id, or those that connected with the certificate of the device under test."""
    return [client_id] if client_id else activity.clients_of(_device)


async def cause(
    kind: str,
    client_id: str | None = None,
    *,
    detail: str = "",
    seconds: float = 0,
    times: int | None = 1,
    code: str = "",
    reason: int | None = None,
) -> None:
    """Cause a fault, or end faults.

    Raises:
        ValueError: it is unknown, or it is one for a moment and there is no connection to meet.

    """
    if detail not in _DETAILS.get(kind, ()):
        raise ValueError(f"unknown fault: {kind} {detail}".strip())
    if kind == "none":
        _faults[:] = [fault for fault in _faults if client_id and fault.client_id != client_id]
        if _certificate_shown != "right":
            _show_certificate("right")
    elif kind == "certificate":
        _show_certificate(detail)
    else:
        end = float("inf")
        if kind in {"refuse", "silence", "take-over"}:
            times, end = None, time.monotonic() + seconds
        if kind not in {"disconnect", "forget-session"}:
            _faults.append(Fault(client_id, kind, detail, seconds, times, code, end))
        if kind in {"disconnect", "take-over", "forget-session"}:
            met = [await _interfere(name, kind, reason) for name in clients(client_id)]
            if not any(met) and not seconds:
                raise ValueError(f"the fault {kind} meets nothing: the device is not connected")


async def _interfere(client_id: str, kind: str, reason: int | None) -> bool:
    """Do something to the connection or to the session of a client; False if it has none."""
    key = ACCOUNT, REGION, client_id
    connection = iot._connected_clients.get(key)
    if connection is None and not (kind == "forget-session" and key in iot._persistent_sessions):
        return False
    activity.record(client_id, "fault", kind=kind)
    if kind == "forget-session":
        iot._persistent_sessions.pop(key, None)
    elif kind == "take-over":
        await iot._force_disconnect_duplicate(*key)
    if connection is None:
        return True
    if kind == "forget-session":
        connection._persist_session = False
    elif kind == "disconnect":
        connection._forced_disconnect_reason = "SERVER_INITIATED_DISCONNECT"
        if reason is not None and connection.protocol_version == iot.MQTT_5:
            await connection.send_bytes(iot._make_disconnect(reason))
        await connection._send({"type": "websocket.close"})
        await connection.cleanup()
    return True


def _show_certificate(detail: str) -> None:
    """Let the listener show another certificate from the next handshake on."""
    global _certificate_shown  # noqa: PLW0603 - there is one listener
    _certificate_shown = detail
    for name in clients():
        activity.record(name, "fault", kind="certificate", detail=detail)
    ensure = iot._mtls_ensure_server_cert
    if detail != "right":
        made = _certificate(detail)
        iot._mtls_ensure_server_cert = lambda: made
    try:
        iot._mtls_ssl_context = iot._mtls_build_ssl_context()
    finally:
        iot._mtls_ensure_server_cert = ensure


def _certificate(detail: str) -> tuple[str, str]:
    authority = x509_utils.generate_ca() if detail == "unknown-ca" else iot._ensure_ca()
    names, addresses = iot._mtls_server_cert_sans()
    if detail == "other-name":
        names, addresses = ["other.example"], []
    certificate, key, _ = x509_utils.sign_leaf_certificate(
        *authority,
        common_name=names[0],
        san_dns=names,
        san_ips=addresses,
        # MiniStack lets it begin a minute ago; that it ends 30 s ago is a valid period, too.
        days_valid=-30 / 86_400 if detail == "expired" else 30,
        key_type="ec256",
    )
    return certificate, key
