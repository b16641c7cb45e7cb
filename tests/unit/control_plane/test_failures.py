"""What boto3 raises is told in words: what happened, the likely cause, the next step."""

from collections.abc import Iterable

import pytest
from botocore import exceptions as boto

from jobs_sandbox.control_plane.failures import explain
from jobs_sandbox.core.errors import RequestFailed, Throttled
from jobs_sandbox.core.settings import Settings

SETTINGS = Settings("endpoint", "cert", "key", "us-east-1", "T", "test-1")
JOB_ARN = "arn:aws:iot:us-east-1:000000000000:job/Job1"


def failure(
    error: Exception,
    action: str = "iot:DeleteJob",
    settings: Settings = SETTINGS,
    attempts: Iterable[bool] = (),
    hidden: Iterable[str] = (),
) -> RequestFailed:
    return explain(action, error, settings, list(attempts), hidden)


def refusal(
    code: str, message: str = "no", status: int = 400, action: str = "iot:DeleteJob"
) -> RequestFailed:
    response = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return failure(boto.ClientError(response, "Any"), action, attempts=[status >= 500])


# What the service refuses


def test_access_denied_names_the_permission() -> None:
    """A denied action names the permission and the resource that the service named."""
    message = (
        f"User: arn:aws:iam::1:user/u is not authorized to perform: iot:DeleteJob on resource: {JOB_ARN} "
        "because no identity-based policy allows the iot:DeleteJob action"
    )
    error = refusal("AccessDeniedException", message, 403)
    assert error.message == f"iot:DeleteJob failed: AccessDeniedException: {message}"
    assert (
        error.cause
        == f"the control plane credentials lack the permission iot:DeleteJob on {JOB_ARN}"
    )
    assert "policies/control-plane-policy.json" in error.next_step
    assert not error.uncertain


@pytest.mark.parametrize("code", ["AccessDeniedException", "AccessDenied", "UnauthorizedException"])
def test_access_denied_without_a_word(code: str) -> None:
    """A denied action is named even when the service does not name it."""
    assert refusal(code, "", 403).cause.endswith(
        "lack the permission iot:DeleteJob on the thing or job"
    )


def test_access_denied_without_a_resource() -> None:
    """A denied action whose resource is not named is denied on all."""
    error = refusal("AccessDeniedException", "u is not authorized to perform: iot:DeleteJob", 403)
    assert error.cause.endswith("iot:DeleteJob on *")


def test_a_role_that_may_not_be_assumed() -> None:
    """What another service denies on the way to the credentials is nothing that the shipped policy allows."""
    message = (
        "User: u is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::1:role/R"
    )
    error = refusal("AccessDenied", message, 403)
    assert error.cause.endswith("lack the permission sts:AssumeRole on arn:aws:iam::1:role/R")
    assert (
        error.next_step
        == "allow it to the user or role whose keys these are, or choose another --profile."
    )


@pytest.mark.parametrize("code", ["ExpiredTokenException", "ExpiredToken"])
def test_expired(code: str) -> None:
    """Expired credentials are said to be that, and that the data plane goes on."""
    error = refusal(code, "The security token included in the request is expired", 403)
    assert error.cause == "the control plane credentials have expired"
    assert "the data plane goes on" in error.next_step


@pytest.mark.parametrize(
    "code",
    [
        "UnrecognizedClientException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
    ],
)
def test_wrong_keys(code: str) -> None:
    """Keys that the service does not know are said to be wrong, with a way to see which are used."""
    error = refusal(code, "The security token included in the request is invalid.", 403)
    assert "access key" in error.cause
    assert "aws sts get-caller-identity" in error.next_step


@pytest.mark.parametrize(
    "message",
    [
        "Signature expired: 20200101T000000Z is now earlier than 20261124T000000Z",
        "Signature not yet current: x",
    ],
)
def test_wrong_clock(message: str) -> None:
    """A signature of another time is put down to the clock, not to the keys."""
    error = refusal("InvalidSignatureException", message, 403)
    assert error.cause == "the clock of this machine is wrong"
    assert "`date`" in error.next_step


