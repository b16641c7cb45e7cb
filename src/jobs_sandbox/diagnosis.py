"""What is wrong with the device's files, or with the way to its endpoint.

The device SDK says too little or too late (a server that is not trusted takes it 12 to 28 seconds), so one TLS
handshake by the standard library finds the cause in milliseconds. Knows no SDK.
"""

import socket
import ssl
import stat
from contextlib import closing
from pathlib import Path

from jobs_sandbox.errors import StartError
from jobs_sandbox.settings import Settings

_PATIENCE = 2.0  # seconds, for each step of a diagnosis
_DESCRIBE_ENDPOINT = "`aws iot describe-endpoint --endpoint-type iot:Data-ATS` prints the endpoint of your account."


def check_files(settings: Settings) -> str:
    """Check certificate, key and trust store before anything is sent.

    Returns:
        A warning about the key file, or ``""``.

    Raises:
        StartError: a file is missing, unreadable or no PEM, or certificate and key do not belong together.

    """
    for role, path in (("certificate", settings.cert), ("private key", settings.key), ("CA", settings.ca_file)):
        if path is not None:
            _check_pem(role, Path(path))
    _tls_context(settings)
    mode = Path(settings.key).stat().st_mode
    if stat.S_IMODE(mode) & (stat.S_IRGRP | stat.S_IROTH):
        return f"the private key {settings.key} can be read by other users of this machine; chmod 600 it."
    return ""


def _check_pem(role: str, path: Path) -> None:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StartError(
            f"the {role} file {path} cannot be read: {error.strerror or error}",
            cause="a mistyped path, or a file that belongs to someone else",
            todo="check it with `ls -l`; the order of arguments is endpoint, certificate, key, region, thing.",
        ) from error
    marker = b"PRIVATE KEY-----" if role == "private key" else b"-----BEGIN CERTIFICATE-----"
    if marker not in content:
        raise StartError(
            f"the {role} file {path} holds no PEM {role}",
            cause="another kind of file, DER instead of PEM, or certificate and key swapped",
            todo=f"give the file with the line {marker.decode().strip('-')}.",
        )


def _tls_context(settings: Settings) -> ssl.SSLContext:
    """The same trust and identity that the device connects with."""
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except ssl.SSLError as error:
        raise StartError(f"the CA file {settings.ca_file} cannot be used: {_reason(error)}") from error
    try:
        context.load_cert_chain(settings.cert, settings.key, password=_no_password)
    except _EncryptedKeyError as error:
        raise StartError(
            f"the private key {settings.key} is encrypted",
            cause="the device SDK cannot ask for its pass phrase",
            todo=f"decrypt a copy: openssl pkey -in {settings.key} -out decrypted.key",
        ) from error
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise StartError(
                f"the certificate {settings.cert} and the private key {settings.key} do not belong together",
                cause="files of two different certificates",
                todo="use the pair that `aws iot create-keys-and-certificate` wrote.",
            ) from error
        raise StartError(
            f"the certificate {settings.cert} or the private key {settings.key} is damaged: {_reason(error)}",
            cause="a file that was cut short or changed",
            todo="download or create the certificate and its key again.",
        ) from error
    return context


class _EncryptedKeyError(Exception):
    """OpenSSL asked for a pass phrase."""


def _no_password() -> str:
    raise _EncryptedKeyError


def explain_connection(settings: Settings, sdk_word: str) -> StartError:
    """Why the MQTT endpoint cannot be used, found with one TLS handshake.

    Args:
        settings: where to connect, and with what.
        sdk_word: what the SDK said, for the cases in which the handshake shows nothing wrong.

    """
    where = f"{settings.endpoint}:{settings.port}"
    try:
        socket.getaddrinfo(settings.endpoint, settings.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return StartError(
            f"the endpoint {settings.endpoint} does not resolve: {error}",
            cause="a mistyped name, a URL or host:port instead of a bare host name, or no network",
            todo=_DESCRIBE_ENDPOINT,
        )
    try:
        connection = socket.create_connection((settings.endpoint, settings.port), timeout=_PATIENCE)
    except ConnectionRefusedError:
        return StartError(
            f"nothing listens on {where}: connection refused",
            cause="a wrong --port, or an endpoint that is not running",
            todo="AWS IoT Core listens on 8883; check the host and the port.",
        )
    except OSError as error:
        return StartError(
            f"{where} cannot be reached: {error}",
            cause="a firewall in between, or no network",
            todo=f"ask for outgoing TCP to port {settings.port}, and check the host name.",
        )
    with closing(connection):
        return _explain_handshake(settings, connection, where, sdk_word)


def _explain_handshake(settings: Settings, connection: socket.socket, where: str, sdk_word: str) -> StartError:
    try:
        with _tls_context(settings).wrap_socket(connection, server_hostname=settings.endpoint) as tls:
            tls.recv(1)  # with TLS 1.3 a refused client certificate is known only now; an accepted one: silence
    except ssl.SSLCertVerificationError as error:
        if "match" in error.verify_message.lower():
            return StartError(
                f"the server's certificate is not for {settings.endpoint}: {error.verify_message}",
                cause="an IP address or another name where the certificate's own name is needed",
                todo=_DESCRIBE_ENDPOINT,
            )
        return StartError(
            f"the server's certificate is not trusted: {error.verify_message}",
            cause="the endpoint's CA is not in the trust store, or something in between intercepts TLS",
            todo="name the CA with --ca-file; for AWS IoT Core use the ATS endpoint and Amazon Root CA 1.",
        )
    except TimeoutError:
        pass
    except (ssl.SSLError, OSError) as error:
        reason = _reason(error)
        if any(word in reason.lower() for word in ("alert", "reset", "eof")):
            return _certificate_refused(f"{where} refused the client certificate {settings.cert}: {reason}")
        return StartError(
            f"{where} does not speak TLS: {reason}",
            cause="another service listens on this port",
            todo="AWS IoT Core speaks MQTT over TLS on 8883; check the host and --port.",
        )
    if "TIMEOUT" in sdk_word or not sdk_word:
        return StartError(
            f"{where} did not complete the MQTT connection within {settings.timeout} s",
            cause="a slow or lossy network, or an endpoint that is no MQTT broker",
            todo="try again with a larger --timeout.",
        )
    return _certificate_refused(f"{where} hung up on the certificate {settings.cert} ({sdk_word})")


def _certificate_refused(what: str) -> StartError:
    return StartError(
        what,
        cause="the certificate is not registered in this account and region, not ACTIVE, or has no policy that "
        "allows iot:Connect",
        todo="`aws iot describe-certificate` shows its status, `aws iot list-attached-policies` its policies; "
        "attach policies/device-policy.json, filled in.",
    )


def _reason(error: OSError) -> str:
    return str(getattr(error, "reason", None) or error.strerror or error).replace("_", " ").lower()
