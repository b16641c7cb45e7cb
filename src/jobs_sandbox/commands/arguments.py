"""The parameters of the commands: how each is checked and completed."""

import re
from collections.abc import Mapping

from jobs_sandbox.commands.command import Parameter
from jobs_sandbox.commands.documents import (
    CREATE_FIELDS,
    DESCRIBE_FIELDS,
    FILE,
    START_FIELDS,
    UPDATE_FIELDS,
    Field,
    job_document,
    request_fields,
    split_document,
)
from jobs_sandbox.core.blocks import CHANGED, NEXT_CHANGED
from jobs_sandbox.core.errors import UsageError
from jobs_sandbox.core.jobs import is_job_id
from jobs_sandbox.core.text import nearest, short

DEVICE_STATUSES = {
    "SUCCEEDED": "terminal: the device has done the job",
    "IN_PROGRESS": "the device has begun",
    "FAILED": "terminal: the device could not do it",
    "REJECTED": "terminal: the device refuses to do it",
    "CANCELED": "terminal; refused from a device",
}
STATUS_MEANINGS = DEVICE_STATUSES | {
    "QUEUED": "the device has not begun",
    "TIMED_OUT": "terminal: a timer ran out",
    "REMOVED": "terminal: the thing is no longer a target",
    "CANCELED": "terminal: the job was canceled",
}
EVENT_MEANINGS = {
    CHANGED: "the pending executions changed",
    NEXT_CHANGED: "another execution is the next",
}
_JOB_ID_MEANING = "1 to 64 letters, digits, - and _"


def _check_job_id(value: str) -> str:
    """A job id; everything else is refused by AWS IoT, or would make another topic."""
    if not is_job_id(value):
        raise UsageError(f"{short(value)} is not a job id: {_JOB_ID_MEANING}.")
    return value


def _check_job_id_or_next(value: str) -> str:
    return value if value == "$next" else _check_job_id(value)


def check_seconds(value: str) -> float:
    """A number of seconds; raises `UsageError`."""
    if not re.fullmatch(r"[0-9]{1,5}(\.[0-9]{1,3})?", value):
        raise UsageError(f"{short(value)} is not a number of seconds from 0 to 99999.999.")
    return float(value)


def one_of(
    name: str, kind: str, meanings: Mapping[str, str], *, required: bool = True
) -> Parameter:
    """A parameter that takes one of some words; ``kind`` names them in an error."""

    def check(value: str) -> str:
        for word in meanings:
            if value.lower() == word.lower():
                return word
        words = ", ".join(meanings) + nearest(value, meanings)
        raise UsageError(f"{short(value)} is not {kind}: {words}")

    return Parameter(
        name, check, "in upper or lower case", lambda _: meanings.items(), required=required
    )


def _optional_fields(fields: Mapping[str, Field]) -> Parameter:
    return Parameter(
        "[fields-as-JSON]",
        lambda value: request_fields(value, fields),
        "a JSON object of optional request fields",
        rest=True,
        required=False,
        fields=fields,
    )


NEW_JOB = Parameter("<jobId>", _check_job_id, _JOB_ID_MEANING)
JOB = NEW_JOB._replace(candidates=lambda statuses: statuses.items())
JOB_OR_NEXT = Parameter(
    "<jobId>",
    _check_job_id_or_next,
    _JOB_ID_MEANING,
    lambda statuses: [*statuses.items(), ("$next", "the next execution to run")],
)
STATUS = one_of(f"<{' | '.join(DEVICE_STATUSES)}>", "a status to set", DEVICE_STATUSES)
ANY_STATUS = one_of("<STATUS>", "a status", STATUS_MEANINGS)
FORCE = one_of(
    "[force]",
    "an option of this command",
    {"force": "also cancel executions in progress"},
    required=False,
)
DOCUMENT = Parameter(
    "<jobDocument-as-JSON>",
    job_document,
    "JSON; at the prompt it goes on in the next line while brackets are open",
    lambda _: [(FILE, "read the document from a file")],
    rest=True,
    divide=split_document,
)
CREATE_OPTIONS = _optional_fields(CREATE_FIELDS)
UPDATE_OPTIONS = _optional_fields(UPDATE_FIELDS)
START_OPTIONS = _optional_fields(START_FIELDS)
DESCRIBE_OPTIONS = _optional_fields(DESCRIBE_FIELDS)
_EVENT = one_of("<EventTitle>", "a number of seconds or an event", EVENT_MEANINGS)
SECONDS_OR_EVENT = Parameter(
    "<seconds | EventTitle>",
    lambda value: check_seconds(value) if value[0].isdigit() else _EVENT.check(value),
    "a number of seconds, or the event to wait for",
    _EVENT.candidates,
)
TIMEOUT = Parameter(
    "[timeout]", check_seconds, "seconds; without it, the --timeout of the program", required=False
)
