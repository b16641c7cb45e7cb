"""JSON that is typed: job documents and request fields, checked before they are sent."""

import json
import os
import re
import stat
from codecs import BOM_UTF8
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from unicodedata import category

from wcwidth import wcswidth

from jobs_sandbox.core.errors import UsageError
from jobs_sandbox.core.jobs import DOCUMENT_LIMIT
from jobs_sandbox.core.text import nearest, open_brackets, parse_json, short

FILE = "file://"
"""The prefix of the path of a file that contains a job document, as in the AWS CLI."""

_PATH = re.compile(r"(~|\.{0,2})/\S+|\S+\.json", re.IGNORECASE)
_WRONG_QUOTES = ("“", "”", "„", "‘", "’", "'")


def job_document(value: str) -> str:
    """A job document: JSON text, or ``file://`` and the path of a file that contains it.

    Raises:
        UsageError: the file cannot be read, or the document is not JSON or longer than
            `DOCUMENT_LIMIT`.

    """
    if value.startswith(FILE):
        content = _read(value.removeprefix(FILE).rstrip())
    elif _PATH.fullmatch(value.strip()):
        raise UsageError(
            "the job document is not JSON.",
            next_step=f"{FILE}{value.strip()} reads it from that file.",
        )
    else:
        # Bytes that are not UTF-8 and were typed or pasted are surrogates here.
        content = value.encode(errors="surrogatepass")
    if len(content) > DOCUMENT_LIMIT:
        raise UsageError(
            f"the job document has more than {DOCUMENT_LIMIT:,} bytes, which AWS IoT refuses.",
            next_step="put large data elsewhere, for example in Amazon S3, and its address into "
            "the document.",
        )
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise UsageError(
            "the job document is not UTF-8 text.", next_step="write it in UTF-8."
        ) from None
    _parse("the job document is", text)
    return text


def split_document(text: str) -> tuple[str, str]:
    """A job document, and the JSON object that follows it on the line, or ``""``."""
    if text.startswith(FILE):
        path, brace, fields = text.partition(" {")
        return path, brace.strip() + fields
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        # `job_document` explains what is wrong.
        return text, ""
    fields = text[end:].lstrip()
    return (text[:end], fields) if fields.startswith("{") else (text, "")


def _read(path: str) -> bytes:
    """The content of a file, or its beginning if it is too long for a job document."""
    try:
        full_path = os.path.expanduser(path)
        # To open a pipe or a terminal could wait for ever.
        if not stat.S_ISREG(os.stat(full_path).st_mode):
            raise OSError("it is not a regular file")
        with open(full_path, "rb") as file:
            content = file.read(len(BOM_UTF8) + DOCUMENT_LIMIT + 1)
            return content.removeprefix(BOM_UTF8)
    except OSError as error:
        reason = error.strerror or str(error)
    except ValueError:
        reason = "the path contains a character that no path can contain"
    raise UsageError(
        f"the job document {short(path)} cannot be read: {reason}",
        next_step="name a file of JSON text; a relative path starts in the folder where "
        "jobs-sandbox was started.",
    )


class Field(NamedTuple):
    """An optional field of a request.

    Attributes:
        meaning: which values it takes, in one line.
        hint: what it is for, in at most 40 characters, for completion.
        accepts: whether AWS IoT documents a value as valid.

    """

    meaning: str
    hint: str
    accepts: Callable[[object], bool]


def request_fields(value: str, fields: Mapping[str, Field]) -> dict[str, Any]:
    """The fields in a JSON object of optional request fields.

    Raises:
        UsageError: it names the field that AWS IoT would refuse, or the nearest known name.

    """
    given = _parse("the optional fields are", value)
    if not isinstance(given, dict):
        raise UsageError("the optional fields are one JSON object: " + ", ".join(fields))
    for name, content in given.items():
        if name not in fields:
            known = ", ".join(fields) + nearest(name, fields)
            raise UsageError(f"{short(name)} is not a field of this request: {known}")
        if not fields[name].accepts(content):
            raise UsageError(f"{name} is {fields[name].meaning}; not {short(json.dumps(content))}")
    return given


def field_candidates(text: str, fields: Mapping[str, Field]) -> tuple[str, list[tuple[str, str]]]:
    """The field name at the end of an unfinished object, and its candidates with hints."""
    if not text:
        return "", [(f'{{"{name}": ', field.hint) for name, field in fields.items()]
    begun = re.search(r'[{,]\s*("?\w*)$', text)
    if not begun or open_brackets(text) != 1:
        return text, []
    unused = {name: field for name, field in fields.items() if f'"{name}"' not in text}
    return begun[1], [(f'"{name}": ', field.hint) for name, field in unused.items()]


