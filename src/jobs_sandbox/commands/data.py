"""The commands of the data plane: what a device does."""

from collections.abc import Mapping
from typing import Any

from jobs_sandbox.commands.arguments import (
    DESCRIBE_OPTIONS,
    JOB,
    JOB_OR_NEXT,
    START_OPTIONS,
    STATUS,
    UPDATE_OPTIONS,
)
from jobs_sandbox.commands.command import DATA, Call, command
from jobs_sandbox.core import blocks


@command(
    "get-pending-job-executions",
    DATA,
    summary="list the executions that have not ended",
    example="get-pending-job-executions",
    title=blocks.GET_PENDING,
    operation="GetPendingJobExecutions",
)
async def get_pending_job_executions(call: Call) -> None:
    """List the pending executions of this thing."""
    await call.session.data.get_pending_job_executions(call.show)


@command(
    "start-next-pending-job-execution",
    DATA,
    START_OPTIONS,
    summary="set the next execution to IN_PROGRESS",
    details="If an execution is in progress already, the answer is that one; if none is pending, "
    "it has no execution.",
    example="start-next-pending-job-execution",
    title=blocks.START_NEXT,
    operation="StartNextPendingJobExecution",
    verify_hint="`get-pending-job-executions` shows whether an execution was started",
)
async def start_next_pending_job_execution(call: Call, fields: Mapping[str, Any] = {}) -> None:
    """Start the next execution of this thing."""
    await call.session.data.start_next_pending_job_execution(call.show, fields)


@command(
    "describe-job-execution",
    DATA,
    JOB_OR_NEXT,
    DESCRIBE_OPTIONS,
    summary="show a pending execution",
    details="$next is the next execution to run. An execution that has ended is rejected with "
    "TerminalStateReached.",
    example="describe-job-execution $next",
    title=blocks.DESCRIBE,
    operation="DescribeJobExecution",
)
async def describe_job_execution(call: Call, job_id: str, fields: Mapping[str, Any] = {}) -> None:
    """Show this thing's execution of a job."""
    await call.session.data.describe_job_execution(call.show, job_id, fields)


@command(
    "update-job-execution",
    DATA,
    JOB,
    STATUS,
    UPDATE_OPTIONS,
    summary="set the status of an execution",
    example='update-job-execution Job1 IN_PROGRESS {"statusDetails":{"step":"2/5"}}',
    title=blocks.UPDATE,
    events="JobExecutionsChangedEvent after a terminal status; NextJobExecutionChangedEvent if "
    "another execution becomes the next",
    operation="UpdateJobExecution",
    verify_hint="`expect {0} {1} 1` shows whether the execution has that status",
)
async def update_job_execution(
    call: Call, job_id: str, status: str, fields: Mapping[str, Any] = {}
) -> None:
    """Set the status of this thing's execution of a job."""
    await call.session.data.update_job_execution(call.show, job_id, status, fields)
