"""Facts about AWS IoT Jobs: statuses, names and limits."""

import re
from typing import TypeGuard

PENDING = ("QUEUED", "IN_PROGRESS")
TERMINAL = ("SUCCEEDED", "FAILED", "TIMED_OUT", "REJECTED", "REMOVED", "CANCELED")
STATUSES = (*PENDING, *TERMINAL)
"""Every status of a job execution (JobExecution in the AWS IoT API reference)."""

LIST_LIMIT = 10
"""AWS IoT lists at most 10 pending executions, or 15 with scheduled ones, so a list of 10 may be incomplete.

This holds for JobExecutionsChanged and GetPendingJobExecutions
(https://docs.aws.amazon.com/iot/latest/developerguide/job-limits.html).
"""

DOCUMENT_LIMIT = 32_768
"""Bytes in a job document, at most (https://docs.aws.amazon.com/iot/latest/apireference/API_CreateJob.html)."""

_JOB_ID = re.compile("[a-zA-Z0-9_-]{1,64}")


def is_job_id(value: object) -> TypeGuard[str]:
    """Whether a value is a job id as CreateJob takes it. Nothing else is remembered, sent or shown as one."""
    return isinstance(value, str) and _JOB_ID.fullmatch(value) is not None
