"""Endpoints on loopback that are not what the program expects, and certificates for them."""

import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import trustme

from jobs_sandbox.local import HOST

Behaviour = Callable[[socket.socket], None]


def silent(connection: socket.socket) -> None:
    """Read whatever comes, and send nothing."""
    while connection.recv(65536):
        pass


def closing(_: socket.socket) -> None:
    """Hang up at once."""


def talking(words: bytes) -> Behaviour:
    """Send first, then read."""

    def behave(connection: socket.socket) -> None:
        connection.sendall(words)
        silent(connection)

    return behave


class _Server(socketserver.ThreadingTCPServer):
    request_queue_size = 50

    def __init__(self, behaviour: Behaviour, tls: ssl.SSLContext | None) -> None:
        super().__init__((HOST, 0), socketserver.BaseRequestHandler)
        self._behaviour = behaviour
        self._tls = tls

    def finish_request(self, request: object, client_address: object) -> None:
        assert isinstance(request, socket.socket)
        # The program hangs up, or does not accept the certificate.
        with suppress(OSError):
            connection = self._tls.wrap_socket(request, server_side=True) if self._tls else request
            with connection:
                self._behaviour(connection)


@contextmanager
def serving(behaviour: Behaviour, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server's port; the end waits until all clients have hung up."""
    with _Server(behaviour, tls) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


def server_tls(certificate: trustme.LeafCert, clients_from: str | None = None) -> ssl.SSLContext:
    """A server's side of TLS; with the file of a CA, it demands a client certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    if clients_from:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients_from)
    return context


@contextmanager
def closed_port() -> Iterator[int]:
    """A port on which nothing listens, and that nothing else can take."""
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        yield taken.getsockname()[1]


@contextmanager
def black_hole() -> Iterator[int]:
    """A port that answers nothing, as behind a firewall: its queue of connections is full."""
    with socket.socket() as full:
        full.bind((HOST, 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.settimeout(0)
            with suppress(BlockingIOError):
                one.connect(full.getsockname())
        yield full.getsockname()[1]
        for one in waiting:
            one.close()
