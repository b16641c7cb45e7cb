"""Files and endpoints that cannot work, explained: real files, real sockets, real TLS."""

import asyncio
import base64
import json
import re
import socket
import ssl
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from jobs_sandbox.core.errors import StartError
from jobs_sandbox.core.settings import Settings
from jobs_sandbox.data_plane import diagnosis
from jobs_sandbox.data_plane.client import DataPlane
from jobs_sandbox.data_plane.diagnosis import explain_connection, explain_refusal
from jobs_sandbox.local import HOST
from tests.support.servers.broker import Broker
from tests.support.servers.endpoints import (
    Behaviour,
    black_hole,
    closed_port,
    closing,
    server_tls,
    serving,
    silent,
    talking,
)
from tests.unit.data_plane.fakes import FakeListener

PAST = (datetime(2020, 1, 1, tzinfo=UTC), datetime(2021, 1, 1, tzinfo=UTC))
FUTURE = (datetime(2120, 1, 1, tzinfo=UTC), datetime(2121, 1, 1, tzinfo=UTC))
CLOSED = "AWS_IO_SOCKET_CLOSED: socket is closed."
HANGUP = "AWS_ERROR_MQTT_UNEXPECTED_HANGUP: hung up"
REFUSED = "refused the client certificate"
Change = Callable[[bytes], bytes]


@pytest.fixture
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def settings(ca: trustme.CA, tmp_path: Path) -> Settings:
    """Settings with the files of a device that all fit."""
    ca.cert_pem.write_to_path(tmp_path / "ca")
    settings = Settings(HOST, f"{tmp_path}/cert", f"{tmp_path}/key", "us-east-1", "T", "test-1")
    write(settings, ca.issue_cert("device"))
    return settings._replace(ca_file=f"{tmp_path}/ca")


def write(settings: Settings, leaf: trustme.LeafCert) -> None:
    """Write a certificate, its chain and its key to the files of the device."""
    Path(settings.cert).write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
    Path(settings.key).write_bytes(leaf.private_key_pem.bytes())


def change(path: str | None, changed: Change) -> None:
    file = Path(str(path))
    file.write_bytes(changed(file.read_bytes()))


def refusal(settings: Settings) -> StartError:
    """The explanation of settings that the real SDK refuses."""
    with pytest.raises(StartError) as refused:
        asyncio.run(connect(settings))
    assert refused.value.cause
    assert refused.value.next_step
    return refused.value


async def connect(settings: Settings) -> None:
    async with DataPlane(settings, FakeListener()):
        pass


# Files


def as_json(pem: bytes) -> bytes:
    """A certificate as `aws iot create-keys-and-certificate` prints it."""
    return json.dumps({"certificatePem": pem.decode()}, indent=4).encode()


def as_der(pem: bytes) -> bytes:
    return base64.b64decode(b"".join(pem.splitlines()[1:-1]))


def as_key(form: PrivateFormat, encryption: KeySerializationEncryption) -> Change:
    return lambda pem: load_pem_private_key(pem, None).private_bytes(Encoding.PEM, form, encryption)


@pytest.mark.parametrize(
    ("file", "changed", "message", "next_step"),
    [
        ("cert", lambda pem: pem.decode().encode("utf-16"), "is UTF-16", "iconv -f UTF-16"),
        ("cert", as_json, r"has \n in place of line ends", "printf '%b'"),
        ("cert", as_der, "is DER, not PEM", "openssl x509 -inform DER"),
        ("key", as_der, "is DER, not PEM", "openssl pkey -inform DER"),
        ("key", as_key(PrivateFormat.OpenSSH, NoEncryption()), "is an OpenSSH", "ssh-keygen -p"),
        (
            "key",
            as_key(PrivateFormat.PKCS8, BestAvailableEncryption(b"x")),
            "is encrypted",
            "openssl pkey",
        ),
        (
            "key",
            as_key(PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"x")),
            "is encrypted",
            "openssl pkey",
        ),
        ("ca", lambda _: b"", "is not a PEM file", "BEGIN … CERTIFICATE"),
    ],
)
def test_file(
    settings: Settings, tmp_path: Path, *, file: str, changed: Change, message: str, next_step: str
) -> None:
    """A file in another form than PEM is named, with the form and a command that helps."""
    path = f"{tmp_path}/{file}"
    change(path, changed)
    error = refusal(settings)
    role = {"cert": "certificate", "key": "private key", "ca": "CA"}[file]
    assert error.message.startswith(f"the {role} file {path!r} {message}")
    assert next_step in error.next_step


def test_swapped(settings: Settings) -> None:
    """Certificate and key swapped, or both in one file, are called that."""
    swapped = refusal(settings._replace(cert=settings.key))
    assert "contains EC PRIVATE KEY, not CERTIFICATE alone" in swapped.message
    change(settings.key, lambda pem: Path(settings.cert).read_bytes() + pem)
    both = refusal(settings)
    assert "contains CERTIFICATE and EC PRIVATE KEY, not PRIVATE KEY alone" in both.message
    assert "swapped, or both in one file" in both.cause


