"""The command `diagnose-job`: asks AWS IoT why a job is stuck."""

import asyncio
import time
from collections.abc import Callable
from types import UnionType
from typing import Any

from jobs_sandbox.core.blocks import DIAGNOSIS, JOB_EXECUTION, Block
from jobs_sandbox.core.errors import NotFound, SandboxError
from jobs_sandbox.core.jobs import PENDING
from jobs_sandbox.core.protocols import ControlPlane, Device, Service, Show
from jobs_sandbox.core.settings import Settings
from jobs_sandbox.core.threads import in_thread
from jobs_sandbox.session.activity import without_prompts
from jobs_sandbox.session.reasons import Evidence, Fields, findings

# Of the time-out of the command: two questions follow each other.
_SHARE = 0.4

# The types of the fields in the AWS IoT API Reference, as far as the reasons need them.
_TYPES: dict[str, type | UnionType] = {
    "status": str,
    "jobId": str,
    "namespaceId": str,
    "targets": list,
    "connected": bool,
    "disconnectReason": str,
    "executionNumber": int,
    "versionNumber": int,
    "queuedAt": int | float,
    "startedAt": int | float,
    "lastUpdatedAt": int | float,
    "timestamp": int | float,
}


async def diagnose(  # noqa: PLR0917
    control: ControlPlane,
    service: Service | None,
    device: Device | None,
    settings: Settings,
    job_id: str,
    record: Show,
) -> Block:
    """Ask AWS IoT, which changes nothing, and find the reasons why a job is stuck.

    Args:
        control: the control plane.
        service: the embedded AWS IoT, if there is one.
        device: the process of the device, if there is one.
        settings: of this run; each question may take a part of its time-out.
        job_id: the job.
        record: gets the DescribeJobExecutionOutput.

    Returns:
        A block with ``findings``, see `findings`, and ``unknown``, what could not be asked.

    Raises:
        SandboxError: neither the job nor its execution could be asked for.

    """
    failures: list[SandboxError] = []
    seconds = settings.timeout * _SHARE

    async def ask(
        name: str, work: Callable[[], Any], arrived: Show | None = None, *, missing: Any = None
    ) -> Any:
        try:
            async with asyncio.timeout(seconds):
                return await in_thread(work, arrived)
        except TimeoutError:
            message = f"{name}: no answer within {seconds:g} s"
            failures.append(control.no_answer(seconds).replace(message=message, cause=""))
            return None
        except SandboxError as error:
            if isinstance(error, NotFound) and missing is not None:
                return missing
            failures.append(error)
            return None

    async def describe_job(job_id: str) -> Any:
        return await ask(
            "iot:DescribeJob", lambda: _known(control.describe_job(job_id)), missing={}
        )

    def pending() -> list[Fields]:
        found = [one for status in PENDING for one in control.list_job_executions(status)]
        return [_known(one) for one in found]

    no_execution = Block(JOB_EXECUTION, {})
    job, execution, executions, connectivity, activity = await asyncio.gather(
        describe_job(job_id),
        ask(
            "iot:DescribeJobExecution",
            lambda: control.describe_job_execution(job_id),
            record,
            missing=no_execution,
        ),
        ask("iot:ListJobExecutionsForThing", pending),
        ask("iot:GetThingConnectivityData", dict if service else control.thing_connectivity),
        ask("the local AWS IoT", service.activity if service else lambda: None),
    )
    if job is None and execution is None:
        raise failures[0]
    in_front = _before(job_id, executions or [])
    namespace = ""
    if in_front and job:
        first = await describe_job(in_front[0]["jobId"]) or {}
        if first.get("namespaceId") != job.get("namespaceId"):
            namespace = first.get("namespaceId", "")
    connectivity = _known(connectivity or {})
    evidence = Evidence(
        job_id=job_id,
        thing=settings.thing,
        now=time.time(),
        job=job,
        execution=execution and _known(execution.body),
        in_front=in_front,
        namespace=namespace,
        connectivity=connectivity if "connected" in connectivity else {},
        activity=without_prompts(activity) if activity and device else activity,
        absence=device.absence if device else "",
    )
    body = {
        "jobId": job_id,
        "thingName": settings.thing,
        "findings": findings(evidence),
        "unknown": [_in_one_line(error) for error in failures],
    }
    return Block(DIAGNOSIS, body)


def _in_one_line(error: SandboxError) -> str:
    """The operation that failed and the cause; without a known cause, all that is known."""
    if not error.cause:
        return error.message
    return f"{error.message.partition(': ')[0]}: {error.cause}"


def _known(answer: Fields) -> Fields:
    """The fields of an answer, without those of another type than AWS IoT gives them."""
    return {
        name: value for name, value in answer.items() if isinstance(value, _TYPES.get(name, object))
    }


def _before(job_id: str, pending: list[Fields]) -> list[Fields]:
    """The pending executions before that of a job; the next one to run is first."""
    ordered = sorted(
        pending, key=lambda one: (one.get("status") != "IN_PROGRESS", one.get("queuedAt", 0))
    )
    job_ids = [one["jobId"] for one in ordered]
    return ordered[: job_ids.index(job_id)] if job_id in job_ids else []