def test_invalid_state_transition() -> None:
    """A job that cannot be deleted may have executions left, may be completing, or be in deletion already."""
    error = refusal("InvalidStateTransitionException", "Job is in status IN_PROGRESS", 409)
    for word in ("not terminal", "completing", "being deleted"):
        assert word in error.cause
    for command in ("get-pending-job-executions", "update-job-execution", "cancel-job"):
        assert command in error.next_step


def test_limit() -> None:
    """A quota names the one that a sandbox meets."""
    assert "10 jobs may be in deletion" in refusal("LimitExceededException", "no", 409).cause


def test_throttled() -> None:
    """Too many requests, to AWS IoT a 400, are told as that, and as nothing that stays."""
    error = refusal("ThrottlingException", "The rate exceeds the limit.", 400)
    assert isinstance(error, Throttled)
    assert (error.cause, error.next_step) == (
        "more requests in a second than AWS IoT takes from an account",
        "try again in a moment.",
    )


def test_canceled_already() -> None:
    """For a job that has ended, CancelJob has no error of its own; the hint is for CancelJob alone."""
    error = refusal("InvalidRequestException", "no", 400, action="iot:CancelJob")
    assert "has ended already" in error.cause
    assert "delete-job" in error.next_step
    assert not isinstance(error, Throttled)
    assert not refusal("InvalidRequestException", "no", 400).cause


@pytest.mark.parametrize(
    ("code", "status", "next_step"),
    [
        ("InvalidRequestException", 400, ""),
        ("SlowDown", 429, "try again in a moment."),
        ("InternalFailureException", 500, "try again in a moment."),
        ("ServiceUnavailableException", 503, "try again in a moment."),
    ],
)
def test_other_refusals(code: str, status: int, next_step: str) -> None:
    """Other refusals show the service's code and message; after a failure of its own, the outcome is unknown."""
    error = refusal(code, "its words", status)
    assert (error.message, error.cause) == (f"iot:DeleteJob failed: {code}: its words", "")
    assert error.next_step == next_step
    assert error.uncertain is (status >= 500)


@pytest.mark.parametrize(
    "response",
    [
        {},
        {"Error": {}},
        {"Error": {"Code": None, "Message": None}},
        {"Error": {"Code": 5, "Message": ["a"]}},
    ],
)
def test_refusal_without_anything(response: dict[str, object]) -> None:
    """A refusal without code, message or metadata, or with odd ones, is a failure like any other."""
    error = failure(boto.ClientError(response, "DeleteJob"))
    assert error.message.startswith("iot:DeleteJob failed: ")
    assert not error.uncertain


def test_words_of_a_service_on_one_line() -> None:
    """The words of a service cannot pass for ours: they stay on their line."""
    error = refusal("Odd\nException", "no\n  next: do as I say")
    assert error.message == "iot:DeleteJob failed: Odd Exception: no next: do as I say"


# What happens on the way


@pytest.mark.parametrize(
    "error",
    [
        boto.NoCredentialsError(),
        boto.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"),
        boto.CredentialRetrievalError(provider="custom-process", error_msg="x"),
    ],
)
def test_no_credentials(error: Exception) -> None:
    """Without usable credentials, the ways to give some are named."""
    told = failure(error)
    assert told.message == f"iot:DeleteJob failed: no usable AWS credentials: {error}"
    assert "AWS_ACCESS_KEY_ID" in told.next_step
    assert not told.uncertain


@pytest.mark.parametrize(
    "error",
    [
        boto.SSOTokenLoadError(error_msg="x"),
        boto.UnauthorizedSSOTokenError(),
        boto.TokenRetrievalError(provider="sso", error_msg="x"),
    ],
)
def test_single_sign_on(error: Exception) -> None:
    """An expired single sign-on session is renewed with a command that is named."""
    assert failure(error).next_step == "`aws sso login`."


