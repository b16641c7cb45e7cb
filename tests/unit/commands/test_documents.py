"""JSON that is typed: what is sent, and what is refused before it is."""

import json
import os
from pathlib import Path
from typing import Any
from unicodedata import east_asian_width

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs_sandbox.commands.documents import (
    DESCRIBE_FIELDS,
    START_FIELDS,
    UPDATE_FIELDS,
    Field,
    field_names,
    job_document,
    request_fields,
)
from jobs_sandbox.core.errors import UsageError
from jobs_sandbox.core.jobs import DOCUMENT_LIMIT as LIMIT


def mistake(document: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        job_document(document)
    return caught.value


# Job documents


def caret(document: str) -> tuple[str, str]:
    """The line shown, up to the caret's column, and what it begins with at the caret."""
    _, line, mark = mistake(document).message.split("\n")
    assert mark.strip() == "^"
    columns, before = 0, ""
    for character in line:
        if columns == len(mark) - 1:
            break
        columns += 2 if east_asian_width(character) in "FW" else 1
        before += character
    return before, line[len(before) :]


@pytest.mark.parametrize(
    ("document", "before", "place"),
    [
        ('{"a":x}', '  {"a":', "x}"),
        ("{'a':1}", "  {", "'a':1}"),
        ('{"a":1,}', '  {"a":1', ",}"),
        ('{"a":1', '  {"a":1', ""),
        ('{"a":1} extra', '  {"a":1} ', "extra"),
        ("Reboot", "  ", "Reboot"),
        ('{"日本":x}', '  {"日本":', "x}"),
        ('{"a":\tx}', '  {"a":\\u0009', "x}"),
        ('{"a":1}\u00a0', '  {"a":1}', "\\u00a0"),
        ('{"a":\u2028x}', '  {"a":', "\\u2028x}"),
        ('{"\u200ba":x}', '  {"\\u200ba":', "x}"),
        ('{"\u202ea":x}', '  {"\\u202ea":', "x}"),
        ('{"a":1,\n "b":x,\n "c":1}', '  line 2:  "b":', "x,"),
    ],
)
def test_caret(document: str, before: str, place: str) -> None:
    """A document that is no JSON is shown with a caret under the place, also in wide or escaped text and in lines.

    What cannot be seen is shown escaped.
    """
    shown, rest = caret(document)
    if document == '{"a":1,}':  # Python 3.13 points at the comma, earlier ones at the brace
        assert (shown + rest, rest[:1] in (",", "}")) == (before + place, True)
    else:
        assert (shown, rest) == (before, place)


def test_caret_in_combined_text() -> None:
    """Combining marks take no column of their own."""
    _, line, mark = mistake('{"e\u0301":x}').message.split("\n")
    assert line == '  {"e\u0301":x}'
    assert mark == " " * 7 + "^"
    assert mistake('{"e\u20dd":x}').message.split("\n")[2] == mark


def test_caret_in_a_long_line() -> None:
    """Of a long line, what is around the mistake is shown."""
    before, place = caret('{"a":"' + "y" * 3000 + '", x' + "z" * 3000)
    assert before == "  " + "y" * 37 + '", '
    assert place == "x" + "z" * 19


def test_no_json() -> None:
    """The reason is the parser's own."""
    assert mistake("{").message.startswith("the job document is not JSON: Expecting property name")


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ('{"a":NaN}', "NaN is not a JSON value"),
        ('{"a":-Infinity}', "-Infinity is not a JSON value"),
        ('{"a":' + "9" * 5000 + "}", "an integer of 5000 digits is too long"),
        ("[" * 101 + "]" * 101, "nested more than 100 levels deep"),
        ("[" * 20_000, "nested more than 100 levels deep"),
        ('{"a":' * 6_000, "nested more than 100 levels deep"),
    ],
)
def test_what_cannot_be_used(document: str, reason: str) -> None:
    """What Python or the service would not take is refused, with a reason that is the same on every Python."""
    assert mistake(document).message == f"the job document is not JSON that can be used: {reason}."


