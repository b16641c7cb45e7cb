"""The control plane: what a fleet operator does, over HTTPS.

Operations and shapes follow the AWS IoT API Reference
(https://docs.aws.amazon.com/iot/latest/apireference/).
"""

from collections.abc import Callable
from functools import cached_property
from http import HTTPStatus
from typing import Any

import boto3
import botocore.session
from botocore import xform_name
from botocore.config import Config

from jobs_sandbox.control_plane.credentials import Credentials
from jobs_sandbox.control_plane.failures import NoAnswer, OddAnswer, explain
from jobs_sandbox.core import blocks
from jobs_sandbox.core.blocks import Block
from jobs_sandbox.core.errors import NotFound, RequestFailed
from jobs_sandbox.core.settings import Settings


class ControlPlane:
    """The AWS IoT control plane, for one thing. It may be used from several threads.

    Each operation blocks until there is an answer, is tried once, and may raise `RequestFailed`.
    The caller bounds the wait; `no_answer` is the error when the time is up.

    Args:
        settings: of this run.
        notice: called, on any thread, with a message for the user while credentials are fetched.

    """

    def __init__(self, settings: Settings, notice: Callable[[str], None]) -> None:
        self._settings = settings
        self._session = _new_session(settings)
        self._credentials = Credentials(self._session, notice)
        self._thing_arn = ""

    def ensure_thing(self) -> bool:
        """Make sure that the thing exists (DescribeThing, CreateThing); True if it was created."""
        name = self._settings.thing
        created = False
        try:
            thing = self._call("DescribeThing", "thingArn", thingName=name)
        except NotFound:
            thing = self._call("CreateThing", "thingArn", thingName=name)
            created = True
        self._thing_arn = thing["thingArn"]
        return created

    def create_job(self, job_id: str, document: str, **fields: Any) -> Block:
        """Create a job that targets the thing (CreateJob, ``SNAPSHOT``).

        Args:
            job_id: ``[a-zA-Z0-9_-]{1,64}``.
            document: the job document, JSON text, sent as it is.
            fields: optional ones of the request, with AWS's names.

        """
        answer = self._call(
            "CreateJob",
            "jobArn",
            jobId=job_id,
            targets=[self._thing_arn],
            document=document,
            targetSelection="SNAPSHOT",
            **fields,
        )
        return _job_block(blocks.CREATE_JOB, job_id, answer)

    def cancel_job(self, job_id: str, *, force: bool) -> Block:
        """Cancel a job (CancelJob): its queued executions and, if forced, those in progress."""
        answer = self._call("CancelJob", "jobArn", jobId=job_id, force=force)
        return _job_block(blocks.CANCEL_JOB, job_id, answer)

    def delete_job(self, job_id: str) -> Block:
        """Delete a job (DeleteJob, never forced: it must be completed or canceled)."""
        self._call("DeleteJob", "ResponseMetadata", jobId=job_id)
        return Block(blocks.DELETE_JOB, {"jobId": job_id})

    def describe_job_execution(self, job_id: str) -> Block:
        """Describe this thing's execution of a job (DescribeJobExecution).

        Returns:
            The ``execution`` of the answer: ``status``, ``statusDetails`` with its ``detailsMap``,
            times in epoch seconds.

        Raises:
            NotFound: there is no such job, or not yet an execution of it for this thing.

        """
        names = {"jobId": job_id, "thingName": self._settings.thing}
        answer = self._call("DescribeJobExecution", "execution.status", **names)
        return Block(blocks.JOB_EXECUTION, answer["execution"])

    def describe_job(self, job_id: str) -> dict[str, Any]:
        """Describe a job (DescribeJob): the ``job`` of the answer.

        Raises:
            NotFound: there is no such job.

        """
        job: dict[str, Any] = self._call("DescribeJob", "job.status", jobId=job_id)["job"]
        return job

    def list_job_executions(self, status: str) -> list[dict[str, Any]]:
        """List this thing's job executions of a status (ListJobExecutionsForThing), at most 250.

        Returns:
            For each, its ``jobId`` and the fields of its ``jobExecutionSummary``.

        """
        names = {"thingName": self._settings.thing, "status": status, "maxResults": 250}
        answer = self._call("ListJobExecutionsForThing", "executionSummaries", **names)
        return [
            {"jobId": summary["jobId"]} | summary["jobExecutionSummary"]
            for summary in answer["executionSummaries"]
        ]

    def thing_connectivity(self) -> dict[str, Any]:
        """Whether the thing is connected (GetThingConnectivityData); needs fleet indexing.

        Returns:
            ``connected``, and if it ever was, ``timestamp`` (seconds since 1970) and
            ``disconnectReason``. AWS IoT knows the client id alone that is the thing's name.

        """
        thing = self._settings.thing
        return self._call("GetThingConnectivityData", "connected", thingName=thing)

    def no_answer(self, seconds: float) -> RequestFailed:
        """The error of an operation whose answer has not come after so many seconds.

        It says whether credentials were being fetched, and ends the process that fetches them.
        """
        time = f"{seconds:g} s"
        error = self._credentials.not_in_time(time) or NoAnswer(time)
        return explain("", error, self._settings, self._credentials.secrets)

    def close(self) -> None:
        """End the process that fetches credentials, if one runs."""
        self._credentials.stop()

    def _call(self, operation: str, needed: str, **parameters: object) -> dict[str, Any]:
        """Do an operation.

        Args:
            operation: its name in the API Reference.
            needed: the member without which its answer is not a success; a dot goes a level down.
            parameters: of the request.

        Returns:
            The answer, with the service's names and values.

        """
        try:
            self._credentials.fetch()
            answer: dict[str, Any] = getattr(self._client, xform_name(operation))(**parameters)
            found: Any = answer
            for name in needed.split("."):
                found = (found or {}).get(name)
            if found is None:
                raise OddAnswer(f"it has no {needed}")
        # boto3's parsers and libraries raise errors of many types.
        except Exception as error:
            secrets = self._credentials.secrets
            raise explain(f"iot:{operation}", error, self._settings, secrets) from error
        return answer

    @cached_property
    def _client(self) -> Any:
        """The boto3 client. Making it takes a while, and reads ~/.aws, which may be wrong."""
        session = boto3.Session(botocore_session=self._session)
        client = session.client("iot", endpoint_url=self._settings.endpoint_url)
        client.meta.events.register("before-parse.iot.DeleteJob", _refuse_body)
        return client


