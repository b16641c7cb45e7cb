"""The sockets that the child listens on."""

import socket
from contextlib import closing

from jobs_sandbox.local.child.__main__ import listener


def test_small_answers_are_sent_at_once() -> None:
    """The protocol is named: else asyncio sets no TCP_NODELAY, and answers take 40 ms at times."""
    with closing(listener()) as listening:
        assert listening.proto == socket.IPPROTO_TCP
        assert listening.getsockname()[0] == "127.0.0.1"