@pytest.mark.parametrize(("endpoint", "local"), [(HOST, True), ("x.amazonaws.com", False)])
def test_missing_file(settings: Settings, *, endpoint: str, local: bool) -> None:
    """A missing file is quoted, so that a blank is visible; the files of a --local vanish."""
    error = refusal(settings._replace(endpoint=endpoint, cert="no.pem "))
    assert "the certificate file 'no.pem ' cannot be read: No such file" in error.message
    assert ("--local that was to be joined has ended" in error.cause) == local
    assert ("start it again with --local" in error.next_step) == local
    assert "endpoint, certificate, key, region, thing" in error.next_step


@pytest.mark.parametrize("kind", trustme.KeyType)
def test_two_pairs(settings: Settings, ca: trustme.CA, kind: trustme.KeyType) -> None:
    """Certificate and key of two pairs are called that, whatever the kinds of their keys."""
    ca.issue_cert("other", key_type=kind).private_key_pem.write_to_path(settings.key)
    error = refusal(settings)
    assert f"{settings.cert!r} and the private key {settings.key!r} do not" in error.message
    assert error.cause == "files of two different pairs"


def test_chain_in_reverse_order(settings: Settings, ca: trustme.CA) -> None:
    """A chain that begins with the CA is called that."""
    leaf = ca.create_child_ca().issue_cert("device")
    write(settings, leaf)
    change(settings.cert, lambda _: b"".join(pem.bytes() for pem in leaf.cert_chain_pems[::-1]))
    assert "reverse order" in refusal(settings).cause


def test_damaged_key(settings: Settings) -> None:
    """A key whose lines are damaged is quoted with OpenSSL's words."""
    change(settings.key, lambda pem: pem.replace(b"M", b"N"))
    error = refusal(settings)
    assert "cannot be used: " in error.message
    assert "damaged" in error.cause


def test_not_the_files(settings: Settings) -> None:
    """When the files are sound, the SDK is quoted, with the settings that it may mean."""
    settings = settings._replace(endpoint="\udcff", client_id="a\0b")
    assert r"the endpoint '\udcff' or the client id 'a\x00b': " in refusal(settings).message


def test_no_trust_store(settings: Settings) -> None:
    """A machine without CA certificates is told so, whatever the files are."""
    error = explain_refusal(settings, "1173 (AWS_IO_TLS_ERROR_DEFAULT_TRUST_STORE_NOT_FOUND)")
    assert "ca-certificates" in error.cause


def odd_pem(pem: bytes) -> bytes:
    """PEM with a byte order mark, indented, as the SDK reads it, but not OpenSSL."""
    return b"\xef\xbb\xbf" + pem.replace(b"\n", b"\n  ")


def test_other_forms_of_pem(tmp_path: Path) -> None:
    """The program connects with files in forms of PEM that OpenSSL does not read."""
    with Broker(tmp_path) as broker:
        host, cert, key, region, thing, *_ = broker.arguments()
        settings = Settings(
            host, cert, key, region, thing, "test-1", broker.port, f"{tmp_path}/ca.pem"
        )
        for path in (cert, key, settings.ca_file):
            change(path, odd_pem)
        asyncio.run(connect(settings))
        assert broker.connections == 1


# The way to the endpoint


def explain(settings: Settings, error: str = CLOSED) -> StartError:
    """The explanation of a failed connection."""
    explained = asyncio.run(explain_connection(settings, error))
    assert explained.next_step
    return explained


@pytest.mark.parametrize(
    ("endpoint", "url", "next_step"),
    [
        ("https://example.invalid/", None, "aws iot describe-endpoint"),
        ("a..invalid", None, "aws iot describe-endpoint"),
        ("nowhere.invalid ", None, "aws iot describe-endpoint"),
        # What the DescribeEndpoint of an emulator prints.
        ("abc-ats.iot.us-east-1.localhost:4566", None, "emulator"),
        ("ministack.invalid", "http://ministack:4566", "emulator"),
    ],
)
def test_not_a_host(settings: Settings, endpoint: str, url: str | None, next_step: str) -> None:
    """A name that does not resolve is quoted, with the place of the right one."""
    error = explain(settings._replace(endpoint=endpoint, endpoint_url=url))
    assert error.message.startswith(f"the endpoint {endpoint!r} does not resolve: ")
    assert "a URL, a port or a blank" in error.cause
    assert next_step in error.next_step


def test_closed_port(settings: Settings) -> None:
    """A port of this machine on which nothing listens was that of a --local."""
    with closed_port() as port:
        error = explain(settings._replace(port=port))
    assert f"{HOST}:{port} cannot be reached: " in error.message
    assert "refused" in error.message
    assert "the --local that was to be joined has ended" in error.cause


