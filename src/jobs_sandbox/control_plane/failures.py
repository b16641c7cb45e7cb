"""The table of the control plane's failures, with message, likely cause and next step of each.

The error codes are those of the operations' pages in the AWS IoT API Reference and of
https://docs.aws.amazon.com/iot/latest/apireference/CommonErrors.html.
"""

import os
import re
import shlex
from collections.abc import Collection
from typing import NamedTuple

from botocore.exceptions import ClientError, HTTPClientError
from botocore.parsers import ResponseParserError

from jobs_sandbox.core.errors import NotFound, RequestFailed, Unavailable
from jobs_sandbox.core.redaction import redact, without_user
from jobs_sandbox.core.settings import Settings

# Characters of a service's own message.
_LONGEST = 600


class CodeNeeded(Exception):
    """boto3 asks for the code of a multi-factor device; the text is its question."""


class OddAnswer(Exception):
    """A successful answer that AWS IoT does not give; the text says what is wrong with it."""


class NoAnswer(Exception):
    """The control plane did not answer in time; the text is the time."""


class NoCredentialsInTime(Exception):
    """No credentials came in time; the text is the time, and the stderr of their source."""


class CredentialsFailed(Exception):
    """No credentials could be fetched.

    Its arguments are botocore's name of the provider, the user's name of it, and what it raised.
    """


class Failure(NamedTuple):
    """A kind of failure.

    ``message``, ``cause`` and ``next_step`` are templates: ``{action}`` is the permission that the
    operation needs, ``{words}`` the text of the error, and `_names` makes the others.

    Attributes:
        kinds: names of exceptions, error codes of AWS, HTTP statuses, or botocore's names of
            credential providers; ``fetching`` is any failure to fetch credentials, ``unnamed`` a
            refusal without an error code of AWS.
        pattern: a regular expression that the action with the words must contain.
        uncertain: the request may have been carried out all the same.
        error: what is raised.

    """

    kinds: str
    message: str
    cause: str
    next_step: str
    pattern: str = ""
    uncertain: bool = False
    error: type[RequestFailed] = RequestFailed


FAILED = "{action} failed: {words}"
NOT_AWS_IOT = (
    "{endpoint_setting} names something else than AWS IoT, such as an emulator without AWS IoT "
    "Jobs; or a proxy or a login page answers in its place"
)
CHECK_ENDPOINT = "correct or unset {endpoint_setting}; check that {where} is what you mean."
WRONG_SETTINGS = Failure(
    "InvalidConfigError InvalidRegionError",
    FAILED,
    "the region, or a setting in the environment or in ~/.aws/config, is incomplete or wrong",
    "check the region ({region}); `aws configure list{profile_option}` shows the other settings.",
)

