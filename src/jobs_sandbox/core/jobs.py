"""Facts about AWS IoT things and jobs: statuses, names and limits."""

import re

PENDING = ("QUEUED", "IN_PROGRESS")
TERMINAL = ("SUCCEEDED", "FAILED", "TIMED_OUT", "REJECTED", "REMOVED", "CANCELED")
STATUSES = (*PENDING, *TERMINAL)
"""Every status of a job execution (JobExecution in the AWS IoT API reference)."""

OPERATIONS = {
    "get": "GetPendingJobExecutions",
    "start-next": "StartNextPendingJobExecution",
    "describe": "DescribeJobExecution",
    "update": "UpdateJobExecution",
}
"""The requests of a device, by the short names that faults and facts have for them."""

LIST_LIMIT = 10
"""A list of so many pending executions may be incomplete.

AWS IoT lists at most 10, or 15 with scheduled ones, in JobExecutionsChanged and in
GetPendingJobExecutions (https://docs.aws.amazon.com/iot/latest/developerguide/job-limits.html).
"""

DOCUMENT_LIMIT = 32_768
"""Bytes in a job document, at most.

https://docs.aws.amazon.com/iot/latest/apireference/API_CreateJob.html
"""

_JOB_ID = re.compile("[a-zA-Z0-9_-]{1,64}")
_THING_NAME = re.compile("[a-zA-Z0-9:_-]{1,128}")


def is_job_id(text: str) -> bool:
    """Whether CreateJob takes a text as a job id."""
    return _JOB_ID.fullmatch(text) is not None


def is_thing_name(text: str) -> bool:
    """Whether CreateThing takes a text as a thing name."""
    return _THING_NAME.fullmatch(text) is not None