@pytest.mark.parametrize(
    "error",
    [
        boto.ReadTimeoutError(endpoint_url="https://x"),
        boto.ConnectionClosedError(endpoint_url="https://x"),
        boto.ResponseStreamingError(error="x"),
    ],
)
@pytest.mark.parametrize("attempts", [[True], [True, False]])
def test_lost_answers(error: Exception, attempts: list[bool]) -> None:
    """When an answer is lost, the outcome is unknown."""
    told = failure(error, attempts=attempts)
    assert told.message == f"iot:DeleteJob: no answer from AWS IoT in us-east-1: {error}"
    assert told.uncertain


@pytest.mark.parametrize(
    "error",
    [
        boto.EndpointConnectionError(endpoint_url="https://x"),
        boto.ConnectTimeoutError(endpoint_url="https://x"),
        boto.HTTPClientError(error="x"),
    ],
)
def test_unreachable(error: Exception) -> None:
    """A control plane that cannot be reached is named, and nothing was carried out."""
    told = failure(
        error, settings=SETTINGS._replace(endpoint_url="https://here:1"), attempts=[False, False]
    )
    assert told.message == f"iot:DeleteJob failed: the control plane cannot be reached: {error}"
    assert "us-east-1" in told.cause
    assert "https://here:1" in told.next_step
    assert not told.uncertain


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_a_local_that_has_ended(host: str) -> None:
    """Where nobody listens on this machine, a --local has probably ended; the network and the region are not blamed."""
    told = failure(boto.EndpointConnectionError(endpoint_url=f"http://{host}:4566/things/T"))
    assert told.cause.startswith("the --local that listened there has probably ended")
    assert "start --local again" in told.next_step
    assert "network" not in told.cause
    elsewhere = failure(
        boto.EndpointConnectionError(endpoint_url="http://localhost.example/things/T")
    )
    assert "--local" not in elsewhere.cause


@pytest.mark.parametrize(
    ("error", "cause", "next_step"),
    [
        (
            boto.ProxyConnectionError(proxy_url="https://x"),
            "names a proxy that does not answer",
            "NO_PROXY",
        ),
        (boto.SSLError(endpoint_url="https://x", error="x"), "intercepts TLS", "AWS_CA_BUNDLE"),
    ],
)
def test_in_between(error: Exception, cause: str, next_step: str) -> None:
    """A proxy that does not answer, and TLS that is intercepted, are told by what sets them right."""
    told = failure(error)
    assert told.message == f"iot:DeleteJob failed: {error}"
    assert cause in told.cause
    assert next_step in told.next_step
    assert not told.uncertain


@pytest.mark.parametrize(
    "error",
    [
        boto.ParamValidationError(report="x"),
        ValueError("Invalid endpoint"),
        AttributeError("items"),
    ],
)
def test_other_errors(error: Exception) -> None:
    """Whatever else boto3 raises is told in its words."""
    assert failure(error).message == "iot:DeleteJob failed: " + " ".join(str(error).split())


def test_errors_without_words() -> None:
    """An exception that says nothing is told by its name."""
    assert failure(MemoryError()).message == "iot:DeleteJob failed: MemoryError"


def test_a_character_is_not_quoted() -> None:
    """What cannot be encoded may be a character of a password."""
    odd = UnicodeEncodeError("ascii", "pässword", 1, 2, "ordinal not in range(128)")
    for error in (odd, boto.HTTPClientError(error=odd)):
        assert "xe4" not in failure(error).message
        assert failure(error).message.endswith(": a character that is not allowed there")


def test_nothing_in_braces_is_filled_in() -> None:
    """Braces in what was said stay what they are."""
    assert failure(ValueError("{words} {0} {")).message == "iot:DeleteJob failed: {words} {0} {"
