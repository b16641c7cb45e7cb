"""Explains why the device SDK refused its settings, or could not connect.

The errors of the SDK are vague or late (it takes 10 to 28 seconds to report a server that is not
trusted). So after a failure this module examines the files, or makes one TLS handshake with the
endpoint by means of the standard library.
"""

import asyncio
import base64
import re
import socket
import ssl
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote

from jobs_sandbox.core.errors import StartError
from jobs_sandbox.core.settings import Settings
from jobs_sandbox.core.threads import in_thread

_TIMEOUT = 2.0  # seconds, for each step of a diagnosis
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)
_NOT_A_PAIR = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
# OpenSSL's X509_V_ERR_…
_OUT_OF_DATE = (9, 10)
_ANOTHER_NAME = (62, 64)
_HTTPS_PORT = 443
_LOCAL = ("127.0.0.1", "localhost", "::1")
_NEW_PAIR = (
    "`aws iot create-keys-and-certificate --certificate-pem-outfile … --private-key-outfile …` "
    "writes a new pair."
)
# https://docs.aws.amazon.com/iot/latest/developerguide/protocols.html
_CHECK_PORT = (
    "check the host and --port: AWS IoT takes MQTT on 8883, and on 443, which fewer networks "
    "block; MQTT does not use a proxy of HTTPS_PROXY."
)


def explain_refusal(settings: Settings, error: str) -> StartError:
    """Why the device SDK did not accept the settings; ``error`` is its own message."""
    if "TRUST_STORE_NOT_FOUND" in error:
        return StartError(
            "this machine has no CA certificates to check the endpoint's certificate with",
            cause="the system's CA store (often the package ca-certificates) is not installed",
            next_step="install it, or name the CA with --ca-file: Amazon Root CA 1 for AWS IoT.",
        )
    files = [
        ("certificate", settings.cert, "CERTIFICATE"),
        ("private key", settings.key, "PRIVATE KEY"),
        ("CA", settings.ca_file, "CERTIFICATE"),
    ]
    for role, path, label in files:
        if path is not None and (problem := _file_problem(settings, role, path, label)):
            return problem
    # https://docs.aws.amazon.com/iot/latest/apireference/API_CreateCertificateFromCsr.html
    return _pair_problem(settings) or StartError(
        f"the device SDK cannot use the files, the endpoint {settings.endpoint!r} or the client "
        f"id {settings.client_id!r}: {error}",
        cause="a kind of key that its TLS library does not know (AWS IoT takes RSA keys of 2,048 "
        "bits and more, and the curves P-256, P-384 and P-521), or characters that neither a host "
        "name nor a client id can have",
        next_step=f"check the endpoint and --client-id; {_NEW_PAIR}",
    )


def _file_problem(settings: Settings, role: str, path: str, wanted: str) -> StartError | None:
    """Why a PEM file cannot be used; all its labels must end in ``wanted``."""
    try:
        text = Path(path).read_bytes().decode("latin-1")
    except PermissionError as error:
        return StartError(
            f"the {role} file {path!r} cannot be read: {error.strerror}",
            cause="it, or its folder, belongs to another user",
            next_step="run the program as that user, or copy the file.",
        )
    except OSError as error:
        return _unless_local_ended(
            settings,
            f"the {role} file {path!r} cannot be read: {error.strerror}",
            "a mistyped path",
            "check it with `ls -l`; the order of arguments is endpoint, certificate, key, region, "
            "thing.",
        )
    labels = re.findall("-----BEGIN ((?!EC PARAMETERS)[A-Z0-9 ]+)-----", text)
    tool = "x509" if wanted == "CERTIFICATE" else "pkey"
    checks = [
        (
            text.startswith(("\xff\xfe", "\xfe\xff")),
            "is UTF-16 text",
            "an editor, or > of PowerShell, wrote it",
            f"convert it: iconv -f UTF-16 -t ASCII {quote(path)} > new.pem",
        ),
        (
            "\\n" in text,
            "has \\n in place of line ends",
            "a piece of the JSON that `aws iot create-keys-and-certificate` prints",
            "write the value alone to a file, with line ends: printf '%b' '<value>' > new.pem",
        ),
        (
            text.startswith("0") and "\0" in text,
            "is DER, not PEM",
            "the binary form of a certificate or key, often named .der or .crt",
            f"convert it: openssl {tool} -inform DER -in {quote(path)} -out new.pem",
        ),
        (
            not labels,
            "is not a PEM file",
            "another file than the one meant, or the command that wrote it failed",
            f"give the file with the line -----BEGIN … {wanted}-----",
        ),
        (
            "OPENSSH PRIVATE KEY" in labels,
            "is an OpenSSH key",
            "a key in the form of ssh-keygen",
            "give the key of the certificate; if this is it: ssh-keygen -p -m PEM -f <a copy>",
        ),
        (
            not all(label.endswith(wanted) for label in labels),
            f"contains {' and '.join(dict.fromkeys(labels))}, not {wanted} alone",
            "certificate and key swapped, or both in one file",
            "give each in a file of its own, in the order certificate, key.",
        ),
        (
            re.search("ENCRYPTED PRIVATE KEY|4,ENCRYPTED", text),
            "is encrypted",
            "the device SDK cannot ask for the pass phrase",
            f"decrypt a copy: openssl pkey -in {quote(path)} -out new.pem",
        ),
    ]
    for found, problem, cause, next_step in checks:
        if found:
            return StartError(
                f"the {role} file {path!r} {problem}", cause=cause, next_step=next_step
            )
    return None


