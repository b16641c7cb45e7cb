"""Files and endpoints that cannot work, explained: real files, real sockets, real TLS."""

import asyncio
import base64
import json
import socket
import ssl
from collections.abc import Callable
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


def words(error: StartError) -> str:
    """Everything that the user reads."""
    assert error.cause
    assert error.next_step
    return f"{error.message} | {error.cause} | {error.next_step}"


def refusal(settings: Settings) -> str:
    """The explanation of settings that the real SDK refuses."""
    with pytest.raises(StartError) as refused:
        asyncio.run(connect(settings))
    return words(refused.value)


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


ENCRYPTED = BestAvailableEncryption(b"x")


@pytest.mark.parametrize(
    ("file", "changed", "problem", "next_step"),
    [
        ("cert", lambda pem: pem.decode().encode("utf-16"), "is UTF-16", "iconv -f UTF-16"),
        ("cert", as_json, r"has \n in place of line ends", "printf '%b'"),
        ("cert", as_der, "is DER, not PEM", "openssl x509 -inform DER"),
        ("key", as_der, "is DER, not PEM", "openssl pkey -inform DER"),
        ("ca", lambda _: b"", "is not a PEM file", "BEGIN … CERTIFICATE"),
        ("key", as_key(PrivateFormat.OpenSSH, NoEncryption()), "is an OpenSSH", "ssh-keygen -p"),
        ("key", as_key(PrivateFormat.PKCS8, ENCRYPTED), "is encrypted", "openssl pkey"),
        ("key", as_key(PrivateFormat.TraditionalOpenSSL, ENCRYPTED), "is encrypted", "openssl"),
        ("key", lambda pem: b"-----BEGIN CERTIFICATE-----\n" + pem, "contains CERTIFICATE", "each"),
    ],
)
def test_file(
    settings: Settings, tmp_path: Path, *, file: str, changed: Change, problem: str, next_step: str
) -> None:
    """A file in another form than PEM is named, with the form and a command that helps."""
    path = f"{tmp_path}/{file}"
    change(path, changed)
    shown = refusal(settings)
    role = {"cert": "certificate", "key": "private key", "ca": "CA"}[file]
    assert shown.startswith(f"the {role} file {path!r} {problem}")
    assert next_step in shown


def test_swapped(settings: Settings) -> None:
    """A key in the place of the certificate is called swapped."""
    shown = refusal(settings._replace(cert=settings.key))
    assert "contains EC PRIVATE KEY, not CERTIFICATE alone | certificate and key swapped" in shown


@pytest.mark.parametrize(("endpoint", "local"), [(HOST, True), ("x.amazonaws.com", False)])
def test_missing_file(settings: Settings, *, endpoint: str, local: bool) -> None:
    """A missing file is quoted, so that a blank is visible; the files of a --local vanish."""
    shown = refusal(settings._replace(endpoint=endpoint, cert="no.pem "))
    assert shown.startswith("the certificate file 'no.pem ' cannot be read: No such file")
    assert ("--local that was to be joined has ended" in shown) == local
    assert "endpoint, certificate, key, region, thing" in shown


@pytest.mark.parametrize("kind", trustme.KeyType)
def test_two_pairs(settings: Settings, ca: trustme.CA, kind: trustme.KeyType) -> None:
    """Certificate and key of two pairs are called that, whatever the kinds of their keys."""
    ca.issue_cert("other", key_type=kind).private_key_pem.write_to_path(settings.key)
    shown = refusal(settings)
    assert f"{settings.cert!r} and the private key {settings.key!r} do not" in shown
    assert "| files of two different pairs |" in shown


def test_chain_in_reverse_order(settings: Settings, ca: trustme.CA) -> None:
    """A chain that begins with the CA is called that."""
    leaf = ca.create_child_ca().issue_cert("device")
    write(settings, leaf)
    change(settings.cert, lambda _: b"".join(pem.bytes() for pem in leaf.cert_chain_pems[::-1]))
    assert "reverse order" in refusal(settings)


def test_damaged_key(settings: Settings) -> None:
    """A key whose lines are damaged is quoted with OpenSSL's words."""
    change(settings.key, lambda pem: pem.replace(b"M", b"N"))
    assert " | a damaged file, or" in refusal(settings)


def test_not_the_files(settings: Settings) -> None:
    """When the files are sound, the SDK is quoted, with the settings that it may mean."""
    shown = refusal(settings._replace(endpoint="\udcff", client_id="a\0b"))
    assert r"the endpoint '\udcff' or the client id 'a\x00b': " in shown


def test_no_trust_store(settings: Settings) -> None:
    """On a machine without CA certificates, the files are not blamed."""
    error = explain_refusal(settings, "1173 (AWS_IO_TLS_ERROR_DEFAULT_TRUST_STORE_NOT_FOUND)")
    assert "ca-certificates" in words(error)


def odd_pem(pem: bytes) -> bytes:
    """PEM with a byte order mark, indented: the SDK reads it, OpenSSL does not."""
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


def explain(settings: Settings, error: str = CLOSED) -> str:
    """The explanation of a failed connection."""
    return words(asyncio.run(explain_connection(settings, error)))


