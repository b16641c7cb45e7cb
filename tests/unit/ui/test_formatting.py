"""Blocks, events and errors become exactly this text."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs_sandbox.core.blocks import Block
from jobs_sandbox.core.errors import SandboxError, UsageError
from jobs_sandbox.core.text import escape, nearest, short
from jobs_sandbox.ui.formatting import (
    ESCAPE_UNENCODABLE,
    block_json,
    block_text,
    error_json,
    error_text,
    header,
    json_line,
)

UNSAFE = {
    "C0": "\x00\x07\x08\t\n\r\x1b\x1f",
    "DEL": "\x7f",
    "C1": "\x80\x85\x9b\x9f",
    "bidirectional": "\u061c\u200e\u200f\u202a\u202e\u2066\u2069",
    "separators": "\u2028\u2029",
    "lone surrogates": "\udfff\udc00\udbff\ud800",  # in an order that makes no pair
}
unsafe = pytest.mark.parametrize("text", UNSAFE.values(), ids=UNSAFE.keys())
anything = st.text(st.characters(codec=None)) | st.text("".join(UNSAFE.values()))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | anything,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(anything, inner, max_size=3),
    max_leaves=8,
)


def harmless(line: str) -> bool:
    """Whether a line drives no terminal and can be sent to one."""
    return not set(line) & set("".join(UNSAFE.values())) and line.encode() is not None


def nested(levels: int) -> object:
    value: object = []
    for _ in range(levels - 1):
        value = [value]
    return value


def test_block_of_the_spec() -> None:
    """A block is a header and JSON as in the Swift sample: ordered keys, two-space indent, ``"key" : value``."""
    event = {
        "timestamp": 1748981622,
        "execution": {
            "versionNumber": 1,
            "jobId": "Job1",
            "executionNumber": 1,
            "jobDocument": {"Todo": "Reboot"},
            "startedAt": None,
        },
    }
    assert block_text(Block("NextJobExecutionChangedEvent", event)) == (
        "─── NextJobExecutionChangedEvent ───────────────────────────────────────\n"
        "{\n"
        '  "execution" : {\n'
        '    "executionNumber" : 1,\n'
        '    "jobDocument" : {\n'
        '      "Todo" : "Reboot"\n'
        "    },\n"
        '    "jobId" : "Job1",\n'
        '    "startedAt" : null,\n'
        '    "versionNumber" : 1\n'
        "  },\n"
        '  "timestamp" : 1748981622\n'
        "}\n"
        "\n"
    )


def test_empty_containers() -> None:
    """Empty containers are ``[]`` and ``{}``."""
    assert '{\n  "a" : [],\n  "b" : {}\n}' in block_text(Block("T", {"b": {}, "a": []}))


def test_empty_body() -> None:
    """A body without fields is ``{}``, not missing."""
    assert block_text(Block("T", {})).splitlines()[1:] == ["{}", ""]


@pytest.mark.parametrize("title", ["CreateJobOutput", "CancelJobOutput"])
def test_create_job_output(title: str) -> None:
    """CreateJobOutput is the Swift sample's three lines, an absent description ``<nil>``; CancelJobOutput is alike."""
    body = {"jobId": "Job1", "jobArn": "arn:aws:iot:us-east-1:1:job/Job1", "description": None}
    assert block_text(Block(title, body)).splitlines()[1:] == [
        "description: <nil>",
        "jobArn: arn:aws:iot:us-east-1:1:job/Job1",
        "jobId: Job1",
        "",
    ]


def test_cancel_job_output() -> None:
    """CancelJobOutput has the same three lines."""
    body = {"description": "d", "jobArn": "arn:aws:iot:us-east-1:1:job/Job1", "jobId": "Job1"}
    assert block_text(Block("CancelJobOutput", body)).splitlines()[1:] == [
        "description: d",
        "jobArn: arn:aws:iot:us-east-1:1:job/Job1",
        "jobId: Job1",
        "",
    ]


def test_delete_job_output() -> None:
    """DeleteJobOutput names the job."""
    assert block_text(Block("DeleteJobOutput", {"jobId": "Job1"})).splitlines()[1:] == [
        "jobId: Job1",
        "",
    ]


def test_help_block() -> None:
    """The help is shown as its lines."""
    assert block_text(Block("Help", {"lines": ["a", "  b"]})).splitlines()[1:] == ["a", "  b", ""]


@pytest.mark.parametrize(
    "title", ["A", "GetPendingJobExecutionsResponse", "Service Request Rejected"]
)
def test_header_width(title: str) -> None:
    """Every header is 72 columns wide and names its block."""
    assert len(header(title)) == 72
    assert header(title).startswith(f"─── {title} ──")


@pytest.mark.parametrize(
    ("width", "columns"), [(50, 50), (72, 72), (73, 72), (500, 72), (30, 30), (5, 30)]
)
def test_header_in_a_window(width: int, columns: int) -> None:
    """A header is as wide as the window, 72 columns at most, and never without its whole title."""
    assert len(header("JobExecutionsChangedEvent", width)) == columns
    assert block_text(Block("JobExecutionsChangedEvent", {}), width).split("\n")[0] == header(
        "JobExecutionsChangedEvent", width
    )


