"""What is said of files and endpoints that cannot work: real files, real sockets, real certificates."""

import asyncio
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import PrivateFormat

from jobs_sandbox.core.errors import StartError
from jobs_sandbox.core.settings import Settings
from jobs_sandbox.data_plane import diagnosis
from jobs_sandbox.data_plane.diagnosis import check_files, explain_connection
from tests.support.servers import (
    HOST,
    Behaviour,
    answering,
    black_hole,
    closed_port,
    closing,
    server_tls,
    serving,
    silent,
    talking,
)

LONG_AGO = {
    "not_before": datetime(2020, 1, 1, tzinfo=UTC),
    "not_after": datetime(2021, 1, 1, tzinfo=UTC),
}
FAR_OFF = {
    "not_before": datetime(2120, 1, 1, tzinfo=UTC),
    "not_after": datetime(2121, 1, 1, tzinfo=UTC),
}
TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


class Files:
    """A CA, and a device's files from it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.ca = trustme.CA()
        self.ca_file = self.write("ca.pem", self.ca.cert_pem.bytes())
        self.cert, self.key = self.pair("device", self.ca.issue_cert("device.example"))
        self.settings = Settings(
            HOST, self.cert, self.key, "us-east-1", "T", "test-1", ca_file=self.ca_file
        )

    def write(self, name: str, content: bytes) -> str:
        path = self._folder / name
        path.touch(mode=0o600)
        path.write_bytes(content)
        return str(path)

    def pair(self, name: str, certificate: trustme.LeafCert) -> tuple[str, str]:
        chain = b"".join(one.bytes() for one in certificate.cert_chain_pems)
        key = self.write(f"{name}.key", certificate.private_key_pem.bytes())
        return self.write(f"{name}.pem", chain), key


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a test of silence: a little of it is enough."""
    monkeypatch.setattr(diagnosis, "_TIMEOUT", 0.1)


def replaced(settings: Settings, field: str, path: str) -> Settings:
    """The settings with another file."""
    return Settings(**settings._asdict() | {field: path})


def refusal(settings: Settings) -> StartError:
    """What `check_files` says of bad files; nothing of it is without a cause and a next step."""
    with pytest.raises(StartError) as caught:
        check_files(settings)
    assert caught.value.cause
    assert caught.value.next_step
    return caught.value


# Files


def test_good_files(files: Files) -> None:
    """Files that fit are not talked about, with a trust store of one's own or the system's."""
    assert check_files(files.settings) == ""
    assert check_files(files.settings._replace(ca_file=None)) == ""


def test_rsa_files(files: Files) -> None:
    """The older form of a key, as `aws iot create-keys-and-certificate` writes it, is as good."""
    certificate = files.ca.issue_cert("device.example", key_type=trustme.KeyType.RSA)
    assert b"BEGIN RSA PRIVATE KEY" in certificate.private_key_pem.bytes()
    cert, key = files.pair("rsa", certificate)
    assert check_files(files.settings._replace(cert=cert, key=key)) == ""


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_key_that_others_can_read(files: Files, mode: int) -> None:
    """A private key that others can read is warned of, and the cure named."""
    os.chmod(files.key, mode)
    warning = check_files(files.settings)
    assert (
        warning
        == f"the private key {files.key} can be read by other users of this machine; chmod 600 it."
    )


@pytest.mark.parametrize(
    ("field", "role"),
    [("cert", "certificate"), ("key", "private key"), ("ca_file", "CA")],
    ids=["cert", "key", "ca"],
)
def test_file_missing(files: Files, field: str, role: str) -> None:
    """A file that is not there is named, with its role."""
    error = refusal(replaced(files.settings, field, "/nowhere/x.pem"))
    assert (
        error.message == f"the {role} file /nowhere/x.pem cannot be read: No such file or directory"
    )
    assert "the --local that was to be joined has probably ended" in error.cause
    assert "mistyped path" in error.cause
    assert "endpoint, certificate, key, region, thing" in error.next_step


def test_file_of_a_real_endpoint_missing(files: Files) -> None:
    """Where no --local can have been meant, none is mentioned."""
    error = refusal(
        files.settings._replace(endpoint="x.iot.us-east-1.amazonaws.com", cert="/nowhere/x.pem")
    )
    assert error.cause == "a mistyped path, or a file that belongs to someone else"