def _unless_local_ended(settings: Settings, message: str, cause: str, next_step: str) -> StartError:
    """An error which, at an endpoint of this machine, also blames a --local that has ended."""
    if settings.endpoint in _LOCAL:
        cause = f"the --local that was to be joined has ended, and its files with it; or {cause}"
        next_step = (
            "start it again with --local; there, `connection` prints how to join it. "
            f"Or {next_step}"
        )
    return StartError(message, cause=cause, next_step=next_step)


def _pair_problem(settings: Settings) -> StartError | None:
    """Why a certificate and a private key cannot be used together."""
    cert, key = settings.cert, settings.key
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(cert, key)
    except ssl.SSLError as error:
        problem, cause = "do not belong together", "files of two different pairs"
        if error.reason not in _NOT_A_PAIR:
            problem, cause = (
                f"cannot be used: {error}",
                "a damaged file, or a key that is too short",
            )
        elif len(_CERTIFICATE.findall(Path(cert).read_bytes())) > 1:
            cause = "a chain in reverse order (the device's own certificate must be the first)"
        return StartError(
            f"the certificate {cert!r} and the private key {key!r} {problem}",
            cause=cause,
            next_step=f"`openssl x509 -in {quote(cert)} -noout -pubkey` and `openssl pkey -in "
            f"{quote(key)} -pubout` must print the same. {_NEW_PAIR}",
        )
    return None


async def explain_connection(settings: Settings, error: str) -> StartError:
    """Why the MQTT endpoint cannot be used.

    Args:
        settings: where to connect, and with what.
        error: what the SDK says; ``""`` if it said nothing in time.

    """
    address = (settings.endpoint, settings.port)
    try:
        # The outer timeout bounds the resolver, and a host of many addresses.
        async with asyncio.timeout(_TIMEOUT * 2):
            connection = await in_thread(lambda: socket.create_connection(address, _TIMEOUT))
    except (socket.gaierror, UnicodeError) as failure:
        return StartError(
            f"the endpoint {settings.endpoint!r} does not resolve: {failure}",
            cause="a mistyped name, a URL, a port or a blank where the host name alone is needed; "
            "or no network",
            next_step=_right_endpoint(settings),
        )
    except OSError as failure:
        return _unless_local_ended(
            settings,
            f"{settings.endpoint}:{settings.port} cannot be reached: {str(failure) or 'no answer'}",
            "a wrong host or --port, an endpoint that does not run, or a firewall in between",
            _CHECK_PORT,
        )
    with connection:
        return await in_thread(lambda: _explain_tls(settings, connection, error))


