"""What boto3 raises → what a user can act on. Knows AWS IoT's errors, and what can be wrong on the way to it."""

import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from jobs_sandbox.control_plane.transport import NotAsDocumented
from jobs_sandbox.core.errors import AlreadyExists, NotFound, RequestFailed, Throttled
from jobs_sandbox.core.redaction import redact
from jobs_sandbox.core.settings import Settings


class CodeNeeded(Exception):
    """boto3 wants the code of a multi-factor device; its text is how it would have asked."""


class _Words(NamedTuple):
    """How a failure is told; ``{words}`` are the exception's own, ``{where}`` is the endpoint."""

    cause: str = ""
    next_step: str = ""
    message: str = "{action} failed: {words}"


def explain(
    action: str,
    error: Exception,
    settings: Settings,
    attempts: Sequence[bool],
    hidden: Iterable[str],
) -> RequestFailed:
    """The failure of an action, in words, none of which is one of the ``hidden``.

    Args:
        action: what failed, as a permission names it.
        error: what was raised.
        settings: the region and the endpoint are named.
        attempts: for each attempt, whether it may have been carried out.
        hidden: secrets that ``error`` may quote.

    """
    if isinstance(error, boto.ClientError):
        return _from_service(action, error, attempts, hidden)
    words = _of(error)
    uncertain = any(attempts)
    outcome = (
        "; its outcome is unknown" if uncertain and not action.startswith("iot:Describe") else ""
    )
    said = {"action": action, "words": redact(_text(error), hidden), "outcome": outcome}
    places = {"region": settings.region, "where": settings.control_plane}
    return RequestFailed(
        words.message.format(**said, **places),
        cause=words.cause.format(**places),
        next_step=words.next_step.format(**places),
        uncertain=uncertain,
    )


_NO_AWS = "a wrong --endpoint-url, or a proxy or a login page that answers in its place"
_CHECK_BOTH = "check both; without --endpoint-url, the one of AWS is used."
_CODE_NEEDED = _Words(
    "the profile, or its source_profile, has an mfa_serial",
    "get temporary keys: `aws configure export-credentials --profile NAME --format env` asks for the code (or `aws sts "
    "get-session-token`); export its three variables and start without --profile. Or use a profile of `aws sso login`.",
    "{action} failed: the credentials need a code, for which this program does not ask ({words})",
)
_NO_CREDENTIALS = _Words(
    "the control plane needs an AWS access key, and none was found or it is incomplete",
    "`aws configure`, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a --profile; --local needs none.",
    "{action} failed: no usable AWS credentials: {words}",
)
_NO_HEADER = _Words(
    "a credential in the environment or in ~/.aws ends with a line end of Windows, or holds another character that "
    "it did not have when it was issued",
    "set it again, without that character; `aws configure list` shows where it comes from.",
    "{action} failed: a credential cannot be sent: it holds a character that no HTTP header can",
)
_NO_URL = _Words(
    "--endpoint-url or a proxy in HTTP_PROXY, HTTPS_PROXY or ~/.aws/config is not a URL that boto3 accepts",
    "write them as http://host:port; what is neither letter nor digit in a user name or password, percent-encoded.",
)
_UNREACHABLE = _Words(
    "no network, a wrong region ({region}), a wrong --endpoint-url, or a proxy",
    "check that {where} is what you mean and can be reached from here.",
    "{action} failed: the control plane cannot be reached: {words}",
)
_HERE = re.compile(r"http://(127\.0\.0\.1|localhost|\[::1\])[:/]")
_ENDED = _UNREACHABLE._replace(
    cause="the --local that listened there has probably ended, and its keys with it; or a wrong --endpoint-url",
    next_step="start --local again and join it with what `connection` shows, or check that the endpoint can be reached "
    "from here.",
)
_OTHER = _Words(
    "the region, --endpoint-url or the AWS configuration is not what boto3 accepts",
    "check the region ({region}), --endpoint-url and ~/.aws/config.",
)
_RAISED: tuple[tuple[tuple[type[Exception], ...], _Words], ...] = (
    (
        (NotAsDocumented,),
        _Words(
            _NO_AWS,
            _CHECK_BOTH,
            "{action}: the control plane answered, but not as AWS IoT does: {words}{outcome}",
        ),
    ),
    ((CodeNeeded,), _CODE_NEEDED),
    (
        (boto.NoCredentialsError, boto.PartialCredentialsError, boto.CredentialRetrievalError),
        _NO_CREDENTIALS,
    ),
    (
        (boto.ProfileNotFound,),
        _Words(
            "--profile or AWS_PROFILE names a profile that ~/.aws/config does not have",
            "`aws configure list-profiles` shows those there are.",
        ),
    ),
    (
        (boto.SSOError, boto.TokenRetrievalError),
        _Words("the single sign-on session has expired", "`aws sso login`."),
    ),
    (
        (boto.ReadTimeoutError, boto.ConnectionClosedError, boto.ResponseStreamingError),
        _Words(
            "a network, a proxy or a service that failed, or an --endpoint-url that is no AWS IoT",
            "try again; if it stays, check --endpoint-url.",
            "{action}: no answer from {where}: {words}",
        ),
    ),
    (
        (boto.ProxyConnectionError,),
        _Words(
            "HTTP_PROXY, HTTPS_PROXY or ~/.aws/config names a proxy that does not answer, refuses, or is no HTTP proxy",
            "correct or unset it, or name the host that needs none in NO_PROXY.",
        ),
    ),
    (
        (boto.SSLError,),
        _Words(
            "a wrong --endpoint-url, or something in between that intercepts TLS",
            "check --endpoint-url; name a CA of your own in AWS_CA_BUNDLE.",
        ),
    ),
    ((boto.ConnectionError, boto.HTTPClientError), _UNREACHABLE),
)