def test_half_a_character() -> None:
    """Half of a surrogate pair, which no UTF-8 text can hold, is refused; JSON's escape for it is the service's."""
    what = mistake('{"a":"\ud800"}').message
    assert what == "the job document holds half of a surrogate pair, which is no character."
    assert job_document('{"a":"\\ud800"}') == '{"a":"\\ud800"}'


@pytest.mark.parametrize("text", ["é", "x"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_the_longest_document(tmp_path: Path, text: str, mark: bytes) -> None:
    """AWS IoT takes 32,768 bytes, typed or from a file; one more is refused, and a byte order mark does not count."""
    longest = f'"{text * ((LIMIT - 2) // len(text.encode()))}"'
    path = tmp_path / "document.json"
    path.write_bytes(mark + longest.encode())
    assert job_document(longest) == job_document(f"file://{path}") == longest
    path.write_bytes(mark + longest.encode() + b" ")
    for document in (longest + " ", f"file://{path}"):
        assert (
            mistake(document).message
            == "the job document has more than 32,768 bytes, which is all that AWS IoT takes."
        )


def test_a_huge_file(tmp_path: Path) -> None:
    """Of a huge file no more is read than is needed to see that it is too long, be it text or not."""
    path = tmp_path / "huge"
    path.touch()
    for size in (2**40, LIMIT + 4):
        os.truncate(path, size)
        assert "more than 32,768 bytes" in mistake(f"file://{path}").message
    for text in ("é", "xé"):  # cut in the middle of a character
        path.write_bytes(b"x" + text.encode() * LIMIT)
        assert "more than 32,768 bytes" in mistake(f"file://{path}").message


def test_files_are_closed(tmp_path: Path) -> None:
    """A file is closed after it was read, and what is no file after it was refused."""
    (tmp_path / "d.json").write_text("{}")
    before = os.open(os.devnull, os.O_RDONLY)
    os.close(before)
    job_document(f"file://{tmp_path}/d.json")
    mistake(f"file://{tmp_path}")
    after = os.open(os.devnull, os.O_RDONLY)
    os.close(after)
    assert after == before


@pytest.mark.parametrize(
    "path", ["doc.json", "./doc", "../a/doc", "/tmp/doc", "~/doc", "folder/DOC.JSON "]
)
def test_a_path_instead_of_a_document(path: str) -> None:
    """A path that stands where the document should is answered with how a file is named."""
    error = mistake(path)
    assert error.message == "the job document is not JSON."
    assert error.next_step == f"file://{path.strip()} reads it from that file."


@pytest.mark.parametrize("document", ["Reboot", "a/b", '{"a": x.json', "'x.json'"])
def test_no_path(document: str) -> None:
    """Other words are no path."""
    assert "file://" not in mistake(document).next_step


@pytest.mark.parametrize("content", [b'{"a" :  1}\r\n', b"[1,\n2]\n\n", '{"é":"日本"}'.encode()])
def test_document_from_a_file(tmp_path: Path, content: bytes) -> None:
    """``file://`` reads the document from a file, byte for byte."""
    path = tmp_path / "a document.json"
    path.write_bytes(content)
    assert job_document(f"file://{path}") == content.decode()


def test_byte_order_mark(tmp_path: Path) -> None:
    """A byte order mark, which is no part of JSON, is left out."""
    path = tmp_path / "document.json"
    path.write_bytes(b"\xef\xbb\xbf{}")
    assert job_document(f"file://{path}") == "{}"


def test_document_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``~`` is the user's home."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "d.json").write_text("{}")
    assert job_document("file://~/d.json") == "{}"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/nowhere/x.json", "No such file or directory"),
        ("/", "it is a folder, a pipe or a device"),
        ("", "No such file or directory"),
        ("/dev/zero", "it is a folder, a pipe or a device"),
        ("~nobody-of-this-name/x.json", "No such file or directory"),
        ("/a\x00b", "a path has no such characters"),
        ("/a\ud800b", "a path has no such characters"),
        ("/" + "x" * 5000, "File name too long"),
    ],
)
def test_unreadable_files(path: str, reason: str) -> None:
    """A file that cannot be read is named, with the reason and where paths begin."""
    error = mistake(f"file://{path}")
    assert error.message.startswith("the job document '")
    assert error.message.endswith(f"cannot be read: {reason}")
    assert "begins where this was started" in error.next_step