# The first row that fits counts.
FAILURES = (
    # Credentials
    Failure(
        "ParamValidationError",
        FAILED,
        "an optional field of the command has other contents than its request allows",
        "https://docs.aws.amazon.com/iot/latest/apireference/API_CreateJob.html describes them.",
    ),
    Failure(
        "CodeNeeded",
        "{action} failed: the credentials need a code, for which this program does not ask "
        "({words})",
        "the profile, or its source_profile, has an mfa_serial",
        "get temporary keys: `aws configure export-credentials{profile_option} --format env` asks "
        "for the code (or `aws sts get-session-token`); export its three variables and start "
        "without --profile. Or use a profile of `aws sso login`.",
    ),
    Failure(
        "ProfileNotFound",
        "{action} failed: {profile_setting} is empty",
        "boto3 takes an empty {profile_setting} for the name of a profile",
        "unset {profile_setting}, or name a profile.",
        pattern=r"\(\)",
    ),
    Failure(
        "ProfileNotFound",
        FAILED,
        "{profile_setting} names a profile that ~/.aws/config does not have",
        "`aws configure list-profiles` shows those there are.",
    ),
    Failure(
        "ConfigParseError",
        FAILED,
        "the file is not UTF-8, has a byte order mark or a line before its first [section], or "
        "sets something twice",
        "correct the file, and save it as UTF-8 without a byte order mark.",
    ),
    Failure(
        "NoCredentialsError PartialCredentialsError",
        "{action} failed: no usable AWS credentials: {words}",
        "the control plane needs an AWS access key: none was found or it is incomplete, and no "
        "metadata service answered with one",
        "`aws configure`, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a --profile; "
        "--local needs none.",
    ),
    Failure(
        "SSOError TokenRetrievalError",
        FAILED,
        "the profile's single sign-on session has expired, or there is none",
        "`aws sso login{profile_option}`, then try again.",
    ),
    Failure(
        "LoginError login",
        FAILED,
        "the profile's session of `aws login` has expired, or there is none",
        "`aws login{profile_option}`, then try again.",
    ),
    Failure(
        "NoCredentialsInTime",
        "{source} gave no AWS credentials within {words}",
        "it is slow, or asks for a touch, a code or a passphrase: it has no terminal here",
        "`aws sts get-caller-identity{profile_option}` shows what it does; a larger --timeout "
        "gives it more time.",
    ),
    Failure(
        "custom-process",
        "{action} failed: no credentials from {source}: {words}",
        "its command failed, does not exist, or prints no JSON or keys that have expired",
        "run the command by itself: it must print keys as in "
        "docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html, and ask for "
        "nothing.",
    ),
    # Of any service
    Failure(
        "AccessDeniedException AccessDenied",
        FAILED,
        "a policy denies it, or does not let any other policy allow it: of the organization, a "
        "permissions boundary, a session, or the user itself",
        "ask who owns the policy that the message names; or choose another --profile.",
        pattern="explicit deny|because no (permissions boundary|session|service control) policy",
    ),
    Failure(
        "AccessDeniedException AccessDenied UnauthorizedException",
        FAILED,
        "the control plane credentials lack the permission {permission}",
        "allow it to their user or role: policies/control-plane-policy.json, filled in, has what "
        "jobs-sandbox needs; or choose another --profile.",
    ),
    Failure(
        "ExpiredTokenException ExpiredToken RuntimeError",
        FAILED,
        "the control plane credentials have expired",
        "renew them (`aws sso login{profile_option}`, or new keys) and start again; till then, the "
        "data plane goes on alone.",
        pattern="[Ee]xpired",
    ),
    Failure(
        "InvalidSignatureException SignatureDoesNotMatch",
        FAILED,
        "the clock of this machine is wrong",
        "`date` shows the clock; set it right.",
        pattern="Signature (expired|not yet)",
    ),
    Failure(
        "InvalidSignatureException SignatureDoesNotMatch",
        FAILED,
        "the region ({region}) is not that of {where}",
        "name the region of the endpoint.",
        pattern="scoped to a valid region",
    ),
    Failure(
        "SSLError",
        FAILED,
        "the clock of this machine is wrong, or the server's certificate was not renewed",
        "`date` shows the clock; set it right.",
        pattern="certificate (has expired|is not yet valid)",
    ),
    Failure(
        "InvalidSignatureException SignatureDoesNotMatch UnrecognizedClientException "
        "InvalidClientTokenId",
        FAILED,
        "the access key does not exist or is disabled, or the secret key is not its own",
        "`aws sts get-caller-identity{profile_option}` shows which credentials are used; "
        "`aws configure` sets them.",
    ),
    Failure(
        "SSLError",
        FAILED,
        "{ca_bundle} names a file that does not exist or holds no certificate",
        "correct {ca_bundle}, or unset it: AWS needs none.",
        pattern=r"\[Errno (2|13|21)\]|NO_CERTIFICATE",
    ),
    Failure(
        "SSLError",
        FAILED,
        "{endpoint_setting} is wrong, or something in between intercepts TLS",
        "check {where}; name a CA of your own in AWS_CA_BUNDLE.",
    ),
    Failure(
        "ProxyConnectionError",
        FAILED,
        "HTTP_PROXY or HTTPS_PROXY names a proxy that does not answer, refuses its user, or does "
        "not speak HTTP",
        "correct or unset it, or name the host that needs none in NO_PROXY.",
    ),
    Failure(
        "HTTPClientError",
        "{action} failed: a credential cannot be sent: it contains a character that HTTP headers "
        "do not allow",
        "a credential in the environment or in ~/.aws ends with a Windows line ending",
        "set it again; `aws configure list` shows where it comes from.",
        pattern="Invalid header value",
    ),
    WRONG_SETTINGS,
    Failure(
        "fetching",
        "{action} failed: no credentials from {source}: {words}",
        "{source} cannot be reached from here, or refuses",
        "`aws sts get-caller-identity{profile_option}` shows whether they work elsewhere.",
    ),
    # AWS IoT
    Failure(
        "InvalidRequestException ResourceNotFoundException IndexNotReadyException",
        FAILED,
        "fleet indexing does not index the connectivity of things in this account, or not yet",
        "`aws iot get-indexing-configuration` shows it (it needs iot:GetIndexingConfiguration).",
        pattern="^iot:GetThingConnectivityData (?!.*[Tt]hing not found)",
    ),
    Failure(
        "ResourceNotFoundException",
        FAILED,
        "another id, region or account than it was created with; or it has been deleted",
        "get-pending-job-executions shows the jobs that this thing has to do.",
        error=NotFound,
    ),
    Failure(
        "ThrottlingException",
        FAILED,
        "more requests in a second than AWS IoT takes from an account",
        "try again in a moment.",
        error=Unavailable,
    ),
    Failure(
        "ResourceAlreadyExistsException",
        FAILED,
        "a job of this id exists, or is still being deleted",
        "choose another job id; or delete that job, and try again in a moment.",
    ),
    # CancelJob has no error of its own for a job in the wrong state
    # (https://docs.aws.amazon.com/iot/latest/apireference/API_CancelJob.html).
    Failure(
        "InvalidRequestException",
        FAILED,
        "the job has ended already: it is canceled or completed",
        "get-pending-job-executions shows what is still pending; delete-job deletes a job that has "
        "ended.",
        pattern="^iot:CancelJob ",
    ),
    Failure(
        "InvalidStateTransitionException",
        FAILED,
        "the job is neither completed nor canceled: an execution of it is not terminal; or it is "
        "just completing, or being deleted already, which takes AWS IoT a while",
        "get-pending-job-executions shows what is left: finish it with update-job-execution, or "
        "end the job with cancel-job; if nothing is left, try again in a moment.",
    ),
    Failure(
        "LimitExceededException",
        FAILED,
        "a quota of AWS IoT Jobs: 10 jobs may be in deletion at a time, and so many may be active",
        "try again when some jobs are gone.",
    ),
    Failure(
        "500 502 503 504",
        FAILED,
        "",
        "try again in a moment.",
        uncertain=True,
        error=Unavailable,
    ),
    Failure("unnamed UnknownOperationException 501", FAILED, NOT_AWS_IOT, CHECK_ENDPOINT),
    Failure("ClientError", FAILED, "", ""),
    Failure(
        # botocore's parser raises all but the first.
        "OddAnswer AttributeError TypeError KeyError UnicodeDecodeError RecursionError",
        "{action}: the control plane answered, but not as AWS IoT does: {words}",
        NOT_AWS_IOT,
        CHECK_ENDPOINT,
        uncertain=True,
    ),
    # On the way
    Failure(
        # The error's own words can show parts of a password.
        "ValueError",
        "{action} failed: {where}, or a proxy on the way to it, is not a URL",
        "{endpoint_setting}, HTTP_PROXY or HTTPS_PROXY does not begin with http:// or https://, or "
        "has characters that a URL does not allow",
        "write it as http://host:port; percent-encode what is neither a letter nor a digit in user "
        "names and passwords.",
    ),
    Failure(
        "EndpointConnectionError",
        "{action} failed: the control plane cannot be reached: nothing listens at {where}",
        "the --local or the emulator that listened there has ended, and its keys with it; or "
        "{endpoint_setting} is wrong or left over",
        "start it again and join it with what `connection` shows; or correct or unset "
        "{endpoint_setting}.",
        pattern=r"http://(127\.0\.0\.1|localhost|\[::1\])[:/]",
        error=Unavailable,
    ),
    Failure(
        "ConnectionError",
        "{action} failed: the control plane cannot be reached: {words}",
        "no network, a wrong region ({region}) or {endpoint_setting}, or a proxy",
        "check that {where} is what you mean and can be reached from here.",
        error=Unavailable,
    ),
    Failure(
        "HTTPClientError",
        "{action}: no answer from {where}: {words}",
        "a network, a proxy or a service that failed, or {endpoint_setting} is not AWS IoT",
        "try again; if it stays, check {endpoint_setting}.",
        uncertain=True,
        error=Unavailable,
    ),
    Failure(
        "NoAnswer",
        "{where} did not answer within {words}",
        "a slow network, a wrong region ({region}) or {endpoint_setting}, or a proxy",
        "try again with a larger --timeout.",
        uncertain=True,
        error=Unavailable,
    ),
    WRONG_SETTINGS._replace(kinds="BotoCoreError"),
    Failure(
        "Exception",
        FAILED,
        "an error in this program or in boto3",
        "report it to the maintainers, with the command that you typed.",
        uncertain=True,
    ),
)