@pytest.mark.parametrize(
    ("endpoint", "url", "next_step"),
    [
        ("https://example.invalid/", None, "aws iot describe-endpoint"),
        ("a..invalid ", None, "aws iot describe-endpoint"),
        # From the DescribeEndpoint of an emulator.
        ("abc-ats.iot.us-east-1.localhost:4566", None, "emulator"),
        ("ministack.invalid", "http://ministack:4566", "emulator"),
    ],
)
def test_not_a_host(settings: Settings, endpoint: str, url: str | None, next_step: str) -> None:
    """A name that does not resolve is quoted, with the place of the right one."""
    shown = explain(settings._replace(endpoint=endpoint, endpoint_url=url))
    assert shown.startswith(f"the endpoint {endpoint!r} does not resolve: ")
    assert next_step in shown


def test_closed_port(settings: Settings) -> None:
    """A port of this machine on which nothing listens was that of a --local."""
    with closed_port() as port:
        shown = explain(settings._replace(port=port))
    assert f"{HOST}:{port} cannot be reached: " in shown
    assert "Connection refused | the --local that was to be joined has ended" in shown


def test_blocked_port(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that does not answer may be behind a firewall, which --port 443 may pass."""
    monkeypatch.setattr(diagnosis, "_TIMEOUT", 0.1)
    with black_hole() as port:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (HOST, port))] * 100
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_: found)
        shown = explain(settings._replace(endpoint="x.amazonaws.com", port=port))
        found.clear()
    for part in (
        f"{port} cannot be reached: no answer | a wrong",
        "firewall",
        "443",
        "HTTPS_PROXY",
    ):
        assert part in shown


@pytest.mark.parametrize("behaviour", [talking(b"220 mail.example ESMTP\r\n"), silent])
def test_no_tls(settings: Settings, monkeypatch: pytest.MonkeyPatch, behaviour: Behaviour) -> None:
    """A server without TLS is not mistaken for one that refuses the certificate."""
    monkeypatch.setattr(diagnosis, "_TIMEOUT", 0.3)
    with serving(behaviour) as port:
        shown = explain(settings._replace(port=port))
    assert "does not complete a TLS handshake: " in shown


def ask(
    settings: Settings,
    certificate: trustme.LeafCert,
    behaviour: Behaviour = silent,
    error: str = CLOSED,
    ca_file: str | None = "",
) -> str:
    """The explanation of a failed connection to a server, which knows the device's CA."""
    with serving(behaviour, server_tls(certificate, settings.ca_file)) as port:
        ca_file = settings.ca_file if ca_file == "" else ca_file
        return explain(settings._replace(port=port, ca_file=ca_file), error)


def test_another_name(settings: Settings, ca: trustme.CA) -> None:
    """A server's certificate for another name is called that."""
    shown = ask(settings, ca.issue_cert("elsewhere.example"))
    assert shown.startswith(f"the server's certificate is not for {HOST!r}")


def test_not_trusted(settings: Settings, ca: trustme.CA) -> None:
    """A server whose CA is not in the trust store leads to --ca-file."""
    shown = ask(settings, ca.issue_cert(HOST), ca_file=None)
    assert shown.startswith("the server's certificate is not trusted")
    assert "--ca-file" in shown


def test_server_of_a_system_ca(
    settings: Settings, ca: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without --ca-file, a server is trusted whose CA is in the system's store."""
    monkeypatch.setenv("SSL_CERT_FILE", str(settings.ca_file))
    assert REFUSED in ask(settings, ca.issue_cert(HOST), closing, ca_file=None)


@pytest.mark.parametrize("year", [2020, 2120])
def test_clock(settings: Settings, ca: trustme.CA, year: int) -> None:
    """A server's certificate that is not valid by this machine's clock leads to the clock."""
    begin, end = (datetime(one, 1, 1, tzinfo=UTC) for one in (year, year + 1))
    shown = ask(settings, ca.issue_cert(HOST, not_before=begin, not_after=end))
    assert shown.startswith("the server's certificate is not valid now")
    assert f"clock is wrong (it says {datetime.now(UTC).year}-" in shown


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_unknown_device(settings: Settings, ca: trustme.CA, version: ssl.TLSVersion) -> None:
    """A certificate that the server refuses in the handshake, or after it, is named."""
    tls = server_tls(ca.issue_cert(HOST), settings.ca_file)
    tls.minimum_version = tls.maximum_version = version
    write(settings, trustme.CA().issue_cert("stranger"))
    with serving(silent, tls) as port:
        shown = explain(settings._replace(port=port))
    assert shown.startswith(f"{HOST}:{port} {REFUSED} {settings.cert!r}: ")
    assert "not ACTIVE" in shown
    assert "-noout -dates" in shown


@pytest.mark.parametrize(
    ("behaviour", "error", "message"),
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
    error: str,
    message: str,
) -> None:
    """After a handshake that succeeds, the SDK's error and the server's silence decide."""
    monkeypatch.setattr(diagnosis, "_TIMEOUT", 0.3)
    shown = ask(settings, ca.issue_cert(HOST), behaviour, error)
    assert message in shown
    assert ("Ed25519" in shown) == ("cannot connect" in message)


def test_files_that_only_the_sdk_reads(settings: Settings, ca: trustme.CA) -> None:
    """Files in forms of PEM that OpenSSL does not read are not blamed."""
    certificate = ca.issue_cert(HOST)
    for path in (settings.cert, settings.key, settings.ca_file):
        change(path, odd_pem)
    with serving(closing, server_tls(certificate)) as port:
        assert REFUSED in explain(settings._replace(port=port), HANGUP)