@pytest.mark.parametrize("kind", ["pipe", "link to it"])
def test_a_pipe(tmp_path: Path, kind: str) -> None:
    """A pipe that nobody writes is refused at once."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    (tmp_path / "link to it").symlink_to(path)
    assert mistake(f"file://{tmp_path / kind}").message.endswith(
        ": it is a folder, a pipe or a device"
    )


def test_blanks_after_a_path(tmp_path: Path) -> None:
    """Blanks after the path are none of its characters, whatever kind they are."""
    (tmp_path / "d.json").write_text("{}")
    assert job_document(f"file://{tmp_path}/d.json \t\u00a0") == "{}"


def test_file_that_is_no_text(tmp_path: Path) -> None:
    """A file that is not UTF-8 is told so."""
    path = tmp_path / "x"
    for content in (b'{"a":"\xff"}', b"\xff" * LIMIT, b"\xef\xbb\xbf" + b"\xff" * LIMIT):
        path.write_bytes(content)
        assert mistake(f"file://{path}").message.endswith(" cannot be read: it is not UTF-8 text")


def test_file_that_is_no_json(tmp_path: Path) -> None:
    """A file whose content is no JSON shows where it stops being JSON."""
    path = tmp_path / "x"
    path.write_text('{\n  "a": x\n}')
    assert mistake(f"file://{path}").message.split("\n")[1:] == [
        '  line 2:   "a": x',
        " " * 17 + "^",
    ]


def test_a_document_in_quotes() -> None:
    """Quotes around a document, which a shell would need, are named as the mistake."""
    assert "not JSON (there are no quotes around it" in mistake("'{\"a\": 1}'").message
    assert "quotes" not in mistake("{a}").message.split("\n")[0].split(":")[0]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text('aé{}[]"\\ \n'),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3)
        ),
        max_leaves=6,
    )
)
def test_any_document(value: object) -> None:
    """Whatever the JSON document, it goes through unchanged."""
    document = json.dumps({"v": value}, ensure_ascii=False)
    assert job_document(document) == document


# Optional request fields

UPDATE, START, DESCRIBE = (
    request_fields(fields) for fields in (UPDATE_FIELDS, START_FIELDS, DESCRIBE_FIELDS)
)
LARGEST = 2**63 - 1


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"statusDetails": {}},
        {"statusDetails": {f"aZ0:_-{number}": "é🎉 x" for number in range(10)}},
        {"statusDetails": {"k" * 128: "v" * 1024, "k": "v"}},
        {"expectedVersion": 2, "executionNumber": 1},
        {"expectedVersion": LARGEST, "executionNumber": LARGEST},
        {"includeJobExecutionState": True, "includeJobDocument": False},
        {"stepTimeoutInMinutes": 1},
        {"stepTimeoutInMinutes": 10_080},
        {"stepTimeoutInMinutes": -1},
    ],
)
def test_fields_that_are_taken(fields: dict[str, Any]) -> None:
    """What AWS IoT documents as allowed goes to the request as it is."""
    assert UPDATE(json.dumps(fields)) == fields


@pytest.mark.parametrize(
    "fields",
    [
        {"statusDetails": "x"},
        {"statusDetails": None},
        {"statusDetails": {f"k{number}": "v" for number in range(11)}},
        {"statusDetails": {"": "v"}},
        {"statusDetails": {"k" * 129: "v"}},
        {"statusDetails": {"a b": "v"}},
        {"statusDetails": {"é": "v"}},
        {"statusDetails": {"k\n": "v"}},
        {"statusDetails": {"k": ""}},
        {"statusDetails": {"k": "v" * 1025}},
        {"statusDetails": {"k": "a\nb"}},
        {"statusDetails": {"k": "a\u202eb"}},
        {"statusDetails": {"k": "a\ue000b"}},
        {"statusDetails": {"k": "a\ud800b"}},
        {"statusDetails": {"k": 1}},
        {"statusDetails": {"k": {"nested": "v"}}},
        {"expectedVersion": "2"},
        {"expectedVersion": 2.0},
        {"expectedVersion": True},
        {"expectedVersion": LARGEST + 1},
        {"executionNumber": None},
        {"includeJobExecutionState": 1},
        {"includeJobDocument": "true"},
        {"stepTimeoutInMinutes": 0},
        {"stepTimeoutInMinutes": -2},
        {"stepTimeoutInMinutes": 10_081},
        {"stepTimeoutInMinutes": 1.0},
        {"stepTimeoutInMinutes": -1.0},
        {"stepTimeoutInMinutes": True},
    ],
)
def test_fields_that_are_not(fields: dict[str, Any]) -> None:
    """What AWS IoT would refuse is refused before it is sent, with what the field may be."""
    [name] = fields
    with pytest.raises(UsageError) as caught:
        UPDATE(json.dumps(fields))
    assert caught.value.message.startswith(f"{name} is {UPDATE_FIELDS[name].meaning}; not ")


@pytest.mark.parametrize(
    ("check", "fields", "what"),
    [
        (UPDATE, '{"statusDetail": {}}', "; did you mean statusDetails?"),
        (UPDATE, '{"EXPECTEDVERSION": 1}', "; did you mean expectedVersion?"),
        (
            UPDATE,
            '{"zzz": 1}',
            "'zzz' is no field of this request, which has " + ", ".join(UPDATE_FIELDS),
        ),
        (START, '{"expectedVersion": 1}', "which has statusDetails, stepTimeoutInMinutes"),
        (
            START,
            '{"stepTimeoutInMinutes": -1}',
            "stepTimeoutInMinutes is 1 to 10,080 minutes till TIMED_OUT; not '-1'",
        ),
        (DESCRIBE, '{"statusDetails": {}}', "which has executionNumber, includeJobDocument"),
        (
            DESCRIBE,
            "[1]",
            "the optional fields are one JSON object: executionNumber, includeJobDocument",
        ),
        (
            DESCRIBE,
            "5",
            "the optional fields are one JSON object: executionNumber, includeJobDocument",
        ),
        (DESCRIBE, "now", "the optional fields are not JSON: Expecting value\n  now\n  ^"),
        (
            DESCRIBE,
            "[" * 500,
            "the optional fields are not JSON that can be used: nested more than 100 levels deep.",
        ),
    ],
)
def test_unknown_fields(check: Any, fields: str, what: str) -> None:
    """A field that the request does not have is told, with the nearest that it has; so is what is no object."""
    with pytest.raises(UsageError) as caught:
        check(fields)
    assert caught.value.message.endswith(what)


TWO = {"one": Field("first", bool), "two": Field("second", bool)}


@pytest.mark.parametrize(
    ("text", "word", "names"),
    [
        ("", "", ['{"one": ', '{"two": ']),
        ("{", "", ['"one": ', '"two": ']),
        ('{"', '"', ['"one": ', '"two": ']),
        ('{ "tw', '"tw', ['"one": ', '"two": ']),
        ("{tw", "tw", ['"one": ', '"two": ']),
        ('{"one": {"a": "b"}, ', "", ['"two": ']),
        ('{"one": {"', None, []),
        ('{"one": ', None, []),
        ('{"one": 1}', None, []),
        ("x", None, []),
    ],
)
def test_field_names(text: str, word: str | None, names: list[str]) -> None:
    """Where a field's name can stand, those that are not there yet are offered, with their meaning."""
    begun, offered = field_names(text, TWO)
    assert begun == (text if word is None else word)
    assert offered == [(name, TWO[name.strip('{": ')].meaning) for name in names]