def _of(error: Exception) -> _Words:
    if isinstance(error, boto.HTTPClientError) and isinstance(
        error.kwargs.get("error"), ValueError
    ):
        return _NO_HEADER if "Invalid header value" in str(error) else _NO_URL
    if isinstance(error, boto.EndpointConnectionError) and _HERE.match(
        error.kwargs["endpoint_url"]
    ):
        return _ENDED
    return next((words for kinds, words in _RAISED if isinstance(error, kinds)), _OTHER)


def _text(error: Exception) -> str:
    """What an exception says, and the reason that a proxy gave."""
    cause = error.kwargs.get("error") if isinstance(error, boto.BotoCoreError) else error
    if isinstance(
        error, ResponseParserError
    ):  # it would quote the answer, perhaps one of STS, with new credentials
        return "an answer that cannot be read"
    if isinstance(cause, UnicodeError):  # it would quote a character, perhaps of a secret
        return "a character that is not allowed there"
    reason = getattr(cause, "original_error", None)
    return (str(error) or type(error).__name__) + (
        f" ({reason})" if isinstance(reason, OSError) else ""
    )


_EXPIRED = _Words(
    "the control plane credentials have expired",
    "renew them (`aws sso login`, or new keys) and start again; till then, the data plane goes on alone.",
)
_WRONG_KEYS = _Words(
    "the access key does not exist or is disabled, or the secret key is not its own",
    "`aws sts get-caller-identity` shows which credentials are used; `aws configure` sets them.",
)
_WRONG_CLOCK = _Words("the clock of this machine is wrong", "set it right; `date` shows it.")
# CancelJob has no error of its own for a job in the wrong state
# (https://docs.aws.amazon.com/iot/latest/apireference/API_CancelJob.html).
_NOT_CANCELED = _Words(
    "the job has ended already: it is canceled or completed",
    "get-pending-job-executions shows what is still pending; delete-job deletes a job that has ended.",
)
_BY_CODE = {
    "ExpiredTokenException": _EXPIRED,
    "ExpiredToken": _EXPIRED,
    "UnrecognizedClientException": _WRONG_KEYS,
    "InvalidClientTokenId": _WRONG_KEYS,
    "InvalidSignatureException": _WRONG_KEYS,
    "SignatureDoesNotMatch": _WRONG_KEYS,
    "InvalidStateTransitionException": _Words(
        "the job is neither completed nor canceled: an execution of it is not terminal; or it is just completing, or "
        "being deleted already, which takes AWS IoT a while",
        "get-pending-job-executions shows what is left: finish it with update-job-execution, or end the job with "
        "cancel-job; if nothing is left, try again in a moment.",
    ),
    "LimitExceededException": _Words(
        "a quota of AWS IoT Jobs: 10 jobs may be in deletion at a time, and so many may be active",
        "try again when some jobs are gone.",
    ),
}


def _from_service(
    action: str, error: Any, attempts: Sequence[bool], hidden: Iterable[str]
) -> RequestFailed:
    """Explain a refusal, by the service or by what answers in its place."""
    told = error.response.get("Error", {})
    code, message = (redact(str(told.get(name) or ""), hidden) for name in ("Code", "Message"))
    said = f"{action} failed: {': '.join(filter(None, (code, message)))}"
    uncertain = any(attempts)
    if code == "ResourceAlreadyExistsException":
        next_step = "choose another job id, or delete that job first."
        return AlreadyExists(said, next_step=next_step, uncertain=uncertain)
    if code == "ResourceNotFoundException":
        cause = "another id, region or account than it was created with; or it has been deleted"
        next_step = "get-pending-job-executions shows the jobs that this thing has to do."
        # Perhaps the first attempt to delete it succeeded.
        return NotFound(said, cause=cause, next_step=next_step, uncertain=uncertain)
    if code == "ThrottlingException":
        cause = "more requests in a second than AWS IoT takes from an account"
        return Throttled(said, cause=cause, next_step="try again in a moment.", uncertain=uncertain)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    words = _refused(action, code, message, status)
    return RequestFailed(said, cause=words.cause, next_step=words.next_step, uncertain=uncertain)


def _refused(action: str, code: str, message: str, status: int) -> _Words:
    if code in ("AccessDeniedException", "AccessDenied", "UnauthorizedException"):
        return _denied(action, message)
    if "Signature expired" in message or "Signature not yet current" in message:
        return _WRONG_CLOCK
    if (action, code) == ("iot:CancelJob", "InvalidRequestException"):
        return _NOT_CANCELED
    if code in _BY_CODE:
        return _BY_CODE[code]
    if status >= HTTPStatus.TOO_MANY_REQUESTS:
        return _Words(next_step="try again in a moment.")
    if code == str(status):  # AWS names its errors
        return _Words(_NO_AWS, _CHECK_BOTH)
    return _Words()


def _denied(action: str, message: str) -> _Words:
    named = re.search(r"perform: (\S+)(?: on resource: (\S+))?", message)
    missing = f"{named[1]} on {named[2] or '*'}" if named else f"{action} on the thing or job"
    return _Words(
        f"the control plane credentials lack the permission {missing}",
        "attach policies/control-plane-policy.json, filled in, to the IAM user or role."
        if missing.startswith("iot:")
        else "allow it to the user or role whose keys these are, or choose another --profile.",
    )
