"""The child's own parts: the sockets that it listens on, and its correction of older Pythons."""

import asyncio
import socket
import sys
from asyncio import selector_events
from typing import Any

import pytest

from jobs_sandbox.local.child import __main__ as child


@pytest.mark.parametrize("reading", [True, False])
def test_a_paused_transport_is_not_read(reading: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001
    """With the correction of gh-103607, no reader is added to a paused transport."""
    transport_class = selector_events._SelectorSocketTransport  # type: ignore[attr-defined]
    monkeypatch.setattr(transport_class, "_add_reader", None)
    child.keep_paused_transports_paused()
    added: list[object] = []

    class Loop:
        def _add_reader(self, *arguments: object) -> None:
            added.append(arguments)

    class Transport:
        _loop = Loop()

        def is_reading(self) -> bool:
            return reading

    transport_class._add_reader(Transport(), 5, print, "argument")
    assert added == ([(5, print, "argument")] if reading else [])


async def test_bytes_before_the_upgrade_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a client sends at once waits for the upgrade to TLS: else its ClientHello is lost.

    And small answers do not wait for an acknowledgement: else one request in ten takes 40 ms.
    """
    if sys.version_info < child._FIXED:
        transport_class = selector_events._SelectorSocketTransport  # type: ignore[attr-defined]
        monkeypatch.setattr(transport_class, "_add_reader", None)  # so that it is undone
        child.keep_paused_transports_paused()
    loop = asyncio.get_running_loop()
    accepted: asyncio.Future[Any] = loop.create_future()
    received: asyncio.Future[bytes] = loop.create_future()

    class Acceptor(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            transport.pause_reading()
            accepted.set_result(transport)

        def data_received(self, data: bytes) -> None:
            received.set_result(data)

    listener = child.listener()
    with socket.create_connection(listener.getsockname()) as client:
        client.sendall(b"hello")  # it is there before the server looks
        async with await loop.create_server(Acceptor, sock=listener):
            transport = await asyncio.wait_for(accepted, 10)
            for _ in range(5):
                await asyncio.sleep(0)
            assert not received.done()
            transport.resume_reading()
            assert await asyncio.wait_for(received, 10) == b"hello"
            accepted_socket = transport.get_extra_info("socket")
            assert accepted_socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            transport.abort()