def test_text_beyond_ascii() -> None:
    """Text beyond ASCII is shown as itself."""
    body = {"name": "Überprüfung 日本 🎉"}
    assert '"name" : "Überprüfung 日本 🎉"' in block_text(Block("T", body))
    assert '"name": "Überprüfung 日本 🎉"' in block_json(Block("T", body))


def test_note() -> None:
    """A note stands in parentheses under the header, and is a field of its own in JSON."""
    answer = Block("T", {}, note="late answer to: x")
    assert block_text(answer).splitlines()[1:3] == ["(late answer to: x)", "{}"]
    assert json.loads(block_json(answer)) == {"type": "T", "body": {}, "note": "late answer to: x"}


def test_json_block() -> None:
    """With ``--output json`` a block is one line with its type and body, and nothing else."""
    assert (
        block_json(Block("T", {"b": 1, "a": None}, b"{}"))
        == '{"type": "T", "body": {"b": 1, "a": null}}\n'
    )


@pytest.mark.parametrize(
    ("payload", "shown"),
    [
        (b"not JSON", "not JSON"),
        (b"", ""),
        (b"\xff\xfe\x00", "\\xff\\xfe\\u0000"),
        (b"a\x1b[31mb\r\n\xe2\x80\xaec", "a\\u001b[31mb\\u000d\\u000a\\u202ec"),
    ],
)
def test_unreadable_payload(payload: bytes, shown: str) -> None:
    """A payload that cannot be read is shown as it came, escaped, on one line."""
    answer = Block("T", None, payload, "why")
    assert block_text(answer).splitlines()[1:] == ["(why)", shown, ""]
    as_json = json.loads(block_json(answer))
    assert (as_json.keys(), as_json["note"]) == ({"type", "raw", "note"}, "why")
    assert escape(as_json["raw"]) == shown


@unsafe
def test_unsafe_in_block(text: str) -> None:
    """Nothing that drives a terminal leaves a block unescaped, wherever it stands; its JSON still parses."""
    shown = block_text(Block(f"T{text}", {f"k{text}": [text]}, note=f"n{text}"))
    assert all(harmless(line) for line in shown.split("\n"))
    assert len(shown.split("\n")) == 9
    body = shown.split("\n", 2)[2]
    assert json.loads(body) == {f"k{text}": [text]}


@unsafe
def test_unsafe_in_fields(text: str) -> None:
    """The control plane's answers are escaped too."""
    body = {"description": text, "jobArn": text, "jobId": text}
    assert block_text(Block("CreateJobOutput", body)).splitlines()[1:] == [
        f"description: {escape(text)}",
        f"jobArn: {escape(text)}",
        f"jobId: {escape(text)}",
        "",
    ]


@unsafe
def test_unsafe_in_json_line(text: str) -> None:
    """A line of JSON is escaped and says the same."""
    line = block_json(Block(text, {text: text}, note=text))
    assert line.endswith("\n")
    assert harmless(line[:-1])
    assert json.loads(line) == {"type": text, "body": {text: text}, "note": text}


@unsafe
def test_unsafe_in_error(text: str) -> None:
    """Errors are escaped in both outputs; a line break in them only ends a line."""
    error = SandboxError(f"what {text}", cause=f"cause {text}", next_step=f"todo {text}")
    assert all(harmless(line) for line in error_text(error).split("\n"))
    line = error_json(error)
    assert harmless(line[:-1])
    assert json.loads(line)["cause"] == f"cause {text}"


def test_escape_form() -> None:
    """An escaped character is ``\\u`` and four hexadecimal digits."""
    assert escape("\x1b[2J\u202e\ud800é") == "\\u001b[2J\\u202e\\ud800é"


@given(json_values)
def test_any_value_is_valid_json(value: object) -> None:
    """Whatever the value, its line is strict JSON and safe; NaN and Infinity become their names."""

    def refuse(name: str) -> None:
        raise AssertionError(name)

    line = json_line({"body": value})
    assert harmless(line[:-1])
    json.loads(line, parse_constant=refuse)


@given(json_values)
def test_any_block_is_safe(value: object) -> None:
    """Whatever the body, its block is safe line by line, and its JSON says the same."""
    lines = block_text(Block("T", {"v": value})).split("\n")
    assert all(harmless(line) for line in lines)
    assert repr(json.loads("\n".join(lines[1:]))) == repr(
        json.loads(json.dumps({"v": value}, sort_keys=True))
    )


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii", "cp1252", "gb2312"])
@given(st.text(st.characters(codec="utf-8")))
def test_any_encoding(encoding: str, text: str) -> None:
    """Whatever the encoding of the output, a line of JSON is JSON, and so is the body of a block."""
    answer = Block("T", {"v": text})
    for shown in (block_json(answer), block_text(answer).split("\n", 1)[1]):
        written = io.BytesIO()
        stream = io.TextIOWrapper(written, encoding, errors=ESCAPE_UNENCODABLE, newline="")
        stream.write(shown)
        stream.flush()
        value = json.loads(written.getvalue().decode(encoding))
        assert value.get("body", value) == {"v": text}


