"""What the commands take: how each argument is checked and completed. What fails here never reaches a service."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from jobs_sandbox.commands.documents import (
    DESCRIBE_FIELDS,
    START_FIELDS,
    UPDATE_FIELDS,
    Field,
    job_document,
    request_fields,
)
from jobs_sandbox.core.errors import UsageError
from jobs_sandbox.core.jobs import STATUSES, is_job_id
from jobs_sandbox.core.text import nearest, short

DEVICE_STATUSES = {
    "SUCCEEDED": "terminal: the device has done the job",
    "IN_PROGRESS": "the device is at it",
    "FAILED": "terminal: the device could not do it",
    "REJECTED": "terminal: the device would not do it",
    "CANCELED": "terminal; the service refuses it from a device",
}
_MEANINGS = DEVICE_STATUSES | {
    "QUEUED": "the device has not begun",
    "TIMED_OUT": "terminal: the device did not finish in time",
    "REMOVED": "terminal: the device or the job was taken away",
    "CANCELED": "terminal: the job was cancelled",
}
EVENTS = {
    "JobExecutionsChangedEvent": "the set of pending executions changed",
    "NextJobExecutionChangedEvent": "the next execution to run changed",
}
_SECONDS = "a number of seconds from 0 to 99999.999"


class Parameter(NamedTuple):
    """One argument of a command.

    Attributes:
        name: as the usage line shows it.
        check: the value as the handler wants it; raises `UsageError` for one that must not be sent.
        meaning: what it may be, one line for the help.
        candidates: completions, with a line of meaning each.
        rest: takes the rest of the line, byte for byte.
        required: the command cannot do without it.
        fields: it is a JSON object of these.

    """

    name: str
    check: Callable[[str], Any]
    meaning: str
    candidates: Callable[[Mapping[str, str]], Iterable[tuple[str, str]]] = lambda _: ()
    rest: bool = False
    required: bool = True
    fields: Mapping[str, Field] = {}


def _job_id(value: str) -> str:
    if not is_job_id(value):
        raise UsageError(f"{short(value)} is not a job id: 1 to 64 letters, digits, - and _.")
    return value


def _job_id_or_next(value: str) -> str:
    return value if value == "$next" else _job_id(value)


def _one_of(values: Iterable[str], what: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        for known in values:
            if value.lower() == known.lower():
                return known
        raise UsageError(
            f"{short(value)} is not {what}: one of {', '.join(values)}{nearest(value, values)}"
        )

    return check


def _seconds_or_event(value: str) -> float | str:
    for title in EVENTS:
        if value.lower() in (title.lower(), title.lower().removesuffix("event")):
            return title
    try:
        return _seconds(value)
    except UsageError:
        hint = nearest(value, EVENTS)
        raise UsageError(
            f"{short(value)} is neither {_SECONDS} nor an event: {', '.join(EVENTS)}{hint}"
        ) from None


def _seconds(value: str) -> float:
    if not re.fullmatch(r"[0-9]{1,5}(\.[0-9]{1,3})?", value):
        raise UsageError(f"{short(value)} is not {_SECONDS}.")
    return float(value)


def _force(value: str) -> str:
    if value.lower() != "force":
        raise UsageError(f"{short(value)} is not force, and nothing else may follow.")
    return "force"


def _optional_fields(fields: Mapping[str, Field]) -> Parameter:
    return Parameter(
        "[fields-as-JSON]",
        request_fields(fields),
        "a JSON object of optional request fields",
        rest=True,
        required=False,
        fields=fields,
    )


_ID = "1 to 64 letters, digits, - and _"
NEW_JOB = Parameter("<jobId>", _job_id, _ID)
JOB = Parameter("<jobId>", _job_id, _ID, lambda executions: executions.items())
JOB_OR_NEXT = Parameter(
    "<jobId>",
    _job_id_or_next,
    _ID,
    lambda executions: [*JOB.candidates(executions), ("$next", "the next execution to run")],
)
STATUS = Parameter(
    f"<{' | '.join(DEVICE_STATUSES)}>",
    _one_of(DEVICE_STATUSES, "a status to set"),
    "in upper or lower case",
    lambda _: DEVICE_STATUSES.items(),
)
ANY_STATUS = Parameter(
    "<STATUS>",
    _one_of(STATUSES, "a status"),
    "in upper or lower case",
    lambda _: ((status, _MEANINGS[status]) for status in STATUSES),
)
DOCUMENT = Parameter(
    "<jobDocument-as-JSON>",
    job_document,
    "JSON, to the end of the line or, while its brackets are open, of a later one",
    lambda _: [("file://", "read the document from a file")],
    rest=True,
)
UPDATE = _optional_fields(UPDATE_FIELDS)
START = _optional_fields(START_FIELDS)
DESCRIBE = _optional_fields(DESCRIBE_FIELDS)
FORCE = Parameter(
    "[force]",
    _force,
    "the word itself",
    lambda _: [("force", "cancel executions in progress too")],
    required=False,
)
SECONDS_OR_EVENT = Parameter(
    "<seconds | EventTitle>",
    _seconds_or_event,
    "so long, or until an event that came after the last command that causes one",
    lambda _: EVENTS.items(),
)
TIMEOUT = Parameter("[timeout]", _seconds, "seconds; without it, as --timeout says", required=False)