def explain(
    action: str, error: Exception, settings: Settings, secrets: Collection[str]
) -> RequestFailed:
    """The failure of an operation, for the user.

    Args:
        action: the permission that the operation needs, such as ``iot:CreateJob``.
        error: what was raised.
        settings: of this run.
        secrets: hidden where ``error`` quotes them.

    """
    names = _names(settings)
    kinds = set()
    if isinstance(error, CredentialsFailed):
        provider, names["source"], error = error.args
        kinds = {"fetching", provider}
    kinds |= _kinds(error)
    words = redact(_words(error), secrets)[:_LONGEST]
    denied = re.search(r"perform: (\S+)(?: on resource: (\S+))?", words)
    permission = f"{denied[1]} on {denied[2] or '*'}" if denied else action
    names |= {"action": action, "words": words, "permission": permission}
    failure = next(
        row
        for row in FAILURES
        if kinds.intersection(row.kinds.split()) and re.search(row.pattern, f"{action} {words}")
    )
    return failure.error(
        failure.message.format(**names),
        cause=failure.cause.format(**names),
        next_step=failure.next_step.format(**names),
        uncertain=failure.uncertain,
    )


def _names(settings: Settings) -> dict[str, str]:
    """Names from the settings and from the environment, which botocore reads in the same way."""
    profile, profile_setting = settings.profile, "--profile"
    if profile is None:
        profile_setting = _first_set("AWS_DEFAULT_PROFILE", "AWS_PROFILE")
        profile = os.environ.get(profile_setting)
    where, endpoint_setting = settings.control_plane, "--endpoint-url"
    if not settings.endpoint_url:
        endpoint_setting = _first_set(
            "AWS_ENDPOINT_URL_IOT", "AWS_ENDPOINT_URL", "endpoint_url in ~/.aws/config"
        )
        if url := os.environ.get(endpoint_setting):
            where = f"{without_user(url)} ({endpoint_setting})"
    ca_bundle = _first_set("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "ca_bundle in ~/.aws/config")
    return {
        "source": "",
        "region": settings.region,
        "where": where,
        "endpoint_setting": endpoint_setting,
        "profile_setting": profile_setting,
        "profile_option": f" --profile {shlex.quote(profile)}" if profile else "",
        "ca_bundle": f"{ca_bundle} ({os.environ.get(ca_bundle, '')})",
    }


def _first_set(*names: str) -> str:
    """The first of these environment variables that is set, or the last name."""
    return next((name for name in names if name in os.environ), names[-1])


def _kinds(error: Exception) -> set[str]:
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if isinstance(error, ClientError):
        code = str(error.response["Error"].get("Code"))
        status = str(error.response["ResponseMetadata"]["HTTPStatusCode"])
        kinds |= {code, status}
        # botocore puts the status in the place of a missing code.
        if code == status:
            kinds.add("unnamed")
    elif isinstance(error, HTTPClientError) and isinstance(error.kwargs.get("error"), ValueError):
        kinds.add("ValueError")
    return kinds


def _words(error: Exception) -> str:
    """The text of an exception, without the parts that may quote credentials."""
    if isinstance(error, ClientError):
        parts = error.response["Error"].get("Code"), error.response["Error"].get("Message")
        words = ": ".join(str(part) for part in parts if part)
        # For a wrong signature AWS quotes the request, with its session token.
        return words.partition("The Canonical String")[0]
    if isinstance(error, ResponseParserError):
        return "an answer that cannot be read"
    return str(error) or type(error).__name__
