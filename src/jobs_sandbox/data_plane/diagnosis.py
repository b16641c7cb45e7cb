"""What is wrong with the device's files, or with the way to its endpoint.

The device SDK says too little or too late (a server that is not trusted takes it 12 to 28 seconds), so one TLS
handshake by the standard library finds the cause in milliseconds. Knows no SDK.
"""

import asyncio
import os
import re
import socket
import ssl
import stat
from collections.abc import Callable
from typing import TypeVar

from jobs_sandbox.core.errors import StartError
from jobs_sandbox.core.settings import Settings
from jobs_sandbox.core.threads import in_thread

T = TypeVar("T")
_TIMEOUT = 2.0  # seconds, for each step of a diagnosis
_LARGEST = (
    2**23
)  # bytes of a PEM file; the trust store of a whole system has a quarter of a million
_PEM_LABEL = re.compile(rb"^-----BEGIN ([A-Z0-9 ]+)-----", re.MULTILINE)
_NO_PAIR = (
    "KEY_VALUES_MISMATCH",
    "KEY_TYPE_MISMATCH",
    "NO_CERTIFICATE_ASSIGNED",
)  # the last: one RSA, the other EC
_OUT_OF_DATE, _ANOTHER_NAME = (9, 10), (62, 64)  # OpenSSL's X509_V_ERR_…
_ENCRYPTED = re.compile(
    rb"^-----BEGIN (ENCRYPTED PRIVATE KEY|[A-Z ]*PRIVATE KEY-----\s+Proc-Type: *4, *ENCRYPTED)",
    re.MULTILINE,
)
_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")
_DAMAGED = "a file that was cut short or changed"
_DESCRIBE_ENDPOINT = (
    "`aws iot describe-endpoint --endpoint-type iot:Data-ATS` prints the endpoint of your account."
)
_CHECK_PORT = "AWS IoT Core speaks MQTT over TLS on 8883; check the host and --port."


def check_files(settings: Settings) -> str:
    """Check certificate, key and trust store before anything is sent.

    Returns:
        A warning about the key file, or ``""``.

    Raises:
        StartError: a file is missing, unreadable or no PEM, or certificate and key do not belong together.

    """
    for role, path, wanted in (
        ("certificate", settings.cert, "CERTIFICATE"),
        ("private key", settings.key, "PRIVATE KEY"),
        ("CA", settings.ca_file, "CERTIFICATE"),
    ):
        if path is not None:
            _check_pem(role, path, wanted, _read(role, path, settings.endpoint))
    _check_pair(settings)
    if os.stat(settings.key).st_mode & (stat.S_IRGRP | stat.S_IROTH):
        return f"the private key {settings.key} can be read by other users of this machine; chmod 600 it."
    return ""


def _read(role: str, path: str, endpoint: str) -> bytes:
    try:
        if not stat.S_ISREG(
            os.stat(path).st_mode
        ):  # reading a pipe would wait, and leave nothing for the SDK
            raise OSError("it is a folder, a pipe or a device")
        with open(path, "rb") as file:
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise OSError(f"it has more than {_LARGEST:,} bytes")
        return content
    except OSError as error:
        cause = "a mistyped path, or a file that belongs to someone else"
        if isinstance(error, FileNotFoundError) and endpoint in _THIS_MACHINE:
            cause = "the --local that was to be joined has probably ended, and its files with it; or a mistyped path"
        raise StartError(
            f"the {role} file {path} cannot be read: {error.strerror or error}",
            cause=cause,
            next_step="check it with `ls -l`; the order of arguments is endpoint, certificate, key, region, thing.",
        ) from error