def _explain_tls(settings: Settings, connection: socket.socket, error: str) -> StartError:
    where = f"{settings.endpoint}:{settings.port}"
    waits_for_mqtt = False
    try:
        context = _tls_context(settings)
        with context.wrap_socket(connection, server_hostname=settings.endpoint) as tls:
            try:
                # In TLS 1.3, a server refuses a client certificate after the handshake.
                tls.recv(1)
            except TimeoutError:
                waits_for_mqtt = True
            except OSError as failure:
                return _client_refused(settings, str(failure))
    except ssl.SSLCertVerificationError as failure:
        return _server_refused(settings, failure)
    except OSError as failure:
        if re.search("certificate|unknown ca", str(failure)):
            return _client_refused(settings, str(failure))
        return StartError(
            f"{where} does not complete a TLS handshake: {failure}",
            cause="a service without TLS, or something in between that intercepts it",
            next_step=f"{_CHECK_PORT} {_right_endpoint(settings)}",
        )
    if "HANGUP" in error or ("CLOSED" in error and not waits_for_mqtt):
        return _client_refused(settings, error)
    if "TIMEOUT" in error or not error:
        return StartError(
            f"{where} speaks TLS, but did not answer MQTT within {settings.timeout:g} s",
            cause="a slow or lossy network, or an endpoint that is not an MQTT broker",
            next_step=f"try a larger --timeout; {_CHECK_PORT}",
        )
    return StartError(
        f"{where} speaks TLS, but the device SDK cannot connect: {error}",
        cause="an endpoint that is not an MQTT 5 broker, does not ask for a client certificate "
        "or does not accept it, or has a certificate that the SDK's TLS library does not know, "
        "such as Ed25519",
        next_step=f"{_right_endpoint(settings)} A server of your own must ask for client "
        "certificates, and have an RSA or P-256 key.",
    )


def _tls_context(settings: Settings) -> ssl.SSLContext:
    """The trust and identity of the device."""
    # The default context is stricter than the SDK since Python 3.13.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if settings.port == _HTTPS_PORT:
        # https://docs.aws.amazon.com/iot/latest/developerguide/protocols.html
        context.set_alpn_protocols(["x-amzn-mqtt-ca"])
    if settings.ca_file is None:
        context.load_default_certs()
    else:
        certificates = _CERTIFICATE.findall(Path(settings.ca_file).read_bytes())
        # The SDK has read the file before; a pipe is empty now.
        with suppress(ValueError):
            context.load_verify_locations(cadata=b"".join(map(base64.b64decode, certificates)))
    # The SDK reads some forms of PEM that OpenSSL does not.
    with suppress(ssl.SSLError):
        context.load_cert_chain(settings.cert, settings.key)
    return context


def _server_refused(settings: Settings, error: ssl.SSLCertVerificationError) -> StartError:
    """The device does not accept the server's certificate."""
    problem = "trusted"
    cause = "its CA is not in the trust store, or something in between intercepts TLS"
    next_step = "name the CA with --ca-file: Amazon Root CA 1 for the ATS endpoint of AWS IoT."
    if ".iot." in settings.endpoint and "-ats." not in settings.endpoint:
        next_step = _right_endpoint(settings)
    if error.verify_code in _ANOTHER_NAME:
        problem = f"for {settings.endpoint!r}"
        cause = "another name, or an IP address, where the name in the certificate is needed"
        next_step = _right_endpoint(settings)
    elif error.verify_code in _OUT_OF_DATE:
        problem = "valid now"
        cause = (
            f"this machine's clock is wrong (it says {datetime.now(UTC):%Y-%m-%d}), or the "
            "certificate was not renewed"
        )
        next_step = "set the clock; if it is right, ask the operator of the server."
    return StartError(
        f"the server's certificate is not {problem}: {error.verify_message}",
        cause=cause,
        next_step=next_step,
    )


def _client_refused(settings: Settings, reason: str) -> StartError:
    """The server does not accept the device's certificate."""
    return StartError(
        f"{settings.endpoint}:{settings.port} refused the client certificate {settings.cert!r}: "
        f"{reason}",
        cause="the certificate is not registered in this account and region, is not ACTIVE or out "
        "of date, or has no policy that allows iot:Connect",
        next_step="`aws iot describe-certificate` shows its status, `aws iot "
        "list-attached-policies` its policies, "
        f"`openssl x509 -in {quote(settings.cert)} -noout -dates` its dates.",
    )


def _right_endpoint(settings: Settings) -> str:
    """Where to find the right endpoint: of an emulator, not in its DescribeEndpoint."""
    if settings.endpoint_url or re.search("localhost|localstack|127.0.0.1", settings.endpoint):
        return (
            "For an emulator, give the host that it runs on, such as localhost, and with --port "
            "its MQTT port, often 8883; its DescribeEndpoint may print the HTTP port."
        )
    return (
        "`aws iot describe-endpoint --endpoint-type iot:Data-ATS` prints the endpoint of your "
        "account."
    )
