"""JSON that is typed: job documents and request fields."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from jobs_sandbox.commands.documents import (
    DESCRIBE_FIELDS,
    START_FIELDS,
    UPDATE_FIELDS,
    job_document,
    request_fields,
)
from jobs_sandbox.core.errors import UsageError
from jobs_sandbox.core.jobs import DOCUMENT_LIMIT


def mistake(document: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        job_document(document)
    return caught.value


# Job documents


@pytest.mark.parametrize(
    ("document", "line", "column"),
    [
        ('{"a":x}', '{"a":x}', 5),
        ('{"a":1} extra', '{"a":1} extra', 8),
        ('{"日本":x}', '{"日本":x}', 8),
        ('{"e\u0301":x}', '{"e\u0301":x}', 5),
        ('{"a":\u00a0x}', '{"a":\\u00a0x}', 5),
        ('{"\u200ba":x}', '{"\\u200ba":x}', 11),
        ('{"a":1,\n "b":x,\n "c":1}', 'line 2:  "b":x,', 13),
        ('{"a":"' + "y" * 99 + '", x' + "z" * 99, "y" * 37 + '", x' + "z" * 19, 40),
    ],
)
def test_caret(document: str, line: str, column: int) -> None:
    """A caret marks where a document stops being JSON; invisible characters are shown escaped."""
    assert mistake(document).message.split("\n")[1:] == [f"  {line}", " " * (2 + column) + "^"]


@pytest.mark.parametrize(
    ("document", "hint"),
    [
        ("'{\"a\": 1}'", "leave out the quotes"),
        ("{“a”: 1}", "straight double quotes"),
        ('{"a": “1"}', "straight double quotes"),
        ("{'a': 1}", "straight double quotes"),
        ('{"a": 1,', "close all brackets"),
        ("[1", "close all brackets"),
        ("doc.json", "file://doc.json"),
        ("~/doc ", "file://~/doc reads"),
        ("../a/doc", "file://../a/doc"),
        ('{"a": x.json', ""),
        ("Reboot", ""),
    ],
)
def test_hints(document: str, hint: str) -> None:
    """Frequent mistakes come with what to do about them."""
    next_step = mistake(document).next_step
    assert hint in next_step
    assert bool(hint) is bool(next_step)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ('{"a":NaN}', "NaN is not a JSON value"),
        ("[" * 20_000, "nested more than 100 levels deep"),
        ('"\udcff"', "UTF-8"),
        ("x" * (DOCUMENT_LIMIT + 1), "more than 32,768 bytes"),
        ("é" * (DOCUMENT_LIMIT // 2 + 1), "more than 32,768 bytes"),
    ],
)
def test_unusable_documents(document: str, reason: str) -> None:
    """Documents that AWS IoT or Python would not take are refused with the reason."""
    assert reason in mistake(document).message


# Files


@pytest.mark.parametrize("content", ['{"é" :  1}\r\n', "[1,\n2]\n\n", f'"{"x" * 32_766}"'])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, mark: bytes) -> None:
    """``file://`` reads the document byte for byte, without a byte order mark."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a job.json").write_bytes(mark + content.encode())
    assert job_document(f"file://{tmp_path}/a job.json \t") == content
    assert job_document("file://~/a job.json") == content


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{\n  "a": x\n}', "line 2:"),
        (b'{"a":"\xff"}', "UTF-8"),
        ('{"a":1}'.encode("utf-16"), "UTF-8"),
        (b'\xef\xbb\xbf"' + b"x" * DOCUMENT_LIMIT + b'"', "more than 32,768 bytes"),
        ("xé".encode() * DOCUMENT_LIMIT, "more than 32,768 bytes"),
    ],
)
def test_unusable_files(tmp_path: Path, content: bytes, reason: str) -> None:
    """A file with unusable content is refused with the reason."""
    (tmp_path / "doc").write_bytes(content)
    assert reason in mistake(f"file://{tmp_path}/doc").message


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/nowhere/x.json", "No such file or directory"),
        ("", "No such file or directory"),
        ("/", "not a regular file"),
        ("pipe", "not a regular file"),
        ("/a\0b", "no path can contain"),
    ],
)
def test_unreadable_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, reason: str
) -> None:
    """A path that cannot be read is refused at once, with the reason and the base of paths."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    error = mistake(f"file://{path}")
    assert reason in error.message
    assert "a relative path starts in the folder" in error.next_step


# Optional request fields


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"statusDetails": {f"aZ0:_-{number}": "é🎉 x" for number in range(10)}},
        {"statusDetails": {"k" * 128: "v" * 1024}},
        {"expectedVersion": 2, "executionNumber": 1},
        {"includeJobExecutionState": True, "includeJobDocument": False},
        {"stepTimeoutInMinutes": 1},
        {"stepTimeoutInMinutes": 10_080},
        {"stepTimeoutInMinutes": -1},
    ],
)
def test_valid_fields(fields: dict[str, Any]) -> None:
    """What AWS IoT documents as valid is taken as it is."""
    assert request_fields(json.dumps(fields), UPDATE_FIELDS) == fields


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("statusDetails", "x"),
        ("statusDetails", {f"k{number}": "v" for number in range(11)}),
        ("statusDetails", {"": "v"}),
        ("statusDetails", {"k" * 129: "v"}),
        ("statusDetails", {"a b": "v"}),
        ("statusDetails", {"k": ""}),
        ("statusDetails", {"k": "v" * 1025}),
        ("statusDetails", {"k": "a\nb"}),
        ("statusDetails", {"k": "a\u202eb"}),
        ("statusDetails", {"k": 1}),
        ("expectedVersion", "2"),
        ("expectedVersion", True),
        ("executionNumber", None),
        ("includeJobExecutionState", 1),
        ("includeJobDocument", "true"),
        ("stepTimeoutInMinutes", 0),
        ("stepTimeoutInMinutes", 10_081),
        ("stepTimeoutInMinutes", 1.0),
        ("stepTimeoutInMinutes", -1.0),
    ],
)
def test_invalid_fields(name: str, value: object) -> None:
    """What AWS IoT would refuse is refused before it is sent, with the field's valid values."""
    with pytest.raises(UsageError) as caught:
        request_fields(json.dumps({name: value}), UPDATE_FIELDS)
    assert caught.value.message.startswith(f"{name} is {UPDATE_FIELDS[name].meaning}; not ")


@pytest.mark.parametrize(
    ("text", "fields", "words"),
    [
        ('{"statusDetail": {}}', UPDATE_FIELDS, "; did you mean statusDetails?"),
        ('{"expectedVersion": 1}', START_FIELDS, ": statusDetails, stepTimeoutInMinutes"),
        ('{"stepTimeoutInMinutes": -1}', START_FIELDS, "is 1 to 10,080"),
        ("[1]", DESCRIBE_FIELDS, "one JSON object: executionNumber, includeJobDocument"),
        ("now", DESCRIBE_FIELDS, "not JSON"),
    ],
)
def test_wrong_fields(text: str, fields: dict[str, Any], words: str) -> None:
    """The error names the fields of the request, or the nearest one."""
    with pytest.raises(UsageError) as caught:
        request_fields(text, fields)
    assert words in caught.value.message
