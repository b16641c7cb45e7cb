"""Servers on loopback that are not what was asked for, and certificates for them."""

import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import trustme

HOST = "127.0.0.1"
Behaviour = Callable[[socket.socket], None]


def silent(connection: socket.socket) -> None:
    """Read whatever comes, and say nothing."""
    while connection.recv(65536):
        pass


def closing(_: socket.socket) -> None:
    """Hang up at once."""


def talking(words: bytes) -> Behaviour:
    """Speak first, then listen."""

    def behave(connection: socket.socket) -> None:
        connection.sendall(words)
        silent(connection)

    return behave


def answering(words: bytes) -> Behaviour:
    """Block the first thing that comes, then hang up."""

    def behave(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(words)

    return behave


class _Server(socketserver.ThreadingTCPServer):
    request_queue_size = 50

    def __init__(self, behaviour: Behaviour, tls: ssl.SSLContext | None) -> None:
        super().__init__((HOST, 0), socketserver.BaseRequestHandler)
        self._behaviour = behaviour
        self._tls = tls

    def finish_request(self, request: object, client_address: object) -> None:
        connection = request
        assert isinstance(connection, socket.socket)
        with suppress(OSError):  # the program hangs up, or does not like the certificate
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection:
                self._behaviour(connection)


@contextmanager
def serving(behaviour: Behaviour, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server's port; leaving it waits until whoever connected has hung up."""
    with _Server(behaviour, tls) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def server_tls(certificate: trustme.LeafCert, clients_from: str | None = None) -> ssl.SSLContext:
    """A server's side of TLS, which insists on a client certificate if it is told the file of a CA."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    if clients_from:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients_from)
    return context


@contextmanager
def closed_port() -> Iterator[int]:
    """A port that nobody listens on, and nobody else can take."""
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        yield taken.getsockname()[1]


@contextmanager
def black_hole() -> Iterator[int]:
    """A port that answers nothing at all, as behind a firewall: its queue of connections is full."""
    with socket.socket() as full:
        full.bind((HOST, 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        try:
            for one in waiting:
                one.settimeout(0)
                with suppress(BlockingIOError):
                    one.connect(full.getsockname())
            yield full.getsockname()[1]
        finally:
            for one in waiting:
                one.close()
