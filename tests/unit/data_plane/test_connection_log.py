"""The changes of a connection become a few messages."""

import pytest

from jobs_sandbox.data_plane import connection_log
from jobs_sandbox.data_plane.connection_log import Connection


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(connection_log, "monotonic", lambda: clock.now)
    return clock


def test_messages(clock: Clock) -> None:
    """A loss, each new cause while it is down, and the reconnect are one message each."""
    reported: list[tuple[str, str]] = []
    connection = Connection(lambda *change: reported.append(change))
    for outage in range(3):
        assert not connection.up
        connection.restored()
        assert connection.up
        connection.lost(f"network {outage}")
        for cause in ["refused", f"network {outage}", "timeout", "refused"]:
            clock.now += 2
            connection.failed(cause)
    connection.close()
    connection.restored()
    assert reported[:5] == [
        ("connected", ""),
        ("reconnecting", "connection lost: network 0"),
        ("reconnecting", "cannot reconnect yet: refused"),
        ("reconnecting", "cannot reconnect yet: timeout"),
        ("connected", "reconnected after 8.0 s"),
    ]
    assert (len(reported), reported[-1]) == (13, ("stopped", ""))


def test_trouble(clock: Clock) -> None:
    """A connection that is or was down within the given time is described with its cause."""
    connection = Connection(lambda *_: None)
    connection.restored()
    assert connection.trouble(60) == ""
    connection.lost("network")
    connection.failed("refused")
    clock.now += 3
    assert connection.trouble(1) == "the connection is down (for 3 s): refused"
    connection.restored()
    clock.now += 4
    assert connection.trouble(5) == "the connection was lost meanwhile: refused"
    assert connection.trouble(3) == ""