def _check_pem(role: str, path: str, wanted: str, content: bytes) -> None:
    labels = [label.decode() for label in _PEM_LABEL.findall(content)]
    if not any(label.endswith(wanted) for label in labels):
        holds = (
            f"holds {labels[0]}, not {wanted}"
            if labels
            else "is no PEM file"
            if content
            else "is empty"
        )
        raise StartError(
            f"the {role} file {path} {holds}",
            cause="another file than the one meant (certificate and key swapped?), or DER instead of PEM",
            next_step=f"give the file with a line that ends in {wanted}-----",
        )
    if wanted == "CERTIFICATE":
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
        except ssl.SSLError as error:
            raise StartError(
                f"the {role} file {path} is damaged",
                cause=_DAMAGED,
                next_step="get it again from where it came.",
            ) from error
    elif _ENCRYPTED.search(content):
        raise StartError(
            f"the private key {path} is encrypted",
            cause="the device SDK cannot ask for its pass phrase",
            next_step=f"decrypt a copy: openssl pkey -in {path} -out decrypted.key",
        )


def _check_pair(settings: Settings) -> None:
    try:
        _tls_context(settings)
    except ssl.SSLError as error:
        if error.reason in _NO_PAIR:
            what = f"the certificate {settings.cert} and the private key {settings.key} do not belong together"
            cause = "files of two different certificates"
        elif error.reason:
            what = f"the certificate {settings.cert} cannot be used with its private key: {_words(error)}"
            cause = "a kind of key or signature that is too weak or not known"
        else:
            what, cause = f"the private key file {settings.key} is damaged", _DAMAGED
        todo = "use a pair that `aws iot create-keys-and-certificate` wrote."
        raise StartError(what, cause=cause, next_step=todo) from error


def _tls_context(settings: Settings) -> ssl.SSLContext:
    """The same trust and identity that the device connects with."""
    context = ssl.SSLContext(
        ssl.PROTOCOL_TLS_CLIENT
    )  # not the default one: of late that is stricter than the SDK
    if settings.ca_file is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(settings.ca_file)
    context.load_cert_chain(settings.cert, settings.key)
    return context


async def explain_connection(settings: Settings, sdk_word: str) -> StartError:
    """Why the MQTT endpoint cannot be used, found with one TLS handshake.

    Args:
        settings: where to connect, and with what.
        sdk_word: what the SDK said, for the cases in which the handshake shows nothing wrong; ``""``: nothing in time.

    """
    address = (settings.endpoint, settings.port)
    where = f"{settings.endpoint}:{settings.port}"
    try:
        await _in_time(lambda: socket.getaddrinfo(*address))
    except (OSError, UnicodeError) as error:
        return StartError(
            f"the endpoint {settings.endpoint} does not resolve: {_words(error)}",
            cause="a mistyped name, a URL or host:port instead of a bare host name, or no network",
            next_step=_DESCRIBE_ENDPOINT,
        )
    try:
        connection = await _in_time(lambda: socket.create_connection(address, _TIMEOUT))
    except OSError as error:
        return _unreachable(settings, where, error)
    with connection:
        return await in_thread(lambda: _explain_tls(settings, connection, where, sdk_word))


async def _in_time(work: Callable[[], T]) -> T:
    """Bound what has no bound of its own: a resolver that is gone, a host of many addresses."""
    async with asyncio.timeout(_TIMEOUT):
        return await in_thread(work)


def _unreachable(settings: Settings, where: str, error: OSError) -> StartError:
    cause = "a wrong host or --port, an endpoint that is not running, or a firewall in between"
    if not isinstance(error, ConnectionRefusedError):
        return StartError(
            f"{where} cannot be reached: {_words(error)}", cause=cause, next_step=_CHECK_PORT
        )
    if settings.endpoint in _THIS_MACHINE:
        cause = "the --local that was to be joined has probably ended; or a wrong host or --port"
    return StartError(
        f"nothing listens on {where}: {_words(error)}", cause=cause, next_step=_CHECK_PORT
    )


