"""TCP_NODELAY, set on the one connection that is meant."""

import os
import socket

import pytest

from jobs_sandbox.data_plane.nodelay import send_at_once


def test_only_the_connections_to_that_port() -> None:
    """The connection to the port sends at once; others, and other kinds of files, are left as they are."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_server(("127.0.0.1", 0)) as other,
        socket.create_connection(server.getsockname()) as meant,
        socket.create_connection(other.getsockname()) as not_meant,
    ):
        local, remote = socket.socketpair()
        files = os.listdir("/dev/fd")
        send_at_once(server.getsockname()[1])
        assert os.listdir("/dev/fd") == files
        assert meant.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert not not_meant.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        local.sendall(b"still open")
        assert remote.recv(100) == b"still open"
        local.close()
        remote.close()


def test_a_system_without_dev_fd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system does not list open files, nothing happens."""

    def no_list(path: str) -> list[str]:
        raise FileNotFoundError(path)

    monkeypatch.setattr(os, "listdir", no_list)
    send_at_once(1)
