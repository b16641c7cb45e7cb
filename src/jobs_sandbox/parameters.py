"""What the commands take: how each argument is checked and completed. What fails here never reaches a service."""

import json
import os
import re
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from jobs_sandbox.errors import UsageError
from jobs_sandbox.executions import Executions, is_job_id
from jobs_sandbox.formatting import escape

STATUSES = {
    "SUCCEEDED": "terminal: the device has done the job",
    "IN_PROGRESS": "the device is at it",
    "FAILED": "terminal: the device could not do it",
    "CANCELED": "terminal; the service refuses it from a device",
}
EVENTS = {
    "JobExecutionsChangedEvent": "the set of pending executions changed",
    "NextJobExecutionChangedEvent": "the next execution to run changed",
}


class Parameter(NamedTuple):
    """One argument of a command.

    Attributes:
        name: as the usage line shows it.
        check: the value as the handler wants it; raises `UsageError` for one that must not be sent.
        candidates: completions, with a line of meaning each.
        rest: takes the rest of the line, byte for byte.
        required: the command cannot do without it.

    """

    name: str
    check: Callable[[str], str]
    candidates: Callable[[Executions], Iterable[tuple[str, str]]] = lambda _: ()
    rest: bool = False
    required: bool = True


def _job_id(value: str) -> str:
    if not is_job_id(value):
        raise UsageError(f"{short(value)} is not a job id: 1 to 64 letters, digits, - and _.")
    return value


def _job_id_or_next(value: str) -> str:
    return value if value == "$next" else _job_id(value)


def _status(value: str) -> str:
    status = value.upper()
    if status not in STATUSES:
        raise UsageError(f"{short(value)} is not a status: one of {', '.join(STATUSES)}{nearest(status, STATUSES)}")
    return status


def _document(value: str) -> str:
    """The job document: JSON text, or ``file://`` and the path of a file that holds it."""
    text = value
    if value.startswith("file://"):
        path = os.path.expanduser(value.removeprefix("file://"))
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):  # a device may have no end
                raise OSError("it is a folder, a pipe or a device")
            text = Path(path).read_bytes().decode("utf-8-sig")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UsageError(f"the job document {short(path)} cannot be read: {reason}") from error
    try:
        json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        quoted = " (there are no quotes around it, as there is no shell)" if text.startswith("'") else ""
        raise UsageError(f"the job document is not JSON{quoted}: {error.msg}\n{_caret(text, error)}") from error
    except RecursionError as error:
        raise UsageError("the job document is nested too deeply.") from error
    except ValueError as error:
        raise UsageError(f"the job document is not JSON: {error}") from error
    return text


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


def _caret(text: str, error: json.JSONDecodeError) -> str:
    """The line that is wrong, cut to what a terminal shows, and a caret under the place."""
    from unicodedata import category, east_asian_width  # only a mistake needs them

    line = text.split("\n")[error.lineno - 1]
    place = error.colno - 1
    begin = max(0, place - 40)
    where = f"line {error.lineno}: " if "\n" in text else ""
    before = escape(where + line[begin:place])
    columns = sum(
        0 if category(character) in ("Mn", "Me", "Cf") else 2 if east_asian_width(character) in "FW" else 1
        for character in before
    )
    return f"  {before}{escape(line[place : begin + 60])}\n  {' ' * columns}^"


def _seconds_or_event(value: str) -> str:
    for title in EVENTS:
        if value.lower() in (title.lower(), title.lower().removesuffix("event")):
            return title
    try:
        return _seconds(value)
    except UsageError:
        hint = nearest(value, EVENTS)
        raise UsageError(f"{short(value)} is neither seconds nor an event: {', '.join(EVENTS)}{hint}") from None


def _seconds(value: str) -> str:
    if not re.fullmatch(r"[0-9]{1,5}(\.[0-9]{1,3})?", value):
        raise UsageError(f"{short(value)} is not a number of seconds.")
    return value


JOB = Parameter("<jobId>", _job_id, lambda executions: executions.job_ids().items())
JOB_OR_NEXT = Parameter(
    "<jobId>", _job_id_or_next, lambda executions: [*JOB.candidates(executions), ("$next", "the next execution to run")]
)
NEW_JOB = Parameter("<jobId>", _job_id)
STATUS = Parameter("<SUCCEEDED | IN_PROGRESS | FAILED | CANCELED>", _status, lambda _: STATUSES.items())
DOCUMENT = Parameter(
    "<jobDocument-as-JSON>", _document, lambda _: [("file://", "read the document from a file")], rest=True
)
SECONDS_OR_EVENT = Parameter("<seconds | EventTitle>", _seconds_or_event, lambda _: EVENTS.items())
LIMIT = Parameter("[timeout]", _seconds, required=False)


def nearest(name: str, names: Iterable[str]) -> str:
    """``; did you mean …?`` for a mistyped name, or ``""``."""
    import difflib  # only a mistake needs it

    begun = [candidate for candidate in names if candidate.startswith(name)]
    near = begun or difflib.get_close_matches(name[:80], list(names), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def short(text: str) -> str:
    """A piece of input as an error quotes it."""
    text = text.strip()
    return repr(text if len(text) <= 40 else text[:37] + "…")  # noqa: PLR2004 - what a line has room for
