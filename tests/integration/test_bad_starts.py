"""Every way in which the program cannot start: it ends in time, and says what happened, why, and what to do next.

All bad starts are made first, a few at a time; each test looks at one.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from jobs_sandbox.local import ENDPOINT
from tests.support.account import Account, Device
from tests.support.program import run
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

TIMEOUT = 3  # seconds
GRACE = 30.0  # seconds: a few more, on a busy machine; what hangs would take for ever
FROM, TO = datetime(2020, 1, 1, tzinfo=UTC), datetime(2021, 1, 1, tzinfo=UTC)
NO_AWS_FILES = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
EXPIRED = json.dumps({"message": "The security token included in the request is expired"}).encode()
FORBIDDEN = (
    b'HTTP/1.1 403 Forbidden\r\ncontent-length: 33\r\n\r\n{"code":403,"message":"Forbidden"}'
)
EXPIRED_TOKEN = b"HTTP/1.1 403 Forbidden\r\nx-amzn-errortype: ExpiredTokenException\r\ncontent-length: %d\r\n\r\n%s"
SERVER_BUSY = 0x89
MARKED = "IQoJMARKEDMARKED"


def connack(code: int) -> bytes:
    """CONNACK, no session, a reason code, no properties."""
    return bytes([0x20, 3, 0, code, 0])


class Start(NamedTuple):
    """One start of the program."""

    arguments: list[str]
    environment: dict[str, str]


class FakeRun:
    """All that a good start needs; each case spoils one point of it."""

    def __init__(self, account: Account, folder: Path, stack: ExitStack) -> None:
        self.account = account
        self._folder = folder
        self._stack = stack
        self.device = account.device()
        account.iot.create_thing(thingName=self.device.thing)
        self.operator = account.operator(self.device.thing)
        self.ca = trustme.CA()
        self.ca_file = self.file("ca.pem", self.ca.cert_pem.bytes())
        self.closed_port = stack.enter_context(closed_port())
        self.closed_url = f"http://{HOST}:{self.closed_port}"
        self.black_hole = stack.enter_context(black_hole())

    def start(
        self,
        env: dict[str, str] | None = None,
        *,
        device: Device | None = None,
        endpoint: str | None = None,
        region: str | None = None,
        **options: Any,
    ) -> Start:
        """A good start, but for what is given; None leaves an option out."""
        arguments = self.account.arguments(device or self.device)
        given = {"timeout": TIMEOUT, **options}
        for option, value in given.items():
            name = f"--{option.replace('_', '-')}"
            if name in arguments:
                place = arguments.index(name)
                del arguments[place : place + 2]
            if value is not None:
                arguments += [name, str(value)]
        arguments[0], arguments[3] = endpoint or arguments[0], region or arguments[3]
        return Start(arguments, NO_AWS_FILES | (self.operator if env is None else env))

    # Files

    def with_files(self, cert: str | None = None, key: str | None = None, **options: Any) -> Start:
        """A start with other files than the device's own."""
        return self.start(
            device=self.device._replace(cert=cert or self.device.cert, key=key or self.device.key),
            **options,
        )

    def file(self, name: str, content: bytes) -> str:
        path = self._folder / name
        path.touch(mode=0o600)
        path.write_bytes(content)
        return str(path)

    def cut(self, path: str) -> str:
        return self.file(f"cut {Path(path).name}", Path(path).read_bytes()[:300])

    def pipe(self) -> str:
        path = self._folder / "pipe"
        os.mkfifo(path)
        return str(path)

    def encrypted_key(self) -> str:
        key = load_pem_private_key(Path(self.device.key).read_bytes(), None)
        pem = key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
        )
        return self.file("encrypted.key", pem)

    def with_ed25519(self) -> Start:
        """A start with a kind of key that the standard library knows and the device SDK does not."""
        key = ed25519.Ed25519PrivateKey.generate()
        name = x509.Name([])
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), 1)
            .not_valid_before(FROM)
            .not_valid_after(TO)
        ).sign(key, None)
        return self.with_files(
            self.file("ed25519.pem", certificate.public_bytes(Encoding.PEM)),
            self.file(
                "ed25519.key", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            ),
        )

    # The data plane

    def port(self, behaviour: Behaviour) -> int:
        return self._stack.enter_context(serving(behaviour))

    def with_server(
        self,
        behaviour: Behaviour,
        certificate: trustme.LeafCert | None = None,
        clients_from: str | None = None,
        **options: Any,
    ) -> Start:
        """A start with another server at the end of the data plane; by default it knows the device."""
        tls = server_tls(
            certificate or self.ca.issue_cert(ENDPOINT), clients_from or self.account.local.ca_file
        )
        port = self._stack.enter_context(serving(behaviour, tls))
        return self.start(port=port, **({"ca_file": self.ca_file} | options))

    def with_old_certificate(self) -> Start:
        """A start with a client certificate that has expired, at a server that knows its CA."""
        old = self.ca.issue_cert("device.example", not_before=FROM, not_after=TO)
        cert = self.file("old.pem", old.cert_chain_pems[0].bytes())
        key = self.file("old.key", old.private_key_pem.bytes())
        start = self.with_server(silent, clients_from=self.ca_file)
        start.arguments[1:3] = cert, key
        return start

    def with_unknown_certificate(self) -> Start:
        """A start at the real endpoint, with a certificate of another CA."""
        stranger = trustme.CA().issue_cert("device.example")
        cert = self.file("stranger.pem", stranger.cert_chain_pems[0].bytes())
        return self.with_files(cert, self.file("stranger.key", stranger.private_key_pem.bytes()))

    def with_certificate(self, *, active: bool = False, deleted: bool = False) -> Start:
        """A start with a certificate of this account that has no policy, is not active, or is no more."""
        device = self.account.device(self.device.thing, None if active else "shipped")
        iot, name = self.account.iot, device.certificate_arn.rpartition("/")[2]
        if not active:
            iot.update_certificate(certificateId=name, newStatus="INACTIVE")
        if deleted:
            for attached in iot.list_attached_policies(target=device.certificate_arn)["policies"]:
                iot.detach_policy(policyName=attached["policyName"], target=device.certificate_arn)
            iot.delete_certificate(certificateId=name)
        return self.start(device=device)

    # The control plane

    def with_control_plane(self, behaviour: Behaviour) -> Start:
        """A start with another server as the control plane."""
        return self.start(endpoint_url=f"http://{HOST}:{self.port(behaviour)}")

    def with_proxy(self, port: int) -> Start:
        """A start with a proxy between it and the control plane."""
        proxy = {"HTTP_PROXY": f"http://{HOST}:{port}", "NO_PROXY": ""}
        return self.start(self.operator | proxy, endpoint_url="http://control.invalid")

    def with_mfa_serial(self) -> Start:
        """A start with a profile that assumes a role with a code."""
        config = self.file(
            "config",
            b"[profile keys]\naws_access_key_id=x\naws_secret_access_key=x\n[profile mfa]\nsource_profile=keys\n"
            b"role_arn=arn:aws:iam::000000000000:role/R\nmfa_serial=arn:aws:iam::000000000000:mfa/me\n",
        )
        start = self.start({}, profile="mfa")
        return Start(start.arguments, start.environment | {"AWS_CONFIG_FILE": config})

    def without_permission(self, *allowed: str) -> Start:
        """A start of a thing that does not exist, by an operator who is allowed this alone."""
        device = self.account.device()
        statement = {"Effect": "Allow", "Action": ["iot:ListThings", *allowed], "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        return self.start(self.account.operator(device.thing, document), device=device)


class Case(NamedTuple):
    """A bad start, and words of what it must say."""

    name: str
    given: Callable[[FakeRun], Start]
    what: str
    cause: str
    next_step: str


UNREADABLE = ("mistyped path", "endpoint, certificate, key, region, thing")
NOT_REGISTERED = (
    "not registered in this account and region, not ACTIVE",
    "aws iot describe-certificate",
)
WRONG_NAME = ("a URL or host:port instead of a bare host name", "aws iot describe-endpoint")
NO_TLS = ("without TLS", "check the host and --port")
UNREACHABLE = ("--endpoint-url", "can be reached from here")
NO_KEYS = ("needs an AWS access key", "aws configure")
NO_PROFILE = ("a profile that ~/.aws/config does not have", "aws configure list-profiles")

CASES = [
    # Files
    Case(
        "no certificate",
        lambda s: s.with_files("/no/x.pem"),
        "certificate file /no/x.pem cannot be read",
        *UNREADABLE,
    ),
    Case(
        "no key",
        lambda s: s.with_files(key="/no/x.key"),
        "private key file /no/x.key cannot be read",
        *UNREADABLE,
    ),
    Case(
        "no CA",
        lambda s: s.with_files(ca_file="/no/ca.pem"),
        "CA file /no/ca.pem cannot be read",
        *UNREADABLE,
    ),
    Case(
        "a folder",
        lambda s: s.with_files("/tmp"),
        "/tmp cannot be read: it is a folder",
        *UNREADABLE,
    ),
    Case(
        "a pipe",
        lambda s: s.with_files(key=s.pipe()),
        "/pipe cannot be read: it is a folder, a pipe",
        *UNREADABLE,
    ),
    Case(
        "no PEM",
        lambda s: s.with_files(s.file("x", b"hello")),
        "/x is no PEM file",
        "DER",
        "CERTIFICATE-----",
    ),
    Case(
        "empty",
        lambda s: s.with_files(key=s.file("e", b"")),
        "/e is empty",
        "DER",
        "PRIVATE KEY-----",
    ),
    Case(
        "no CA in it",
        lambda s: s.with_files(ca_file=s.file("z", b"z")),
        "the CA file",
        "DER",
        "CERTIFICATE-----",
    ),
    Case(
        "swapped",
        lambda s: s.with_files(s.device.key, s.device.cert),
        "private.key holds RSA PRIVATE KEY, not CERTIFICATE",
        "certificate and key swapped",
        "CERTIFICATE-----",
    ),
    Case(
        "no pair",
        lambda s: s.with_files(key=s.start(device=s.account.device()).arguments[2]),
        "do not belong together",
        "two different certificates",
        "aws iot create-keys-and-certificate",
    ),
    Case(
        "encrypted",
        lambda s: s.with_files(key=s.encrypted_key()),
        "is encrypted",
        "pass phrase",
        "openssl pkey -in",
    ),
    Case(
        "cut certificate",
        lambda s: s.with_files(s.cut(s.device.cert)),
        "pem is damaged",
        "cut short",
        "get it again",
    ),
    Case(
        "cut key",
        lambda s: s.with_files(key=s.cut(s.device.key)),
        "key is damaged",
        "cut short",
        "use a pair",
    ),
    Case(
        "cut CA",
        lambda s: s.with_files(ca_file=s.cut(s.ca_file)),
        "the CA file",
        "cut short",
        "get it again",
    ),
    Case(
        "a kind of key that is not known",
        FakeRun.with_ed25519,
        "the device SDK cannot use the certificate",
        "its TLS library does not know",
        "aws iot create-keys-and-certificate",
    ),
    Case(
        "files before networks",
        lambda s: s.with_files("/no/x.pem", endpoint="nowhere.invalid", endpoint_url=s.closed_url),
        "the certificate file /no/x.pem cannot be read",
        *UNREADABLE,
    ),
    # The endpoint
    Case(
        "no host",
        lambda s: s.start(endpoint="nowhere.invalid"),
        "nowhere.invalid does not resolve",
        *WRONG_NAME,
    ),
    Case(
        "a URL",
        lambda s: s.start(endpoint="https://x.invalid/"),
        "https://x.invalid/ does not resolve",
        *WRONG_NAME,
    ),
    Case(
        "host:port",
        lambda s: s.start(endpoint=f"{HOST}:8883"),
        f"{HOST}:8883 does not resolve",
        *WRONG_NAME,
    ),
    Case(
        "IDN",
        lambda s: s.start(endpoint="bücher.invalid"),
        "bücher.invalid does not resolve",
        *WRONG_NAME,
    ),
    Case(
        "a long label",
        lambda s: s.start(endpoint="x" * 64 + ".invalid"),
        "x.invalid does not resolve",
        *WRONG_NAME,
    ),
    Case(
        "no letters",
        lambda s: s.start(endpoint="\udcff"),
        "the device SDK cannot use",
        "no host name",
        "use the files",
    ),
    Case(
        "closed port",
        lambda s: s.start(port=s.closed_port),
        "connection refused",
        "a wrong host or --port",
        "check the host and --port",
    ),
    Case(
        "firewall",
        lambda s: s.start(port=s.black_hole),
        "cannot be reached: no answer within",
        "a firewall",
        "check the host and --port",
    ),
    Case(
        "not TLS, silent",
        lambda s: s.start(port=s.port(silent)),
        "does not complete a TLS handshake: no ",
        *NO_TLS,
    ),
    Case(
        "not TLS, closing",
        lambda s: s.start(port=s.port(closing)),
        "does not complete a TLS handshake",
        *NO_TLS,
    ),
    Case(
        "not TLS, talking",
        lambda s: s.start(port=s.port(talking(b"220 mail.example ESMTP\r\n"))),
        "a TLS",
        *NO_TLS,
    ),
    Case(
        "not TLS, HTTP",
        lambda s: s.start(port=s.port(answering(b"HTTP/1.1 400 Bad\r\n\r\n"))),
        "a TLS",
        *NO_TLS,
    ),
    Case(
        "TLS, silent",
        lambda s: s.with_server(silent),
        "did not answer the MQTT",
        "no MQTT broker",
        "larger --timeout",
    ),
    Case(
        "TLS, other words",
        lambda s: s.with_server(answering(b"\xff" * 40)),
        "speaks TLS, but not as AWS IoT does",
        "no MQTT 5 broker",
        "aws iot describe-endpoint",
    ),
    Case(
        "not trusted",
        lambda s: s.start(ca_file=None),
        "the server's certificate is not trusted",
        "not in the trust store",
        "--ca-file",
    ),
    Case(
        "another server's name",
        lambda s: s.with_server(silent, s.ca.issue_cert("elsewhere.example")),
        f"the server's certificate is not for {ENDPOINT}",
        "another name",
        "aws iot describe-endpoint",
    ),
    Case(
        "expired server",
        lambda s: s.with_server(silent, s.ca.issue_cert(ENDPOINT, not_before=FROM, not_after=TO)),
        "the server's certificate is out of date: certificate has expired",
        "the clock of this machine is wrong, or",
        "`date`",
    ),
    # The device
    Case(
        "unknown certificate",
        FakeRun.with_unknown_certificate,
        "the client certificate",
        *NOT_REGISTERED,
    ),
    Case(
        "inactive", FakeRun.with_certificate, "hung up on the client certificate", *NOT_REGISTERED
    ),
    Case(
        "deleted",
        lambda s: s.with_certificate(deleted=True),
        "hung up on the client certificate",
        *NOT_REGISTERED,
    ),
    Case(
        "expired",
        FakeRun.with_old_certificate,
        "refused the client certificate",
        "the certificate has expired, by the clock of this machine",
        "`date`",
    ),
    Case(
        "no policy",
        lambda s: s.with_certificate(active=True),
        "refused the connection: NOT_AUTHORIZED (135)",
        "no policy of the certificate allows iot:Connect on client/test-",
        "policies/device-policy.json",
    ),
    Case(
        "another client id",
        lambda s: s.start(client_id="my-device"),
        "refused the connection: NOT_AUTHORIZED (135)",
        "no policy of the certificate allows iot:Connect on client/my-device",
        "--client-id",
    ),
    Case(
        "busy",
        lambda s: s.with_server(answering(connack(SERVER_BUSY))),
        "the endpoint refused the connection: SERVER_BUSY (137)",
        "busy",
        "try again",
    ),
    # The control plane
    Case("no credentials", lambda s: s.start({}), "Unable to locate credentials", *NO_KEYS),
    Case(
        "half of them",
        lambda s: s.start({"AWS_ACCESS_KEY_ID": "x"}),
        "missing: AWS_SECRET_ACCESS_KEY",
        *NO_KEYS,
    ),
    Case(
        "wrong key",
        lambda s: s.start(s.operator | {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE"}),
        "iot:DescribeThing failed: UnrecognizedClientException",
        "the access key does not exist",
        "aws sts get-caller-identity",
    ),
    Case(
        "wrong secret",
        lambda s: s.start(s.operator | {"AWS_SECRET_ACCESS_KEY": "x"}),
        "iot:DescribeThing failed: InvalidSignatureException",
        "the secret key is not its own",
        "aws sts get-caller-identity",
    ),
    Case(
        "expired credentials",
        lambda s: s.with_control_plane(answering(EXPIRED_TOKEN % (len(EXPIRED), EXPIRED))),
        "iot:DescribeThing failed: ExpiredTokenException: The security token included in the request is expired",
        "have expired",
        "renew them",
    ),
    Case(
        "no profile",
        lambda s: s.start(profile="nobody"),
        "(nobody) could not be found",
        *NO_PROFILE,
    ),
    Case(
        "no AWS_PROFILE",
        lambda s: s.start({"AWS_PROFILE": "nobody"}),
        "(nobody) could not be found",
        *NO_PROFILE,
    ),
    Case(
        "closed",
        lambda s: s.start(endpoint_url=s.closed_url),
        "the control plane cannot be reached",
        *UNREACHABLE,
    ),
    Case(
        "unresolvable",
        lambda s: s.start(endpoint_url="http://control.invalid"),
        "the control plane cannot be reached",
        *UNREACHABLE,
    ),
    Case(
        "nowhere",
        lambda s: s.start(region="nowhere", endpoint_url=None),
        "iot.nowhere.",
        "(nowhere)",
        "in nowhere",
    ),
    Case(
        "no region",
        lambda s: s.start(region="us east 1"),
        "region_name 'us east 1' doesn't match",
        "the region",
        "check the region (us east 1)",
    ),
    Case(
        "silent",
        lambda s: s.with_control_plane(silent),
        "did not answer",
        "a slow network",
        "larger --timeout",
    ),
    Case(
        "behind a firewall",
        lambda s: s.start(endpoint_url=f"http://{HOST}:{s.black_hole}", timeout=1),
        "the control plane",
        "--endpoint-url",
        "",
    ),
    Case(
        "closing",
        lambda s: s.with_control_plane(closing),
        "no answer from http:",
        "--endpoint-url",
        "try again",
    ),
    Case(
        "another service",
        lambda s: s.with_control_plane(
            answering(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        ),
        "not as AWS IoT does",
        "a wrong --endpoint-url",
        "check both",
    ),
    Case(
        "not trusted by boto3",
        lambda s: s.start(endpoint_url=f"https://{HOST}:{s.account.local.port}"),
        "certificate verify failed",
        "intercepts TLS",
        "AWS_CA_BUNDLE",
    ),
    Case(
        "no AWS IoT that forbids",
        lambda s: s.with_control_plane(answering(FORBIDDEN)),
        "iot:DescribeThing failed: 403: Forbidden",
        "a proxy or a login page",
        "check both",
    ),
    Case(
        "a profile with mfa_serial",
        FakeRun.with_mfa_serial,
        "the credentials need a code, for which this program does not ask",
        "has an mfa_serial",
        "aws configure export-credentials",
    ),
    Case(
        "a token with a line end",
        lambda s: s.start(s.operator | {"AWS_SESSION_TOKEN": f"{MARKED}\r"}),
        "a credential cannot be sent",
        "a line end of Windows",
        "aws configure list",
    ),
    Case(
        "no URL",
        lambda s: s.start(endpoint_url="x y"),
        "Invalid endpoint: x y",
        "--endpoint-url",
        "--endpoint-url",
    ),
    Case(
        "a closed proxy",
        lambda s: s.with_proxy(s.closed_port),
        "proxy",
        "names a proxy",
        "NO_PROXY",
    ),
    Case(
        "a silent proxy",
        lambda s: s.with_proxy(s.port(silent)),
        "did not answer",
        "or a proxy",
        "larger --timeout",
    ),
    Case(
        "no DescribeThing",
        FakeRun.without_permission,
        "iot:DescribeThing failed: AccessDeniedException",
        "lack the permission iot:DescribeThing on arn:aws:iot:us-east-1:000000000000:thing/Thing-",
        "policies/control-plane-policy.json",
    ),
    Case(
        "no CreateThing",
        lambda s: s.without_permission("iot:DescribeThing"),
        "iot:CreateThing failed: AccessDeniedException",
        "lack the permission iot:CreateThing on arn:aws:iot:us-east-1:000000000000:thing/Thing-",
        "policies/control-plane-policy.json",
    ),
]


class Outcome(NamedTuple):
    """How a start ended."""

    status: int
    seconds: float
    stdout: str
    stderr: str


def outcome(start: Start) -> Outcome:
    began = time.monotonic()
    done = run(start.arguments, "", start.environment)
    return Outcome(done.returncode, time.monotonic() - began, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def stage(account: Account, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeRun]:
    with ExitStack() as stack:
        yield FakeRun(account, tmp_path_factory.mktemp("bad starts"), stack)


@pytest.fixture(scope="module")
def outcomes(stage: FakeRun) -> dict[str, Outcome]:
    """How each bad start ended."""
    starts = [case.given(stage) for case in CASES]
    with ThreadPoolExecutor(3) as several:
        return dict(zip([case.name for case in CASES], several.map(outcome, starts), strict=True))


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_bad_start(case: Case, outcomes: dict[str, Outcome]) -> None:
    """It ends in time with status 1, and three lines on stderr: what happened, the likely cause, the next step."""
    ended = outcomes[case.name]
    assert ended.status == 1, ended.stderr
    assert ended.seconds < TIMEOUT + GRACE
    assert ended.stdout == ""
    what, cause, todo = ended.stderr.splitlines()
    assert case.what in what
    assert cause.startswith("  likely cause: ")
    assert case.cause in cause
    assert todo.startswith("  next: ")
    assert case.next_step in todo


@pytest.mark.parametrize("thing", ["a/b", "#", "+", "x y", "x" * 129, "", "é", "\x1b[2J"])
def test_illegal_thing_name(thing: str) -> None:
    """A thing name that AWS IoT would refuse is wrong usage: status 2, and what a name may hold."""
    ended = outcome(Start([HOST, "cert", "key", "us-east-1", thing], NO_AWS_FILES))
    assert ended.status == 2
    assert f"{thing!r} is not a thing name: 1 to 128 letters, digits, :, _ and -" in ended.stderr
    assert "next: jobs-sandbox --help" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_key_that_others_can_read(stage: FakeRun) -> None:
    """A private key that others can read is warned of, and the program starts."""
    key = stage.file("open.key", Path(stage.device.key).read_bytes())
    os.chmod(key, 0o644)
    ended = outcome(stage.with_files(key=key))
    assert ended.status == 0, ended.stderr
    warning, connected = ended.stderr.splitlines()
    assert (
        warning
        == f"the private key {key} can be read by other users of this machine; chmod 600 it."
    )
    assert connected.startswith("connected to ")


def test_json(stage: FakeRun) -> None:
    """With --output json a bad start is one object on stderr, with all three parts."""
    ended = outcome(stage.start(port=stage.closed_port, output="json"))
    told = json.loads(ended.stderr)
    assert (ended.status, ended.stdout) == (1, "")
    assert told["type"] == "Error"
    assert "connection refused" in told["message"]
    assert told["cause"]
    assert told["next"]


@pytest.mark.parametrize("output", ["text", "json"])
def test_no_secret_is_shown(stage: FakeRun, output: str) -> None:
    """Whatever way a start fails, no credential and no user part of a URL is in what is said."""
    silent_port = stage.port(silent)
    proxy = {"HTTP_PROXY": f"socks5://user:{MARKED}@{HOST}:{stage.closed_port}", "NO_PROXY": ""}
    starts = [
        stage.start(stage.operator | {"AWS_SESSION_TOKEN": f"{MARKED}\r"}, output=output),
        stage.start(stage.operator | proxy, endpoint_url="http://control.invalid", output=output),
        *(
            stage.start(
                endpoint_url=f"http://user:{MARKED}{odd}@{HOST}:{port}", output=output, timeout=1
            )
            for port, odd in ((stage.closed_port, ""), (silent_port, ""), (silent_port, "/"))
        ),
    ]
    with ThreadPoolExecutor(3) as several:
        for ended in several.map(outcome, starts):
            assert ended.status == 1
            assert ended.stderr
            assert "MARKED" not in ended.stdout + ended.stderr