def test_unreadable_file(files: Files, tmp_path: Path) -> None:
    """A folder, a pipe and a device are no files: none is waited for, or read without end."""
    os.mkfifo(tmp_path / "pipe")
    for path in (str(tmp_path), str(tmp_path / "pipe"), "/dev/zero"):
        error = refusal(files.settings._replace(key=path))
        assert (
            error.message
            == f"the private key file {path} cannot be read: it is a folder, a pipe or a device"
        )


@pytest.mark.parametrize(
    ("field", "role"),
    [("cert", "certificate"), ("key", "private key"), ("ca_file", "CA")],
    ids=["cert", "key", "ca"],
)
def test_huge_file(files: Files, tmp_path: Path, field: str, role: str) -> None:
    """Of a huge file no more is read than is needed to see that it is no PEM file of any use."""
    path = str(tmp_path / "huge")
    with open(path, "wb") as file:
        for size in (2**40, diagnosis._LARGEST + 1):
            file.truncate(size)
            error = refusal(replaced(files.settings, field, path))
            assert (
                error.message
                == f"the {role} file {path} cannot be read: it has more than 8,388,608 bytes"
            )
        file.truncate(diagnosis._LARGEST)
    assert (
        refusal(replaced(files.settings, field, path)).message
        == f"the {role} file {path} is no PEM file"
    )


@pytest.mark.parametrize(
    ("content", "holds"),
    [
        (b"", "is empty"),
        (b"hello\n", "is no PEM file"),
        (b"\x30\x82\x03\xff\x00", "is no PEM file"),
        (
            b"-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n",
            "holds PUBLIC KEY, not PRIVATE KEY",
        ),
    ],
)
def test_no_key(files: Files, content: bytes, holds: str) -> None:
    """A file that holds no key is said to hold what it holds."""
    path = files.write("x", content)
    error = refusal(files.settings._replace(key=path))
    assert error.message == f"the private key file {path} {holds}"
    assert "DER" in error.cause
    assert error.next_step == "give the file with a line that ends in PRIVATE KEY-----"


def test_swapped(files: Files) -> None:
    """Certificate and key swapped is the likely cause, and what is wanted is named."""
    error = refusal(files.settings._replace(cert=files.key, key=files.cert))
    assert (
        error.message == f"the certificate file {files.key} holds EC PRIVATE KEY, not CERTIFICATE"
    )
    assert "certificate and key swapped" in error.cause
    assert error.next_step.endswith("CERTIFICATE-----")


def test_wrong_ca_file(files: Files) -> None:
    """A trust store that holds no certificate is called the CA file."""
    assert refusal(files.settings._replace(ca_file=files.key)).message.startswith(
        f"the CA file {files.key} holds EC "
    )


@pytest.mark.parametrize(
    ("field", "role"), [("cert", "certificate"), ("ca_file", "CA")], ids=["cert", "ca"]
)
def test_damaged_certificate(files: Files, field: str, role: str) -> None:
    """A certificate that was cut short is called damaged, and not its key."""
    path = files.write("cut.pem", Path(files.ca_file).read_bytes()[:200])
    error = refusal(replaced(files.settings, field, path))
    assert error.message == f"the {role} file {path} is damaged"


def test_damaged_key(files: Files) -> None:
    """A key that was cut short is called damaged, and not its certificate."""
    path = files.write("cut.key", Path(files.key).read_bytes()[:100])
    assert (
        refusal(files.settings._replace(key=path)).message
        == f"the private key file {path} is damaged"
    )


@pytest.mark.parametrize(
    "form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL], ids=["PKCS8", "traditional"]
)
def test_encrypted_key(files: Files, form: PrivateFormat) -> None:
    """An encrypted key is not asked for its pass phrase; the command that decrypts it is named."""
    key = serialization.load_pem_private_key(Path(files.key).read_bytes(), None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        form,
        serialization.BestAvailableEncryption(b"secret"),
    )
    path = files.write("encrypted.key", encrypted)
    error = refusal(files.settings._replace(key=path))
    assert error.message == f"the private key {path} is encrypted"
    assert f"openssl pkey -in {path}" in error.next_step


