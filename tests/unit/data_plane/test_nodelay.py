"""TCP_NODELAY, set on the one connection that is meant."""

import os
import socket

import pytest

from jobs_sandbox.data_plane.nodelay import send_at_once


@pytest.mark.parametrize(
    ("family", "host"),
    [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")],
)
def test_only_the_connections_to_that_port(family: socket.AddressFamily, host: str) -> None:
    """The connections to the port send at once; others are left as they are."""
    with (
        socket.create_server((host, 0), family=family) as server,
        socket.create_server((host, 0), family=family) as other,
        socket.create_connection(server.getsockname()[:2]) as meant,
        socket.create_connection(other.getsockname()[:2]) as not_meant,
    ):
        files = os.listdir("/dev/fd")
        send_at_once(server.getsockname()[1])
        assert os.listdir("/dev/fd") == files
        assert meant.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert not not_meant.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_system_without_dev_fd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system does not list open files, nothing happens."""

    def no_list(path: str) -> list[str]:
        raise FileNotFoundError(path)

    monkeypatch.setattr(os, "listdir", no_list)
    send_at_once(1)