def test_blocked_port(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that does not answer may be behind a firewall, which --port 443 may pass."""
    monkeypatch.setattr(diagnosis, "_TIMEOUT", 0.1)
    with black_hole() as port:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (HOST, port))] * 100
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_: found)
        error = explain(settings._replace(endpoint="x.amazonaws.com", port=port))
        found.clear()
    assert re.fullmatch("x.amazonaws.com:.* cannot be reached: .+", error.message)
    assert "firewall" in error.cause
    assert "443" in error.next_step
    assert "HTTPS_PROXY" in error.next_step


@pytest.mark.parametrize("behaviour", [talking(b"220 mail.example ESMTP\r\n"), silent])
def test_no_tls(settings: Settings, monkeypatch: pytest.MonkeyPatch, behaviour: Behaviour) -> None:
    """A server without TLS is not mistaken for one that refuses the certificate."""
    monkeypatch.setattr(diagnosis, "_TIMEOUT", 0.3)
    with serving(behaviour) as port:
        error = explain(settings._replace(port=port))
    assert "does not complete a TLS handshake: " in error.message
    assert "without TLS" in error.cause


def server(
    ca: trustme.CA, settings: Settings, behaviour: Behaviour = silent, name: str = HOST
) -> AbstractContextManager[int]:
    """A server with a certificate of this CA, which knows the device's CA."""
    return serving(behaviour, server_tls(ca.issue_cert(name), settings.ca_file))


def test_another_name(settings: Settings, ca: trustme.CA) -> None:
    """A server's certificate for another name is called that."""
    with server(ca, settings, name="elsewhere.example") as port:
        error = explain(settings._replace(port=port))
    assert f"the server's certificate is not for {HOST!r}" in error.message


def test_not_trusted(settings: Settings, ca: trustme.CA) -> None:
    """A server whose CA is not in the trust store leads to --ca-file."""
    with server(ca, settings) as port:
        error = explain(settings._replace(port=port, ca_file=None))
    assert "the server's certificate is not trusted" in error.message
    assert "--ca-file" in error.next_step


@pytest.mark.parametrize("dates", [PAST, FUTURE])
def test_clock(settings: Settings, ca: trustme.CA, dates: tuple[datetime, datetime]) -> None:
    """A server's certificate that is not valid by this machine's clock tells of the clock."""
    certificate = ca.issue_cert(HOST, not_before=dates[0], not_after=dates[1])
    with serving(silent, server_tls(certificate)) as port:
        error = explain(settings._replace(port=port))
    assert "the server's certificate is not valid now" in error.message
    assert f"clock is wrong (it says {datetime.now(UTC).year}-" in error.cause


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_unknown_device(settings: Settings, ca: trustme.CA, version: ssl.TLSVersion) -> None:
    """A certificate that the server refuses in the handshake, or after it, is named."""
    tls = server_tls(ca.issue_cert(HOST), settings.ca_file)
    tls.minimum_version = tls.maximum_version = version
    write(settings, trustme.CA().issue_cert("stranger"))
    with serving(silent, tls) as port:
        error = explain(settings._replace(port=port))
    assert f"{HOST}:{port} {REFUSED} {settings.cert!r}: " in error.message
    assert "not ACTIVE" in error.cause
    assert "aws iot describe-certificate" in error.next_step


@pytest.mark.parametrize(
    ("behaviour", "sdk_error", "message"),
    [
        (closing, CLOSED, REFUSED),
        (silent, HANGUP, REFUSED),
        (silent, "", "did not answer MQTT within 5 s"),
        (silent, "AWS_ERROR_MQTT5_CONNACK_TIMEOUT: late", "did not answer MQTT within 5 s"),
        # A server with an Ed25519 certificate, with and without a TLS alert.
        (silent, "AWS_IO_TLS_ERROR_NEGOTIATION_FAILURE: no", "cannot connect: AWS_IO_TLS"),
        (silent, CLOSED, "cannot connect: AWS_IO_SOCKET_CLOSED"),
    ],
)
def test_good_handshake(
    settings: Settings,
    ca: trustme.CA,
    monkeypatch: pytest.MonkeyPatch,
    *,
    behaviour: Behaviour,
    sdk_error: str,
    message: str,
) -> None:
    """After a handshake that succeeds, the SDK's error and the server's silence decide."""
    monkeypatch.setattr(diagnosis, "_TIMEOUT", 0.3)
    with server(ca, settings, behaviour) as port:
        error = explain(settings._replace(port=port), sdk_error)
    assert message in error.message
    assert ("Ed25519" in error.cause) == ("cannot connect" in message)


def test_files_that_only_the_sdk_reads(settings: Settings, ca: trustme.CA) -> None:
    """Files in forms of PEM that OpenSSL does not read are not blamed."""
    for path in (settings.cert, settings.key, settings.ca_file):
        change(path, odd_pem)
    with serving(closing, server_tls(ca.issue_cert(HOST))) as port:
        error = explain(settings._replace(port=port), HANGUP)
    assert REFUSED in error.message


def test_server_of_a_system_ca(
    settings: Settings, ca: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without --ca-file, a server is trusted whose CA is in the system's store."""
    monkeypatch.setenv("SSL_CERT_FILE", str(settings.ca_file))
    with server(ca, settings, closing) as port:
        error = explain(settings._replace(port=port, ca_file=None))
    assert REFUSED in error.message