@pytest.mark.parametrize(
    "comment", [b"an UNENCRYPTED copy\n", b"Proc-Type: 4,ENCRYPTED was here\n"]
)
def test_key_with_a_comment(files: Files, comment: bytes) -> None:
    """What stands around a key, whatever its words, does not make it an encrypted one."""
    key = Path(files.key).read_bytes()
    path = files.write("comment.key", comment + key + comment)
    assert check_files(files.settings._replace(key=path)) == ""


@pytest.mark.parametrize("kind", trustme.KeyType)
def test_no_pair(files: Files, kind: trustme.KeyType) -> None:
    """A key of another certificate is said to be that, whichever its kind."""
    _, key = files.pair("other", files.ca.issue_cert("other.example", key_type=kind))
    error = refusal(files.settings._replace(key=key))
    assert (
        error.message
        == f"the certificate {files.cert} and the private key {key} do not belong together"
    )
    assert error.cause == "files of two different certificates"


def test_weak_key(files: Files) -> None:
    """A key that is too short is not called damaged: TLS's own word for it is shown."""
    key = rsa.generate_private_key(65537, 1024)  # noqa: S505 - that is the point
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "weak")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(LONG_AGO["not_before"])
        .not_valid_after(FAR_OFF["not_after"])
        .sign(key, hashes.SHA256())
    )
    cert_file = files.write("weak.pem", certificate.public_bytes(serialization.Encoding.PEM))
    pem = key.private_bytes(
        serialization.Encoding.PEM, PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    error = refusal(files.settings._replace(cert=cert_file, key=files.write("weak.key", pem)))
    assert (
        error.message
        == f"the certificate {cert_file} cannot be used with its private key: ee key too small"
    )
    assert "too weak" in error.cause


# The way to the endpoint


def explain(settings: Settings, sdk_word: str = "AWS_IO_SOCKET_CLOSED") -> StartError:
    """What is said of an endpoint; nothing of it is without a cause and a next step."""
    error = asyncio.run(explain_connection(settings, sdk_word))
    assert error.cause
    assert error.next_step
    return error


@pytest.mark.parametrize(
    "endpoint",
    [
        "nowhere.invalid",
        "https://example.com/",
        "127.0.0.1:8883",
        "bücher.invalid",
        "x" * 64 + ".invalid",
        "a..invalid",
    ],
)
def test_no_host_name(files: Files, endpoint: str) -> None:
    """A name that does not resolve, or is none, is told with where the right one is found."""
    error = explain(files.settings._replace(endpoint=endpoint))
    assert error.message.startswith(f"the endpoint {endpoint} does not resolve: ")
    assert "a URL or host:port" in error.cause
    assert "aws iot describe-endpoint" in error.next_step


@pytest.mark.usefixtures("impatient")
def test_no_resolver(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver that does not answer is not waited for."""
    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: answered.wait())
    error = explain(files.settings._replace(endpoint="host.example"))
    answered.set()
    assert error.message == "the endpoint host.example does not resolve: no answer within 0.1 s"


def test_closed_port(files: Files) -> None:
    """A port that nobody listens on is said to be that."""
    with closed_port() as port:
        error = explain(files.settings._replace(port=port))
    assert error.message == f"nothing listens on {HOST}:{port}: connection refused"
    assert "the --local that was to be joined has probably ended" in error.cause
    assert "wrong host or --port" in error.cause
    assert "8883" in error.next_step


def test_closed_port_elsewhere(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an endpoint that is not on this machine, no --local is suspected."""
    with closed_port() as port:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (HOST, port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_: found)
        error = explain(files.settings._replace(endpoint="host.example", port=port))
    assert error.message == f"nothing listens on host.example:{port}: connection refused"
    assert "an endpoint that is not running" in error.cause
    assert "--local" not in error.cause


@pytest.mark.usefixtures("impatient")
def test_black_hole(files: Files) -> None:
    """A host that does not answer at all is not waited for."""
    with black_hole() as port:
        error = explain(files.settings._replace(port=port))
    assert error.message == f"{HOST}:{port} cannot be reached: no answer within 0.1 s"
    assert "firewall" in error.cause


@pytest.mark.usefixtures("impatient")
def test_many_addresses(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host of many addresses, none of which answers, takes no longer than one."""
    with black_hole() as port:
        addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (HOST, port))] * 100
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_: addresses)
        began = time.monotonic()
        explain(files.settings._replace(endpoint="host.example", port=port))
        assert time.monotonic() - began < 10  # one after another: 20 s
        addresses.clear()  # ends what is left of it


@pytest.mark.parametrize(
    "behaviour",
    [
        talking(b"220 mail.example ESMTP\r\n"),
        answering(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        closing,
    ],
    ids=["talking", "answering", "closing"],
)
def test_no_tls(files: Files, behaviour: Behaviour) -> None:
    """A server without TLS is not mistaken for one that refuses the certificate."""
    with serving(behaviour) as port:
        error = explain(files.settings._replace(port=port))
    assert error.message.startswith(f"{HOST}:{port} does not complete a TLS handshake: ")
    assert "without TLS" in error.cause
    assert "--port" in error.next_step


@pytest.mark.usefixtures("impatient")
def test_no_tls_and_no_word(files: Files) -> None:
    """A server that does not answer the handshake is not waited for."""
    with serving(silent) as port:
        error = explain(files.settings._replace(port=port))
    assert (
        error.message == f"{HOST}:{port} does not complete a TLS handshake: no answer within 0.1 s"
    )


@pytest.mark.parametrize("name", [HOST, "localhost"])
def test_server_of_another_name(files: Files, name: str) -> None:
    """A server's certificate for another name, or for none where there is an address, is said to be that."""
    with serving(silent, server_tls(files.ca.issue_cert("elsewhere.example"))) as port:
        error = explain(files.settings._replace(endpoint=name, port=port))
    assert error.message.startswith(f"the server's certificate is not for {name}: ")
    assert "another name" in error.cause
    assert "aws iot describe-endpoint" in error.next_step


@pytest.mark.parametrize("trusted", [True, False], ids=["another CA", "the system's"])
def test_server_not_trusted(files: Files, trusted: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """A server whose CA is not in the trust store is told with the option that names it."""
    with serving(silent, server_tls(trustme.CA().issue_cert(HOST))) as port:
        error = explain(
            files.settings._replace(port=port, ca_file=files.ca_file if trusted else None)
        )
    assert error.message.startswith("the server's certificate is not trusted: ")
    assert "--ca-file" in error.next_step


def test_server_of_a_system_ca(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --ca-file, a server is trusted whose CA is in the system's store."""
    monkeypatch.setenv("SSL_CERT_FILE", files.ca_file)
    with serving(closing, server_tls(files.ca.issue_cert(HOST), files.ca_file)) as port:
        error = explain(files.settings._replace(port=port, ca_file=None))
    assert error.message.startswith(f"{HOST}:{port} hung up on the client certificate")


@pytest.mark.parametrize(
    ("dates", "reason"),
    [(LONG_AGO, "certificate has expired"), (FAR_OFF, "certificate is not yet valid")],
    ids=["expired", "future"],
)
def test_server_out_of_date(files: Files, dates: dict[str, datetime], reason: str) -> None:
    """A server's certificate that has expired, or is not yet valid, is put down to one of two clocks."""
    certificate = files.ca.issue_cert(
        HOST, not_before=dates["not_before"], not_after=dates["not_after"]
    )
    with serving(silent, server_tls(certificate)) as port:
        error = explain(files.settings._replace(port=port))
    assert error.message == f"the server's certificate is out of date: {reason}"
    assert "clock" in error.cause
    assert "`date`" in error.next_step


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3], ids=["1.2", "1.3"])
def test_client_not_known(files: Files, version: ssl.TLSVersion) -> None:
    """A certificate that the server's CA did not issue is told so, in both versions of TLS."""
    strangers = files.write("strangers.pem", trustme.CA().cert_pem.bytes())
    tls = server_tls(files.ca.issue_cert(HOST), strangers)
    tls.minimum_version = tls.maximum_version = version
    with serving(silent, tls) as port:
        error = explain(files.settings._replace(port=port))
    assert error.message.startswith(f"{HOST}:{port} refused the client certificate {files.cert}: ")
    assert "not registered in this account and region, not ACTIVE" in error.cause
    assert "aws iot describe-certificate" in error.next_step


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3], ids=["1.2", "1.3"])
@pytest.mark.parametrize(
    ("dates", "reason"),
    [(LONG_AGO, "the certificate has expired"), (FAR_OFF, "the certificate is not yet valid")],
    ids=["expired", "future"],
)
def test_client_out_of_date(
    files: Files, dates: dict[str, datetime], reason: str, version: ssl.TLSVersion
) -> None:
    """A refused certificate that is out of date is said to be that, whatever the server called it."""
    certificate = files.ca.issue_cert(
        "device.example", not_before=dates["not_before"], not_after=dates["not_after"]
    )
    cert, key = files.pair("dated", certificate)
    tls = server_tls(files.ca.issue_cert(HOST), files.ca_file)
    tls.minimum_version = tls.maximum_version = version
    with serving(silent, tls) as port:
        error = explain(files.settings._replace(port=port, cert=cert, key=key))
    assert error.message.startswith(f"{HOST}:{port} refused the client certificate {cert}: ")
    assert error.cause == f"{reason}, by the clock of this machine"
    assert "`date`" in error.next_step


@pytest.fixture
def port(files: Files) -> Iterator[int]:
    """A server with which the handshake succeeds; what comes then is known to the SDK only."""
    with serving(closing, server_tls(files.ca.issue_cert(HOST), files.ca_file)) as port:
        yield port


@pytest.mark.parametrize("word", ["AWS_ERROR_MQTT_UNEXPECTED_HANGUP", "AWS_IO_SOCKET_CLOSED"])
def test_hung_up(files: Files, port: int, word: str) -> None:
    """A server that hangs up on MQTT does not like the certificate, as AWS IoT does with one that is not ACTIVE."""
    error = explain(files.settings._replace(port=port), word)
    assert error.message == f"{HOST}:{port} hung up on the client certificate {files.cert} ({word})"
    assert "not ACTIVE" in error.cause


@pytest.mark.parametrize("word", ["", "AWS_ERROR_MQTT_TIMEOUT", "AWS_IO_SOCKET_TIMEOUT"])
def test_no_answer(files: Files, port: int, word: str) -> None:
    """A server that does not answer MQTT in time may need more of it."""
    error = explain(files.settings._replace(port=port, timeout=7), word)
    assert (
        error.message
        == f"{HOST}:{port} speaks TLS, but did not answer the MQTT connection within 7 s"
    )
    assert "no MQTT broker" in error.cause
    assert "--timeout" in error.next_step


def test_no_mqtt(files: Files, port: int) -> None:
    """Whatever else the SDK says of a server with which the handshake succeeds is shown."""
    error = explain(files.settings._replace(port=port), "AWS_ERROR_MQTT5_DECODE_PROTOCOL_ERROR")
    assert (
        error.message
        == f"{HOST}:{port} speaks TLS, but not as AWS IoT does: AWS_ERROR_MQTT5_DECODE_PROTOCOL_ERROR"
    )
    assert "no MQTT 5 broker" in error.cause


def test_silence_means_accepted(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not refuse the certificate after the handshake has accepted it."""
    monkeypatch.setattr(diagnosis, "_TIMEOUT", 0.3)
    with serving(silent, server_tls(files.ca.issue_cert(HOST), files.ca_file)) as port:
        error = explain(files.settings._replace(port=port), "")
    assert "did not answer the MQTT connection" in error.message


def test_other_alerts(files: Files) -> None:
    """An alert of the server that is not about the certificate is not put down to it."""
    tls = server_tls(files.ca.issue_cert(HOST))
    tls.set_ciphers("ECDHE-RSA-AES256-GCM-SHA384")  # the server's certificate is no RSA one
    tls.maximum_version = TLS_1_2
    with serving(silent, tls) as port:
        error = explain(files.settings._replace(port=port))
    assert "does not complete a TLS handshake: " in error.message
    assert "certificate" not in error.message
