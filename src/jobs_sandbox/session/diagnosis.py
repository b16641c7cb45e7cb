"""The command `diagnose-job`: asks AWS IoT why a job is stuck."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from jobs_sandbox.core.blocks import DIAGNOSIS, JOB_EXECUTION, Block
from jobs_sandbox.core.errors import NotFound, SandboxError
from jobs_sandbox.core.jobs import PENDING
from jobs_sandbox.core.protocols import ControlPlane, Service, Show
from jobs_sandbox.core.threads import in_thread
from jobs_sandbox.session.reasons import Evidence, Fields, findings


async def diagnose(
    control: ControlPlane, service: Service | None, thing: str, job_id: str, record: Show
) -> Block:
    """Ask AWS IoT, which changes nothing, and find the reasons why a job is stuck.

    Args:
        control: the control plane.
        service: the embedded AWS IoT, if there is one.
        thing: the name of the thing.
        job_id: the job.
        record: gets the DescribeJobExecutionOutput.

    Returns:
        A block with ``findings``, see `findings`, and ``unknown``, what could not be asked.

    Raises:
        SandboxError: neither the job nor its execution could be asked for.

    """
    failures: list[SandboxError] = []

    async def ask(
        work: Callable[[], Any], arrived: Show | None = None, *, missing: Any = None
    ) -> Any:
        try:
            return await in_thread(work, arrived)
        except SandboxError as error:
            if isinstance(error, NotFound) and missing is not None:
                return missing
            failures.append(error)
            return None

    no_execution = Block(JOB_EXECUTION, {})
    job, execution, pending, connectivity, activity = await asyncio.gather(
        ask(lambda: control.describe_job(job_id), missing={}),
        ask(lambda: control.describe_job_execution(job_id), record, missing=no_execution),
        ask(lambda: [one for status in PENDING for one in control.list_job_executions(status)]),
        ask(dict if service else control.thing_connectivity),
        ask(service.activity if service else lambda: None),
    )
    if job is None and execution is None:
        raise failures[0]
    in_front = _before(job_id, pending or [])
    namespace = ""
    if in_front and job:
        first = await ask(lambda: control.describe_job(in_front[0]["jobId"]), missing={}) or {}
        if first.get("namespaceId") != job.get("namespaceId"):
            namespace = first.get("namespaceId", "")
    evidence = Evidence(
        job_id=job_id,
        thing=thing,
        now=time.time(),
        job=job,
        execution=execution and execution.body,
        in_front=in_front,
        namespace=namespace,
        connectivity=connectivity or {},
        activity=activity,
    )
    body = {
        "jobId": job_id,
        "thingName": thing,
        "findings": findings(evidence),
        "unknown": [_in_one_line(error) for error in failures],
    }
    return Block(DIAGNOSIS, body)


def _in_one_line(error: SandboxError) -> str:
    """The operation that failed and the cause; without a known cause, all that is known."""
    if not error.cause:
        return error.message
    return f"{error.message.partition(': ')[0]}: {error.cause}"


def _before(job_id: str, pending: list[Fields]) -> list[Fields]:
    """The pending executions before that of a job; the next one to run is first."""
    ordered = sorted(pending, key=lambda one: (one["status"] != "IN_PROGRESS", one["queuedAt"]))
    job_ids = [one["jobId"] for one in ordered]
    return ordered[: job_ids.index(job_id)] if job_id in job_ids else []
