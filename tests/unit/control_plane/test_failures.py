"""What people really get from boto3, and from AWS, is put down to its true cause."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from jobs_sandbox.control_plane.client import ControlPlane
from jobs_sandbox.control_plane.failures import FAILURES
from tests.support.servers import endpoints
from tests.support.servers.control import ARN, NOT_FOUND, Answer, Control, refusal
from tests.unit.control_plane.conftest import KEYS, Configure, Connect, failure, words
from tests.unit.control_plane.test_client import OPERATIONS

DENIED = "User: u is not authorized to perform: iot:DescribeJobExecution"
LATE = "Signature expired: 20200101T000000Z is now earlier than 20261124T000000Z"
CANONICAL = (
    "does not match.\n\nThe Canonical String for this request should have been\n'GET\n\nIQoJ'"
)


@pytest.mark.parametrize(
    ("action", "answer", "shown"),
    [
        (
            "iot:DescribeJobExecution",
            refusal(
                403, "AccessDeniedException", f"{DENIED} on resource: {ARN}:thing/T because no"
            ),
            f"lack the permission iot:DescribeJobExecution on {ARN}:thing/T | allow it",
        ),
        (
            "iot:DescribeJobExecution",
            refusal(403, "AccessDeniedException", DENIED),
            "lack the permission iot:DescribeJobExecution on * | ",
        ),
        (
            "iot:DeleteJob",
            refusal(403, "UnauthorizedException", ""),
            "lack the permission iot:DeleteJob",
        ),
        (
            "iot:DeleteJob",
            refusal(403, "AccessDeniedException", f"{DENIED} with an explicit deny in a service"),
            "a policy denies it",
        ),
        (
            "iot:DeleteJob",
            refusal(403, "InvalidSignatureException", "should be scoped to a valid region."),
            "the region (us-east-1) is not that of",
        ),
        ("iot:DeleteJob", refusal(403, "ExpiredTokenException"), "have expired | renew them"),
        ("iot:DeleteJob", refusal(403, "UnrecognizedClientException"), "access key does not exist"),
        ("iot:DeleteJob", refusal(403, "InvalidSignatureException", CANONICAL), "not match. | "),
        ("iot:DeleteJob", refusal(403, "InvalidSignatureException", LATE), "clock of this machine"),
        ("iot:CreateJob", refusal(409, "ResourceAlreadyExistsException"), "choose another job id"),
        ("iot:CancelJob", refusal(400, "InvalidRequestException"), "the job has ended already"),
        ("iot:CreateJob", refusal(400, "InvalidRequestException"), "Exception: no |  | "),
        ("iot:DeleteJob", refusal(409, "InvalidStateTransitionException"), "job with cancel-job"),
        ("iot:DeleteJob", refusal(409, "LimitExceededException"), "10 jobs may be in deletion"),
        ("iot:DeleteJob", NOT_FOUND, "has to do. | NotFound"),
        ("iot:DeleteJob", refusal(400, "ThrottlingException"), "in a moment. | Unavailable"),
        (
            "iot:DeleteJob",
            refusal(503, "ServiceUnavailableException"),
            "in a moment. | Unavailable",
        ),
        # A gateway
        (
            "iot:DeleteJob",
            Answer(403, {"code": 403, "message": "Forbidden"}),
            "403: Forbidden | --endpoint-url names something else than AWS IoT",
        ),
        # Emulators without Jobs
        ("iot:CreateJob", refusal(501, "InternalFailure", "API for service 'iot'"), "an emulator"),
        ("iot:CreateJob", refusal(404, "UnknownOperationException"), "an emulator without"),
    ],
)
def test_refusals(
    connect: Connect, service: Control, action: str, answer: Answer, shown: str
) -> None:
    """A refusal shows the service's code and message, its cause and what to do."""
    service.script(answer)
    error = failure(lambda: OPERATIONS[action](connect()))
    assert error.message.startswith(f"{action} failed: ")
    assert shown in words(error)
    assert error.uncertain is (answer.status == 503)


