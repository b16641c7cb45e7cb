"""What is typed as JSON: the job document and optional request fields, read and checked before anything is sent."""

import json
import os
import re
import stat
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from unicodedata import category, east_asian_width

from jobs_sandbox.core.errors import UsageError
from jobs_sandbox.core.jobs import DOCUMENT_LIMIT as LIMIT
from jobs_sandbox.core.text import nearest, open_brackets, parse_json, short

_MARK = 3  # bytes of a byte order mark, which is no part of the document
_FILE = "file://"
_PATH = re.compile(r"(~|\.{0,2})/\S+|\S+\.json", re.IGNORECASE)


def job_document(value: str) -> str:
    """The job document: JSON text, or ``file://`` and the path of a file that holds it.

    Raises:
        UsageError: it cannot be read, it is no JSON, or it is longer than `LIMIT`.

    """
    text = _read(value.removeprefix(_FILE).rstrip()) if value.startswith(_FILE) else value
    try:
        too_long = len(text) > LIMIT or len(text.encode()) > LIMIT
    except UnicodeEncodeError:
        raise UsageError(
            "the job document holds half of a surrogate pair, which is no character."
        ) from None
    if too_long:
        raise UsageError(
            f"the job document has more than {LIMIT:,} bytes, which is all that AWS IoT takes.",
            next_step="put what is large elsewhere, in Amazon S3 for one, and its address into the document.",
        )
    if _PATH.fullmatch(text.strip()):
        raise UsageError(
            "the job document is not JSON.",
            next_step=f"{_FILE}{text.strip()} reads it from that file.",
        )
    _parse("the job document is", text)
    return text


def _read(path: str) -> str:
    """The text of a file, or more of it than the limit allows."""
    try:
        content = _first_bytes(os.path.expanduser(path), LIMIT + _MARK + 1)
        return content.decode("utf-8-sig", "strict" if len(content) <= LIMIT + _MARK else "replace")
    except UnicodeDecodeError:
        reason = "it is not UTF-8 text"
    except ValueError:
        reason = "a path has no such characters"
    except OSError as error:
        reason = error.strerror or str(error)
    raise UsageError(
        f"the job document {short(path)} cannot be read: {reason}",
        next_step="name a file of JSON text; a path without / or ~ before it begins where this was started.",
    )