def test_unencodable_characters() -> None:
    """What an encoding has is shown as itself; what it lacks is escaped, beyond 16 bits as a pair."""
    assert "é–🎉".encode("latin-1", ESCAPE_UNENCODABLE) == b"\xe9\\u2013\\ud83c\\udf89"
    with pytest.raises(UnicodeDecodeError):
        b"\xff".decode("ascii", ESCAPE_UNENCODABLE)


def test_no_numbers() -> None:
    """NaN and the infinities, which JSON does not know, are shown by name in JSON lines."""
    values = [float("nan"), float("inf"), -float("inf"), {"x": float("nan")}, "NaN", 1.5]
    line = block_json(Block("T", {"v": values, "é": 1}))
    assert json.loads(line)["body"]["v"] == [
        "NaN",
        "Infinity",
        "-Infinity",
        {"x": "NaN"},
        "NaN",
        1.5,
    ]
    assert '"é": 1' in line


def test_error_lines() -> None:
    """An error says what happened, the likely cause and what to do, a line each."""
    error = SandboxError("it failed", cause="the network", next_step="try again.")
    assert error_text(error) == "it failed\n  likely cause: the network\n  next: try again.\n"
    assert json.loads(error_json(error)) == {
        "type": "Error",
        "message": "it failed",
        "cause": "the network",
        "next": "try again.",
    }


def test_error_leaves_out_what_it_does_not_know() -> None:
    """An error without a cause or a next step shows none."""
    assert error_text(SandboxError("it failed")) == "it failed\n"
    assert json.loads(error_json(SandboxError("it failed"))) == {
        "type": "Error",
        "message": "it failed",
    }


def test_error_shows_no_user_part() -> None:
    """Whatever an error quotes, and from wherever, the user part of a URL is not shown."""
    url = "mqtts://user:pw@host:8883"
    error = SandboxError(f"{url} is none", cause=f"{url},", next_step=f"not {url}.")
    place = {"line": 7, "command": f"frob {url}"}
    for shown in (error_text(error, place), error_json(error, place)):
        assert "pw" not in shown
        assert "mqtts://…@host:8883 is none" in shown


def test_error_in_a_script() -> None:
    """An error in a script names its line, and in JSON the command as well."""
    error = UsageError("no such command")
    assert error_text(error, {"line": 7, "command": "frob"}) == "line 7: no such command\n"
    assert json.loads(error_json(error, {"line": 7, "command": "frob"})) == {
        "type": "Error",
        "message": "no such command",
        "line": 7,
        "command": "frob",
    }


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (" a b ", "'a b'"),
        ("x" * 40, f"'{'x' * 40}'"),
        ("x" * 41, f"'{'x' * 37}…'"),
        ("a\u00a0b\u200b\x1b", r"'a\xa0b\u200b\x1b'"),
    ],
)
def test_short(text: str, shown: str) -> None:
    """A piece of input is quoted short, and what cannot be seen in it is shown."""
    assert short(text) == shown


NAMES = ["delete-job", "describe-job", "describe-job-execution", "describe-thing", "Update"]


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("describe", "describe-job or describe-job-execution or describe-thing"),
        ("de", "delete-job or describe-job or describe-job-execution"),
        ("DESCRIBE-JOB", "describe-job or describe-job-execution"),
        ("execution", "describe-job-execution"),
        ("thi", "describe-thing"),
        ("d", "delete-job or describe-job or describe-job-execution"),
        ("descrybe-job", "describe-job"),
        ("updat", "Update"),
        ("udpate", "Update"),
        ("xjobx", ""),
        ("jo", ""),
        ("zzz", ""),
    ],
)
def test_nearest(name: str, suggestion: str) -> None:
    """A mistyped name is answered with all that begin like it, else that contain it, else the most similar."""
    assert nearest(name, NAMES) == (f"; did you mean {suggestion}?" if suggestion else "")


def test_connection() -> None:
    """How to connect is told in lines to read and to paste: shell quoting, no control characters."""
    body = {
        "endpoint": "127.0.0.1:8883",
        "thing": "T\x1b",
        "environment": {"AWS_REGION": "us-east-1", "HOME_OF": "a b'c"},
        "command": "jobs-sandbox 127.0.0.1 …",
    }
    assert block_text(Block("Connection", body)).splitlines()[1:] == [
        "endpoint: 127.0.0.1:8883",
        "thing: T\\u001b",
        "export AWS_REGION=us-east-1 HOME_OF='a b'\"'\"'c'",
        "jobs-sandbox 127.0.0.1 …",
        "",
    ]
    assert "export" not in block_text(Block("Connection", {"command": "c"}))
