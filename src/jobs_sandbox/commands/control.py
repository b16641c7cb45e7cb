"""The commands of the control plane: what a fleet operator does."""

from typing import Any

from jobs_sandbox.commands.arguments import (
    ANY_STATUS,
    CREATE_OPTIONS,
    DOCUMENT,
    FORCE,
    JOB,
    NEW_JOB,
    TIMEOUT,
)
from jobs_sandbox.commands.command import CONTROL, Call, command
from jobs_sandbox.core import blocks


@command(
    "create-job",
    CONTROL,
    NEW_JOB,
    DOCUMENT,
    CREATE_OPTIONS,
    summary="create a job for this thing",
    example='create-job Job1 {"Todo":"Reboot"}',
    events="JobExecutionsChangedEvent, and NextJobExecutionChangedEvent if nothing was pending",
    operation="CreateJob",
    permissions={"iot:CreateJob": ("job/*", "thing/<thingname>")},
    verify_hint="`describe-job-execution {0}` shows whether the job exists (TerminalStateReached: "
    "it exists, and its execution has ended)",
)
async def create_job(
    call: Call, job_id: str, document: str, fields: dict[str, Any] | None = None
) -> None:
    """Create a job with this thing as its only target."""
    await call.on_control_plane(
        lambda control: control.create_job(job_id, document, **(fields or {}))
    )


@command(
    "delete-job",
    CONTROL,
    JOB,
    summary="delete a completed or canceled job",
    details="A job is completed when all of its executions have ended.",
    example="delete-job Job1",
    events="JobExecutionsChangedEvent and NextJobExecutionChangedEvent, if an execution of the "
    "canceled job was still in progress",
    operation="DeleteJob",
    permissions={"iot:DeleteJob": ("job/*",)},
    verify_hint="`delete-job {0}` again shows it: ResourceNotFoundException means that the job is "
    "gone",
)
async def delete_job(call: Call, job_id: str) -> None:
    """Delete a job, never by force."""
    await call.on_control_plane(lambda control: control.delete_job(job_id))


@command(
    "cancel-job",
    CONTROL,
    JOB,
    FORCE,
    summary="cancel a job",
    details="Without force, executions in progress go on, and the device is not notified.",
    example="cancel-job Job1 force",
    events="JobExecutionsChangedEvent if it ends a pending execution, and "
    "NextJobExecutionChangedEvent if that was the next",
    operation="CancelJob",
    permissions={"iot:CancelJob": ("job/*",)},
    verify_hint="`get-pending-job-executions` shows whether its execution is still pending",
)
async def cancel_job(call: Call, job_id: str, force: str = "") -> None:
    """Cancel a job."""
    await call.on_control_plane(lambda control: control.cancel_job(job_id, force=bool(force)))


@command(
    "expect",
    CONTROL,
    JOB,
    ANY_STATUS,
    TIMEOUT,
    summary="wait until an execution has a status",
    details="It fails as soon as this thing's execution has ended in another status, or when the "
    "time is up.",
    example="expect Job1 SUCCEEDED 30",
    operation="DescribeJobExecution",
    permissions={"iot:DescribeJobExecution": ("job/*", "thing/<thingname>")},
    repeats=True,
)
async def expect(call: Call, job_id: str, status: str, seconds: float | None = None) -> None:
    """Ask for the execution of this thing until it has a status."""
    call.show(await call.session.expect(job_id, status, seconds))


@command(
    "diagnose-job",
    CONTROL,
    JOB,
    summary="find out why a job is stuck",
    details="It asks AWS IoT, and changes nothing. The most likely reason comes first, each with "
    "the fact that shows it and the next step. A question that is not allowed is left out.",
    example="diagnose-job Job1",
    title=blocks.DIAGNOSIS,
    operation="DescribeJob, DescribeJobExecution, ListJobExecutionsForThing, "
    "GetThingConnectivityData",
    permissions={
        "iot:DescribeJob": ("job/*",),
        "iot:DescribeJobExecution": ("job/*", "thing/<thingname>"),
        "iot:ListJobExecutionsForThing": ("thing/<thingname>",),
        "iot:GetThingConnectivityData": ("thing/<thingname>",),
    },
)
async def diagnose_job(call: Call, job_id: str) -> None:
    """Find out why a job is stuck."""
    call.show(await call.session.diagnose(job_id))