def _new_session(settings: Settings) -> Any:
    """A botocore session; with ``--local`` it reads no files, no profiles and no other keys."""
    session = botocore.session.Session(profile=settings.profile)
    if local := settings.environment:
        for variable in ("profile", "config_file", "credentials_file"):
            session.session_var_map[variable] = (None, None, None, None)
        session.set_credentials(local["AWS_ACCESS_KEY_ID"], local["AWS_SECRET_ACCESS_KEY"])
    session.set_config_variable("region", settings.region)
    config = Config(
        # Shorter than the caller's, so that the error says that the endpoint cannot be reached.
        connect_timeout=settings.timeout * 0.8,
        # Longer than the caller's, which is the only timer for an answer.
        read_timeout=settings.timeout + 5,
        retries={"mode": "standard", "total_max_attempts": 1},
        proxies={} if settings.environment else None,
    )
    session.set_default_client_config(config)
    # The program shows times as the service sends them; boto3 would make datetimes of them.
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_as_sent)
    return session


def _as_sent(value: object) -> object:
    return value


def _refuse_body(response_dict: dict[str, Any], **_: object) -> None:
    """Refuse an answer to DeleteJob that has a body; an emulator may send an empty object."""
    body = response_dict["body"]
    if response_dict["status_code"] == HTTPStatus.OK and body not in (b"", b"{}"):
        raise OddAnswer(f"it has a body: {body!r}")


def _job_block(title: str, job_id: str, answer: dict[str, Any]) -> Block:
    description, arn = answer.get("description"), answer["jobArn"]
    return Block(title, {"description": description, "jobArn": arn, "jobId": job_id})