def _is_whole_number(value: object) -> bool:
    return type(value) is int  # a bool is an instance of int, too


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _is_step_timeout(value: object) -> bool:
    return _is_whole_number(value) and value in range(1, 10_081)


def _is_step_timeout_or_end(value: object) -> bool:
    return _is_step_timeout(value) or (_is_whole_number(value) and value == -1)


def _are_details(value: object) -> bool:
    most_pairs = 10
    if not isinstance(value, dict) or len(value) > most_pairs:
        return False
    return all(
        re.fullmatch("[a-zA-Z0-9:_-]{1,128}", name) and _is_detail(text)
        for name, text in value.items()
    )


def _is_detail(text: object) -> bool:
    longest = 1024
    if not isinstance(text, str) or not 1 <= len(text) <= longest:
        return False
    return not any(category(character) in ("Cc", "Cf", "Cs", "Co") for character in text)


# https://docs.aws.amazon.com/iot/latest/developerguide/jobs-mqtt-api.html; the limit of ten pairs
# is in its job-limits.
_DETAILS = Field(
    "at most 10 texts by name: names of 1 to 128 letters, digits, :, _ and -, texts of 1 to 1,024 "
    "characters without control characters",
    "progress or reasons, as texts by name",
    _are_details,
)
_EXECUTION_NUMBER = Field(
    "a whole number that selects one execution of the job; without it, the latest",
    "which execution of the job",
    _is_whole_number,
)
# https://docs.aws.amazon.com/iot/latest/apireference/API_CreateJob.html; boto3 and AWS IoT check
# what is in these objects.
CREATE_FIELDS = {
    name: Field(f"a JSON object: {hint}", hint, _is_object)
    for name, hint in {
        "abortConfig": "when to cancel the job",
        "jobExecutionsRetryConfig": "how often to retry executions",
        "timeoutConfig": "minutes until TIMED_OUT",
    }.items()
}
START_FIELDS = {
    "statusDetails": _DETAILS,
    "stepTimeoutInMinutes": Field(
        "1 to 10,080 minutes until TIMED_OUT", "minutes until TIMED_OUT", _is_step_timeout
    ),
}
DESCRIBE_FIELDS = {
    "executionNumber": _EXECUTION_NUMBER,
    "includeJobDocument": Field(
        "true or false: whether the answer contains the job document (default: true)",
        "false: without the job document",
        _is_flag,
    ),
}
UPDATE_FIELDS = {
    "statusDetails": _DETAILS,
    "expectedVersion": Field(
        "a whole number: update only this version of the execution",
        "update this version only",
        _is_whole_number,
    ),
    "executionNumber": _EXECUTION_NUMBER,
    "includeJobExecutionState": Field(
        "true or false: whether the answer contains the new state",
        "true: answer with the state",
        _is_flag,
    ),
    "includeJobDocument": Field(
        "true or false: whether the answer contains the job document",
        "true: answer with the job document",
        _is_flag,
    ),
    "stepTimeoutInMinutes": Field(
        "1 to 10,080 minutes until TIMED_OUT, or -1 to end that timer",
        "minutes until TIMED_OUT; -1: no timer",
        _is_step_timeout_or_end,
    ),
}


def _parse(subject: str, text: str) -> Any:
    try:
        return parse_json(text)
    except json.JSONDecodeError as error:
        raise UsageError(
            f"{subject} not JSON: {error.msg}\n{_caret(text, error)}",
            next_step=_hint(text, error.pos),
        ) from error
    except ValueError as error:
        raise UsageError(f"{subject} not JSON that can be used: {error}.") from error


def _hint(text: str, position: int) -> str:
    """A next step for a frequent mistake, or ``""``."""
    if text.startswith("'"):
        return "leave out the quotes around it: there is no shell."
    if text.startswith(_WRONG_QUOTES, position):
        return 'use straight double quotes: "'
    if open_brackets(text) and not text[position:].strip():
        return (
            "close all brackets. A script needs the whole of it in one line; a job document can "
            f"also be in a file: {FILE}PATH"
        )
    return ""


def _caret(text: str, error: json.JSONDecodeError) -> str:
    """The wrong line, cut to the width of a terminal, and a caret below the place."""
    line = text.split("\n")[error.lineno - 1]
    place = error.colno - 1
    begin = max(0, place - 40)
    where = f"line {error.lineno}: " if "\n" in text else ""
    before = _visible(where + line[begin:place])
    return f"  {before}{_visible(line[place : begin + 60])}\n  {' ' * wcswidth(before)}^"


def _visible(text: str) -> str:
    """Text with escapes for invisible characters: one of them may be the mistake."""
    return "".join(
        character if character.isprintable() else f"\\u{ord(character):04x}" for character in text
    )