def _explain_tls(
    settings: Settings, connection: socket.socket, where: str, sdk_word: str
) -> StartError:
    connected = False
    try:
        with _tls_context(settings).wrap_socket(
            connection, server_hostname=settings.endpoint
        ) as tls:
            connected = True
            tls.recv(
                1
            )  # TLS 1.3 refuses a client certificate after the handshake; an accepted one: silence
    except ssl.SSLCertVerificationError as error:
        return _server_refused(settings, error)
    except OSError as error:
        reason = _words(error)
        if not connected and "certificate" not in reason and "unknown ca" not in reason:
            return StartError(
                f"{where} does not complete a TLS handshake: {reason}",
                cause="a service without TLS, or with one too old, or something in between that cuts it off",
                next_step=_CHECK_PORT,
            )
        if not isinstance(error, TimeoutError):
            return _client_refused(
                settings, f"{where} refused the client certificate {settings.cert}: {reason}"
            )
    if "HANGUP" in sdk_word or "CLOSED" in sdk_word:
        return _client_refused(
            settings, f"{where} hung up on the client certificate {settings.cert} ({sdk_word})"
        )
    if "TIMEOUT" in sdk_word or not sdk_word:
        what = f"{where} speaks TLS, but did not answer the MQTT connection within {settings.timeout:g} s"
        cause = "a slow or lossy network, or an endpoint that is no MQTT broker"
        return StartError(what, cause=cause, next_step=f"try a larger --timeout; {_CHECK_PORT}")
    return StartError(
        f"{where} speaks TLS, but not as AWS IoT does: {sdk_word}",
        cause="an endpoint that is no MQTT 5 broker, or does not ask for a client certificate",
        next_step=_DESCRIBE_ENDPOINT,
    )


def _server_refused(settings: Settings, error: ssl.SSLCertVerificationError) -> StartError:
    reason = error.verify_message.rstrip(".")
    if error.verify_code in _ANOTHER_NAME:
        return StartError(
            f"the server's certificate is not for {settings.endpoint}: {reason}",
            cause="an IP address or another name where the certificate's own name is needed",
            next_step=_DESCRIBE_ENDPOINT,
        )
    if error.verify_code in _OUT_OF_DATE:
        return StartError(
            f"the server's certificate is out of date: {reason}",
            cause="the clock of this machine is wrong, or the certificate was not renewed",
            next_step="check the clock with `date`; if it is right, ask whoever runs the server.",
        )
    return StartError(
        f"the server's certificate is not trusted: {reason}",
        cause="its CA is not in the trust store, or something in between intercepts TLS",
        next_step="name the CA with --ca-file; for AWS IoT Core use the ATS endpoint and Amazon Root CA 1.",
    )


def _client_refused(settings: Settings, what: str) -> StartError:
    if problem := _out_of_date(settings):
        return StartError(
            what,
            cause=f"{problem}, by the clock of this machine",
            next_step="check the clock with `date`; if it is right, `aws iot create-keys-and-certificate` makes a new "
            "pair.",
        )
    return StartError(
        what,
        cause="the certificate is not registered in this account and region, not ACTIVE, or has no policy that "
        "allows iot:Connect",
        next_step="`aws iot describe-certificate` shows its status, `aws iot list-attached-policies` its policies; "
        "attach policies/device-policy.json, filled in.",
    )


def _out_of_date(settings: Settings) -> str:
    """``"certificate has expired"`` or the like, or ``""``.

    The standard library looks at a certificate's dates in a handshake only: in this one, in memory, the device is the
    server, and its certificate the only one that is trusted.
    """
    device, judge = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    device.load_cert_chain(settings.cert, settings.key)
    judge.load_verify_locations(settings.cert)
    judge.check_hostname = False
    judge.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    to_judge, to_device = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking, answering = (
        judge.wrap_bio(to_judge, to_device),
        device.wrap_bio(to_device, to_judge, server_side=True),
    )
    for side in (asking, answering, asking):
        try:
            side.do_handshake()
        except ssl.SSLError as error:  # at first, that it waits for the other side
            if (
                isinstance(error, ssl.SSLCertVerificationError)
                and error.verify_code in _OUT_OF_DATE
            ):
                return f"the {error.verify_message}"
    return ""


def _words(error: Exception) -> str:
    """What went wrong, as briefly as the library can say it."""
    if isinstance(error, TimeoutError):
        return f"no answer within {_TIMEOUT:g} s"
    reason = error.reason if isinstance(error, ssl.SSLError) else getattr(error, "strerror", None)
    return str(reason or error).replace("_", " ").lower()