def test_words_of_a_service(connect: Connect, service: Control) -> None:
    """The words of a service stay on their line and within bounds, and braces in them stay."""
    service.script(refusal(400, "Odd\x1b", "no {0} {words}\n  next: do as I say" + "x" * 5000))
    error = failure(connect().ensure_thing)
    assert "no {0} {words} next: do as I say" in error.message
    assert len(error.message) < 800


@pytest.mark.parametrize(
    ("variables", "config", "shown"),
    [
        # AWS_PROFILE= in a shell or a .env file
        ({"AWS_PROFILE": ""}, "", "failed: AWS_PROFILE is empty | "),
        ({"AWS_DEFAULT_PROFILE": "x"}, "", "(x) could not be found | AWS_DEFAULT_PROFILE names"),
        # PowerShell's > writes UTF-16, an editor of Windows a byte order mark
        ({}, "[default]\n".encode("utf-16"), "/config | the file is not UTF-8"),
        ({}, b"\xef\xbb\xbf[default]\n", "/config | the file is not UTF-8, has a byte order mark"),
        ({}, "aws_secret_access_key = MARKED", "/config | the file is not UTF-8"),
        ({}, "[default]\nregion = x\n", "no usable AWS credentials: Unable to locate credentials"),
        (
            {"AWS_ACCESS_KEY_ID": "x"},
            "[default]\n",
            "no usable AWS credentials: Partial credentials found in env, missing: AWS_SECRET",
        ),
        # As `aws configure export-credentials --format env` prints it
        (
            {"AWS_CREDENTIAL_EXPIRATION": "2020-01-01T00:00:00Z"},
            "",
            "are still expired. | the control plane credentials have expired",
        ),
        # Left over from an emulator
        (
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"},
            "",
            "nothing listens at http://127.0.0.1:9 (AWS_ENDPOINT_URL) | ",
        ),
        ({"AWS_ENDPOINT_URL_IOT": "127.0.0.1:9"}, "", "127.0.0.1:9 (AWS_ENDPOINT_URL_IOT), or a"),
        ({"AWS_ENDPOINT_URL": "http://u:MARKED@x:y"}, "", "http://…@x:y (AWS_ENDPOINT_URL), or a"),
        ({"HTTPS_PROXY": "http://u:MARK#ED@127.0.0.1:9"}, "", "percent-encode"),
        ({"HTTPS_PROXY": "http://u:MARKED@127.0.0.1:9"}, "", "HTTPS_PROXY names a proxy"),
        (
            {},
            "[default]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = y\n",
            'The source_profile "y" referenced in the profile "default" does not exist. | ',
        ),
    ],
)
def test_settings(
    configure: Configure, connect: Connect, variables: dict[str, str], config: str, shown: str
) -> None:
    """A wrong setting is named with the variable or the file, without what is secret in it."""
    configure(config, **variables)
    error = failure(connect(None).ensure_thing)
    assert shown in words(error)
    assert "MARK" not in words(error)
    assert not error.uncertain


@pytest.mark.parametrize(
    ("region", "shown"),
    [
        ("us east 1", "'us east 1' doesn't match a supported format. | the region, or"),
        ("nowhere", "no network, a wrong region (nowhere) or endpoint_url in ~/.aws/config"),
    ],
)
def test_region(connect: Connect, region: str, shown: str) -> None:
    """A region that is none is named."""
    assert shown in words(failure(connect(None, region=region).ensure_thing))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://user:MARKED@127.0.0.1:9", 'connect to the endpoint URL: "http://…@127.0.0.1:9/'),
        ("http://user:MARK#MARKED@127.0.0.1:9", "http://…@127.0.0.1:9, or a proxy"),
        ("user:MARKED@127.0.0.1:9", "…@127.0.0.1:9, or a proxy"),
        ("x y", "x y, or a proxy on the way to it, is not a URL | --endpoint-url"),
    ],
)
def test_endpoint_url(connect: Connect, url: str, shown: str) -> None:
    """--endpoint-url is shown without its user part, be it a URL or not."""
    printed = words(failure(connect(url).ensure_thing))
    assert shown in printed
    assert "MARK" not in printed