def _first_bytes(path: str, count: int) -> bytes:
    """The beginning of a file. A pipe that nobody writes does not keep us waiting, nor does a device without an end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("it is a folder, a pipe or a device")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(count)
    finally:
        os.close(descriptor)


class Field(NamedTuple):
    """An optional field of a request.

    Attributes:
        meaning: what it may be, one line.
        fits: whether AWS IoT documents a value as one that it takes.

    """

    meaning: str
    fits: Callable[[object], bool]


def request_fields(fields: Mapping[str, Field]) -> Callable[[str], dict[str, Any]]:
    """The check of a JSON object of optional request fields, for one request.

    Its ``UsageError`` names the field that AWS IoT would not take, or the nearest one that it knows.
    """

    def check(value: str) -> dict[str, Any]:
        given = _parse("the optional fields are", value)
        if not isinstance(given, dict):
            raise UsageError("the optional fields are one JSON object: " + ", ".join(fields))
        for name, content in given.items():
            if name not in fields:
                known = ", ".join(fields) + nearest(name, fields)
                raise UsageError(f"{short(name)} is no field of this request, which has {known}")
            if not fields[name].fits(content):
                raise UsageError(
                    f"{name} is {fields[name].meaning}; not {short(json.dumps(content))}"
                )
        return given

    return check


def field_names(text: str, fields: Mapping[str, Field]) -> tuple[str, list[tuple[str, str]]]:
    """The name at the end of an object that is being typed, and those that could stand there, with their meaning."""
    if not text:
        return "", [(f'{{"{name}": ', field.meaning) for name, field in fields.items()]
    begun = re.search(r'[{,]\s*("?\w*)$', text)
    before = text[: begun.start(1)] if begun else ""
    if not begun or open_brackets(before) != 1:
        return text, []
    left = {name: field for name, field in fields.items() if f'"{name}"' not in before}
    return begun[1], [(f'"{name}": ', field.meaning) for name, field in left.items()]


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_step_timeout(value: object) -> bool:
    return _is_whole(value) and value in range(1, 10_081)


def _is_step_timeout_or_none(value: object) -> bool:
    return _is_step_timeout(value) or (_is_whole(value) and value == -1)


def _are_details(value: object) -> bool:
    return (
        isinstance(value, dict)
        and len(value) <= 10  # noqa: PLR2004 - as its meaning says
        and all(re.fullmatch("[a-zA-Z0-9:_-]{1,128}", key) for key in value)
        and all(isinstance(text, str) and _is_detail(text) for text in value.values())
    )


def _is_detail(text: str) -> bool:
    return 1 <= len(text) <= 1024 and not any(  # noqa: PLR2004
        category(character) in ("Cc", "Cf", "Cs", "Co") for character in text
    )


# https://docs.aws.amazon.com/iot/latest/developerguide/jobs-mqtt-api.html and, for the ten pairs, its service quotas.
_DETAILS = Field(
    "at most 10 texts by name: names of 1 to 128 letters, digits, :, _ and -, texts of 1 to 1,024 characters that "
    "control nothing",
    _are_details,
)
_EXECUTION_NUMBER = Field(
    "the whole number of one execution; without it, the latest is meant", _is_whole
)
_FLAG = "true or false"
START_FIELDS = {
    "statusDetails": _DETAILS,
    "stepTimeoutInMinutes": Field("1 to 10,080 minutes till TIMED_OUT", _is_step_timeout),
}
DESCRIBE_FIELDS = {
    "executionNumber": _EXECUTION_NUMBER,
    "includeJobDocument": Field(f"{_FLAG}: show the job document (unless false)", _is_flag),
}
UPDATE_FIELDS = {
    "statusDetails": _DETAILS,
    "expectedVersion": Field(
        "a whole number: the version that is to be updated, and no other", _is_whole
    ),
    "executionNumber": _EXECUTION_NUMBER,
    "includeJobExecutionState": Field(f"{_FLAG}: answer with the state", _is_flag),
    "includeJobDocument": Field(f"{_FLAG}: answer with the job document", _is_flag),
    "stepTimeoutInMinutes": Field(
        "1 to 10,080 minutes till TIMED_OUT, or -1 to stop that timer", _is_step_timeout_or_none
    ),
}


def _parse(what_is: str, text: str) -> Any:
    try:
        return parse_json(text)
    except json.JSONDecodeError as error:
        quoted = (
            " (there are no quotes around it, as there is no shell)" if text.startswith("'") else ""
        )
        raise UsageError(
            f"{what_is} not JSON{quoted}: {error.msg}\n{_caret(text, error)}"
        ) from error
    except ValueError as error:
        raise UsageError(f"{what_is} not JSON that can be used: {error}.") from error


def _caret(text: str, error: json.JSONDecodeError) -> str:
    """The line that is wrong, cut to what a terminal shows, and a caret under the place."""
    line = text.split("\n")[error.lineno - 1]
    place = error.colno - 1
    begin = max(0, place - 40)
    where = f"line {error.lineno}: " if "\n" in text else ""
    before = _visible(where + line[begin:place])
    columns = sum(
        0
        if category(character) in ("Mn", "Me")
        else 2
        if east_asian_width(character) in "FW"
        else 1
        for character in before
    )
    return f"  {before}{_visible(line[place : begin + 60])}\n  {' ' * columns}^"


def _visible(text: str) -> str:
    """Escaped, and with it what cannot be told from a blank or from nothing: it may be the mistake."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)
