"""TCP_NODELAY for the device SDK's connection, which the SDK itself neither sets nor offers. Knows no SDK.

After each answer the SDK sends a PUBACK and then an UNSUBSCRIBE. TCP holds the second back until the first is
acknowledged, which the other side may put off for 40 ms: measured, one request in twenty took 45 ms instead of 0.8.

The C library below the SDK has had an option for it since July 2026 (https://github.com/awslabs/aws-c-io/pull/816),
and the bindings for C++, Java and Swift have it too, switched on by default; awscrt for Python, up to 0.38, does not.
When the oldest awscrt that is supported sets it or can be told to (``awscrt.io.SocketOptions``), delete this module.
"""

import os
import socket
import stat
from contextlib import suppress


def send_at_once(port: int) -> None:
    """Set TCP_NODELAY on this process's connections to ``port``; where that cannot be, nothing changes."""
    with suppress(OSError):
        for descriptor in map(int, os.listdir("/dev/fd")):
            with suppress(OSError):
                if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                    _set(os.dup(descriptor), port)


def _set(descriptor: int, port: int) -> None:
    with socket.socket(fileno=descriptor) as connection:
        if connection.getpeername()[1:2] == (port,):  # the addresses of IPv6 have four parts
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
