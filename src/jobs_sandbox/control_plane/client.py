"""The control plane: what a fleet operator does, over HTTPS.

Shapes and errors follow the AWS IoT API Reference (https://docs.aws.amazon.com/iot/latest/apireference/).
"""

import functools
import os
from contextlib import suppress
from typing import Any

import boto3
import botocore.session
from botocore.config import Config

from jobs_sandbox.control_plane import failures
from jobs_sandbox.control_plane.transport import EXCHANGE, Exchange, NotAsDocumented, send
from jobs_sandbox.core.blocks import Block
from jobs_sandbox.core.errors import NotFound, RequestFailed
from jobs_sandbox.core.redaction import secrets, url_secrets
from jobs_sandbox.core.settings import Settings


class ControlPlane:
    """The AWS IoT control plane, for one thing; may be called from several threads at a time.

    Every method blocks until there is an answer, and raises `RequestFailed`, whose ``uncertain`` tells whether the
    request may have been carried out all the same. An answer that comes a byte at a time can take long: who cannot
    wait must not.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._thing_arn = ""
        try:
            self._client = _watched_client(settings)
        except (
            Exception
        ) as error:  # whatever boto3 makes of a region, a URL, or the files in ~/.aws
            raise self._failure("the control plane client", error, Exchange()) from error

    def ensure_thing(self) -> bool:
        """Make sure that the thing exists (DescribeThing, CreateThing); True if it had to be created."""
        name, created = self._settings.thing, False
        try:
            thing = self._call("describe_thing", "thingArn", thingName=name)
        except NotFound:
            thing, created = self._call("create_thing", "thingArn", thingName=name), True
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
            "jobArn",
            jobId=job_id,
            targets=[self._thing_arn],
            document=document,
            targetSelection="SNAPSHOT",
        )
        return _job_block("CreateJobOutput", job_id, created)

    def cancel_job(self, job_id: str, *, force: bool) -> Block:
        """Cancel a job (CancelJob): its queued executions, and, if forced, those in progress."""
        return _job_block(
            "CancelJobOutput", job_id, self._call("cancel_job", "jobArn", jobId=job_id, force=force)
        )

    def delete_job(self, job_id: str) -> Block:
        """Delete a job (DeleteJob, never forced: it must be completed or canceled)."""
        self._call("delete_job", jobId=job_id)
        return Block("DeleteJobOutput", {"jobId": job_id})

    def describe_job_execution(self, job_id: str) -> Block:
        """Show this thing's execution of a job (DescribeJobExecution).

        Returns:
            The ``execution`` of the answer, as the service sent it: ``status``, ``statusDetails`` with its
            ``detailsMap``, times in epoch seconds.

        Raises:
            NotFound: there is no such job, or not yet an execution of it for this thing.

        """
        answer = self._call(
            "describe_job_execution", "execution", jobId=job_id, thingName=self._settings.thing
        )
        return Block("DescribeJobExecutionOutput", answer["execution"])

    def _call(
        self, operation: str, needed: str | None = None, **parameters: object
    ) -> dict[str, Any]:
        """Call an operation of boto3's; the JSON of its answer, which has the member that it ``needed``."""
        action = "iot:" + "".join(word.title() for word in operation.split("_"))
        exchange = Exchange()
        EXCHANGE.set(exchange)
        try:
            getattr(self._client, operation)(**parameters)
            _check(exchange, needed)
        except (
            Exception
        ) as error:  # besides boto3's own errors, whatever its parsers and libraries stumble over
            raise self._failure(action, error, exchange) from error
        return exchange.answer

    def _failure(self, action: str, error: Exception, exchange: Exchange) -> RequestFailed:
        hidden = exchange.credentials | _configured_secrets(self._settings)
        return failures.explain(action, error, self._settings, exchange.attempts, hidden)


def _job_block(title: str, job_id: str, answer: dict[str, Any]) -> Block:
    return Block(
        title,
        {"description": answer.get("description"), "jobArn": answer["jobArn"], "jobId": job_id},
    )


def _check(exchange: Exchange, needed: str | None) -> None:
    """Raise `NotAsDocumented` if an answer lacks what AWS IoT never leaves out."""
    found = (
        exchange.answer.get(needed) if needed else exchange.request_id
    )  # DeleteJob's answer is empty
    if needed == "execution":
        found = found.get("status") if isinstance(found, dict) else None
    if not (isinstance(found, str) and found):
        raise NotAsDocumented(f"without {needed or 'a request id'}")


def _watched_client(settings: Settings) -> Any:
    client = new_client(
        "iot",
        region=settings.region,
        endpoint_url=settings.endpoint_url,
        profile=settings.profile,
        timeout=settings.timeout,
    )
    # There is no other way to keep an answer within bounds than to read it in botocore's place.
    client.meta.events.register(
        "before-send.iot",
        functools.partial(send, client._endpoint.http_session),  # noqa: SLF001
    )
    return client


def new_client(
    service: str,
    *,
    region: str,
    endpoint_url: str | None = None,
    profile: str | None = None,
    keys: tuple[str, str] | tuple[None, None] = (None, None),
    timeout: float = 5,
) -> Any:
    """A boto3 client that gives up in time: two attempts, none silent for longer than ``timeout`` seconds."""
    return _session(profile, region).client(
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


def load(region: str) -> None:
    """Read what a client is made from, which takes most of the time that making it takes.

    The environment must be that of the clients to come.
    """
    new_client("iot", region=region, keys=("none", "none"))


@functools.cache
def _session(profile: str | None, region: str) -> Any:
    """One session for all clients of a run: it loads each service model once."""
    inner = botocore.session.Session()
    session = boto3.Session(profile_name=profile, region_name=region, botocore_session=inner)
    # botocore would ask for a code with getpass, on whatever thread, while the prompt or a time limit goes on.
    inner.get_component("credential_provider").get_provider("assume-role")._prompter = _refuse  # noqa: SLF001
    return session


def _refuse(prompt: str) -> str:
    raise failures.CodeNeeded(prompt)


def _configured_secrets(settings: Settings) -> set[str]:
    found = {*secrets(os.environ), *url_secrets(settings.endpoint_url or "")}
    with suppress(Exception):  # files in ~/.aws that nobody can read: no secret comes from there
        found.update(secrets(botocore.session.Session().full_config))
    return found
