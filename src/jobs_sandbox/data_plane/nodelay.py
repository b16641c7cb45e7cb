"""TCP_NODELAY for the device SDK's connection, which the SDK neither sets nor offers.

After each answer the SDK sends a PUBACK and then an UNSUBSCRIBE. TCP holds the second back until
the first is acknowledged, which the other side may delay by 40 ms: measured, one request in
twenty took 45 ms instead of 0.8.

The C library below the SDK has had an option for it since July 2026
(https://github.com/awslabs/aws-c-io/pull/816), and the bindings for C++, Java and Swift switch it
on by default; awscrt for Python, up to 0.38, does not have it. When the oldest supported awscrt
does (``awscrt.io.SocketOptions``), delete this module.
"""

import os
import socket
import stat
from contextlib import suppress


def send_at_once(port: int) -> None:
    """Set TCP_NODELAY on this process's connections to a port, as far as that is possible."""
    with suppress(OSError):
        for descriptor in map(int, os.listdir("/dev/fd")):
            with suppress(OSError):
                if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                    _set(os.dup(descriptor), port)


def _set(descriptor: int, port: int) -> None:
    with socket.socket(fileno=descriptor) as connection:
        # An IPv6 address has four parts.
        if connection.getpeername()[1:2] == (port,):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
