"""The control plane: what a fleet operator does, over HTTPS. The only importer of boto3.

Shapes and errors follow the AWS IoT API Reference (https://docs.aws.amazon.com/iot/latest/apireference/).
"""

import functools
import re
import threading
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, TypeVar

import boto3
from botocore import exceptions as boto
from botocore.config import Config

from jobs_sandbox.blocks import Block
from jobs_sandbox.errors import AlreadyExists, RequestFailed
from jobs_sandbox.settings import Settings

T = TypeVar("T")


class ControlPlane:
    """The AWS IoT control plane, for one thing.

    Every method raises `RequestFailed`, whose ``uncertain`` tells whether the request may have been carried out.
    """

    def __init__(self, settings: Settings, client: Any = None) -> None:
        self._settings = settings
        self._thing_arn = ""
        self._attempts = threading.local()  # of the request that a thread is at: may each have been carried out?
        self._client = client or _explained("the control plane client", settings, self._new_client)

    def _new_client(self) -> Any:
        settings = self._settings
        client = new_client(
            "iot",
            region=settings.region,
            endpoint_url=settings.endpoint_url,
            profile=settings.profile,
            timeout=settings.timeout,
        )
        client.meta.events.register("needs-retry.iot", self._on_attempt)
        return client

    def ensure_thing(self) -> bool:
        """Make sure that the thing exists (DescribeThing, CreateThing); True if it had to be created."""
        name, created = self._settings.thing, False
        try:
            thing = self._call("describe_thing", thingName=name)
        except _NotFound:
            thing, created = self._call("create_thing", thingName=name), True
        if "thingArn" not in thing:
            raise RequestFailed(
                "the control plane answered, but not as AWS IoT does",
                cause="a wrong --endpoint-url, or a proxy that answers in its place",
                next_step="check both; without --endpoint-url, the one of AWS is used.",
            )
        self._thing_arn = thing["thingArn"]
        return created

    def create_job(self, job_id: str, document: str) -> Block:
        """Create a job that targets the thing (CreateJob, ``SNAPSHOT``).

        Args:
            job_id: ``[a-zA-Z0-9_-]{1,64}``.
            document: the job document, JSON text, sent as it is.

        Raises:
            AlreadyExists: a job of that id exists; ``retried`` tells whether this very request may have made it.

        """
        created = self._call(
            "create_job",
            jobId=job_id,
            targets=[self._thing_arn],
            document=document,
            targetSelection="SNAPSHOT",
        )
        return Block(
            "CreateJobOutput",
            {"description": created.get("description"), "jobArn": created.get("jobArn"), "jobId": job_id},
        )

    def delete_job(self, job_id: str) -> Block:
        """Delete a job (DeleteJob, never forced: its executions must all be terminal)."""
        self._call("delete_job", jobId=job_id)
        return Block("DeleteJobOutput", {"jobId": job_id})

    def _call(self, operation: str, **parameters: object) -> Any:
        action = "iot:" + "".join(word.title() for word in operation.split("_"))
        self._attempts.uncertain = []
        try:
            return _explained(action, self._settings, lambda: getattr(self._client, operation)(**parameters))
        except RequestFailed as error:
            # Whatever the last attempt met, one before it may have been carried out.
            error.uncertain |= any(self._attempts.uncertain[:-1]) and not isinstance(error, AlreadyExists)
            raise

    def _on_attempt(self, response: Any = None, caught_exception: Any = None, **_: object) -> None:
        """Boto3 tells how an attempt ended, before it decides whether to make another one."""
        if caught_exception is not None:
            uncertain = not isinstance(caught_exception, boto.ConnectionError)
        else:
            uncertain = response[0].status_code >= HTTPStatus.INTERNAL_SERVER_ERROR
        self._attempts.uncertain.append(uncertain)


class _NotFound(RequestFailed):
    """The service's ResourceNotFoundException."""


@functools.cache
def _session(profile: str | None) -> Any:
    """One session for all clients of a run: it loads each service model once."""
    return boto3.Session(profile_name=profile)


def new_client(
    service: str,
    *,
    region: str,
    endpoint_url: str | None = None,
    profile: str | None = None,
    keys: tuple[str, str] | tuple[None, None] = (None, None),
    timeout: float = 5,
) -> Any:
    """A boto3 client that gives up in time: two attempts, none longer than ``timeout`` seconds."""
    return _session(profile).client(
        service,
        region_name=region,
        endpoint_url=endpoint_url,
        aws_access_key_id=keys[0],
        aws_secret_access_key=keys[1],
        config=Config(
            connect_timeout=min(2, timeout),
            read_timeout=timeout,
            retries={"mode": "standard", "total_max_attempts": 2},
        ),
    )


def _explained(action: str, settings: Settings, call: Callable[[], T]) -> T:
    """Run ``call``, and turn what boto3 raises into what a user can act on."""
    try:
        return call()
    except boto.ClientError as error:
        raise _from_service(action, error) from error
    except Exception as error:  # besides its own errors: ValueError for a bad URL, and what its parsers stumble over
        raise _from_boto(action, settings, error) from error