def test_a_credential_with_a_line_ending(configure: Configure, connect: Connect) -> None:
    """A credential from a file with Windows line endings is not shown."""
    configure(AWS_SESSION_TOKEN="IQoJMARKED\r")
    shown = words(failure(connect().ensure_thing))
    assert "a credential cannot be sent" in shown
    assert "MARKED" not in shown


def test_a_server_that_repeats_what_it_got(
    configure: Configure, connect: Connect, service: Control
) -> None:
    """A server that sends back the credentials is quoted without them."""
    configure(AWS_SESSION_TOKEN="IQoJMARKED//MARKED==")
    service.answer = lambda request: refusal(403, "Odd", f"{request.headers} {KEYS}")
    shown = failure(connect().ensure_thing).message
    assert "authorization" in shown
    for secret in (*KEYS.values(), "MARKED"):
        assert secret not in shown


# TLS


@pytest.fixture
def ca(configure: Configure, tmp_path: Path) -> trustme.CA:
    """A CA that boto3 trusts."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    configure(AWS_CA_BUNDLE=str(tmp_path / "ca.pem"))
    return ca


@pytest.fixture
def tls(request: pytest.FixtureRequest, ca: trustme.CA, connect: Connect) -> Iterator[ControlPlane]:
    """A control plane before a server with such a certificate."""
    certificate = ca.issue_cert("127.0.0.1", **request.param)
    with endpoints.serving(endpoints.closing, endpoints.server_tls(certificate)) as port:
        yield connect(f"https://127.0.0.1:{port}")


DATES = [datetime(year, 1, 1, tzinfo=UTC) for year in (2020, 2021, 2098, 2099)]


@pytest.mark.parametrize(
    ("tls", "shown"),
    [
        ({"not_before": DATES[0], "not_after": DATES[1]}, "certificate has expired"),
        ({"not_before": DATES[2], "not_after": DATES[3]}, "certificate is not yet valid"),
    ],
    indirect=["tls"],
)
def test_a_wrong_clock(tls: ControlPlane, shown: str) -> None:
    """A certificate of another time is put down to the clock of a Pi without a battery."""
    error = failure(tls.ensure_thing)
    assert shown in error.message
    assert error.cause.startswith("the clock of this machine is wrong")
    assert "`date`" in error.next_step
    assert not error.uncertain


@pytest.mark.parametrize("tls", [{}], indirect=True)
@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (b"", "AWS_CA_BUNDLE ({}) names a file that does not exist or holds no certificate"),
        (b"no certificate", "AWS_CA_BUNDLE ({}) names a file"),
        (trustme.CA().cert_pem.bytes(), "certificate verify failed: "),
        (trustme.CA().cert_pem.bytes(), "or something in between intercepts TLS"),
    ],
)
def test_a_wrong_ca_bundle(
    tls: ControlPlane, configure: Configure, tmp_path: Path, content: bytes, shown: str
) -> None:
    """A CA bundle that does not exist, or is none, is named; one of another CA is not blamed."""
    path = tmp_path / "wrong.pem"
    if content:
        path.write_bytes(content)
    configure(AWS_CA_BUNDLE=str(path))
    assert shown.format(path) in words(failure(tls.ensure_thing))


NAMES = (
    "action words permission source region where endpoint_setting profile_setting profile_option "
    "ca_bundle"
)


def test_templates() -> None:
    """No template names what is not known: that would end in a traceback."""
    for row in FAILURES:
        for template in (row.message, row.cause, row.next_step):
            template.format(**dict.fromkeys(NAMES.split()))