_WRONG_KEYS = (
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
)
_CHECK_CREDENTIALS = "`aws sts get-caller-identity` shows which credentials are used; `aws configure` sets them."


def _from_service(action: str, error: Any) -> RequestFailed:
    code = error.response.get("Error", {}).get("Code", "")
    message = error.response.get("Error", {}).get("Message", "")
    what = f"{action} failed: {code}: {message}"
    metadata = error.response.get("ResponseMetadata", {})
    retried = metadata.get("RetryAttempts", 0) > 0
    if code == "ResourceNotFoundException":
        return _NotFound(what, uncertain=retried)  # perhaps the first attempt to delete it succeeded
    if code == "ResourceAlreadyExistsException":
        exists = AlreadyExists(what, next_step="choose another job id, or delete that job first.")
        exists.retried = retried
        exists.job_arn = error.response.get("resourceArn", "")
        return exists
    if code in ("AccessDeniedException", "AccessDenied", "UnauthorizedException"):
        named = re.search(r"perform: (\S+)(?: on resource: (\S+))?", message)
        missing = f"{named[1]} on {named[2] or '*'}" if named else f"{action} on the thing or job"
        return RequestFailed(
            what,
            cause=f"the control plane credentials lack the permission {missing}",
            next_step="attach policies/control-plane-policy.json, filled in, to the IAM user or role.",
        )
    if code.startswith("ExpiredToken"):
        return RequestFailed(
            what,
            cause="the control plane credentials have expired",
            next_step="renew them (`aws sso login`, or new keys) and start again; "
            "till then, the data plane goes on alone.",
        )
    if "Signature expired" in message or "Signature not yet current" in message:
        return RequestFailed(
            what, cause="the clock of this machine is wrong", next_step="set it right; `date` shows it."
        )
    if code in _WRONG_KEYS:
        cause = "the access key does not exist or is disabled, or the secret key is not its own"
        return RequestFailed(what, cause=cause, next_step=_CHECK_CREDENTIALS)
    if code == "InvalidStateTransitionException":
        todo = "get-pending-job-executions shows what is left; finish it with update-job-execution first."
        return RequestFailed(what, cause="not all of its job executions are terminal", next_step=todo)
    status = metadata.get("HTTPStatusCode", 0)
    todo = "try again in a moment." if status >= HTTPStatus.TOO_MANY_REQUESTS else ""
    return RequestFailed(what, next_step=todo, uncertain=status >= HTTPStatus.INTERNAL_SERVER_ERROR)


def _from_boto(action: str, settings: Settings, error: Exception) -> RequestFailed:
    where = settings.endpoint_url or f"AWS IoT in {settings.region}"
    match error:
        case boto.NoCredentialsError() | boto.PartialCredentialsError() | boto.CredentialRetrievalError():
            return RequestFailed(
                f"{action} failed: no usable AWS credentials: {error}",
                cause="the control plane needs an AWS access key, and none was found or it is incomplete",
                next_step="`aws configure`, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a --profile; "
                "--local needs none.",
            )
        case boto.ProfileNotFound():
            return RequestFailed(
                f"{action} failed: {error}",
                cause="--profile or AWS_PROFILE names a profile that ~/.aws/config does not have",
                next_step="`aws configure list-profiles` shows those there are.",
            )
        case boto.SSOError() | boto.TokenRetrievalError():
            cause = "the single sign-on session has expired"
            return RequestFailed(f"{action} failed: {error}", cause=cause, next_step="`aws sso login`.")
        case boto.ReadTimeoutError() | boto.ConnectionClosedError() | boto.ResponseStreamingError():
            return RequestFailed(
                f"{action}: no answer from {where}: {error}",
                cause="a network, a proxy or a service that failed, or an --endpoint-url that is no AWS IoT",
                next_step="try again; if it stays, check --endpoint-url.",
                uncertain=True,
            )
        case boto.ProxyConnectionError():
            return RequestFailed(
                f"{action} failed: {error}",
                cause="HTTP_PROXY, HTTPS_PROXY or ~/.aws/config names a proxy that does not answer",
                next_step="correct or unset it, or name the host that needs none in NO_PROXY.",
            )
        case boto.SSLError():
            return RequestFailed(
                f"{action} failed: {error}",
                cause="a wrong --endpoint-url, or something in between that intercepts TLS",
                next_step="check --endpoint-url; name a CA of your own in AWS_CA_BUNDLE.",
            )
        case boto.ConnectionError() | boto.HTTPClientError():
            return RequestFailed(
                f"{action} failed: the control plane cannot be reached: {error}",
                cause=f"no network, a wrong region ({settings.region}), a wrong --endpoint-url, or a proxy",
                next_step=f"check that {where} is what you mean and can be reached from here.",
            )
    return RequestFailed(
        f"{action} failed: {error}",
        cause="the region, --endpoint-url or the AWS configuration is not what boto3 accepts",
        next_step=f"check the region ({settings.region}), --endpoint-url and ~/.aws/config.",
    )
