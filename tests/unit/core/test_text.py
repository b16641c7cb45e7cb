"""JSON is read the same on every Python, and text from elsewhere cannot drive a terminal."""

import json
from collections.abc import Callable

import pytest

from jobs_sandbox.core.text import (
    MAX_DEPTH,
    escape,
    escape_lines,
    nearest,
    open_brackets,
    parse_json,
    short,
)

UNSAFE = "\x00\x07\t\n\r\x1b\x7f\x80\x9b\u061c\u200e\u202a\u202e\u2066\u2069\u2028\udfff\ud800"


@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 60_000])
@pytest.mark.parametrize("begin", ["[", '{"a":'])
@pytest.mark.parametrize("form", [str, str.encode])
def test_deep_nesting(levels: int, begin: str, form: Callable[[str], str | bytes]) -> None:
    """Nesting beyond the limit is refused in the same words on every Python."""
    with pytest.raises(ValueError, match=r"^nested more than 100 levels deep$"):
        parse_json(form(begin * levels))


@pytest.mark.parametrize(
    "text",
    [
        "[" * MAX_DEPTH + "]" * MAX_DEPTH,
        '{"a":"' + "[" * 500 + '\\"' + "[" * 500 + '"}',
        "[" + "[]," * 150 + "1]",
    ],
    ids=["at the limit", "in a string", "closed again"],
)
def test_allowed_nesting(text: str) -> None:
    """Brackets in strings and closed brackets do not count; text and bytes are read alike."""
    assert parse_json(text) == parse_json(text.encode()) == json.loads(text)


@pytest.mark.parametrize("name", ["NaN", "Infinity", "-Infinity"])
def test_constants(name: str) -> None:
    """Python's additions to JSON are refused."""
    with pytest.raises(ValueError, match=f"^{name} is not a JSON value$"):
        parse_json(f'{{"a": {name}}}')


def test_long_integer() -> None:
    """The error for an integer that Python does not convert says so."""
    with pytest.raises(ValueError, match=r"^an integer of 5000 digits is too long$"):
        parse_json("9" * 5000)


@pytest.mark.parametrize(
    ("text", "level", "after"),
    [
        ("", 3, 3),
        ('{"a": [1, {', 0, 3),
        ('"b": "}]"}', 1, 0),
        (r'{"a\"}": "\\"}', 0, 0),
        ("}]}[", 0, 1),
        ('{"never closed}', 0, 1),
        ('{"never closed}\n}', 0, 0),
    ],
)
def test_open_brackets(text: str, level: int, after: int) -> None:
    """Only brackets outside strings count; a string ends with its line."""
    assert open_brackets(text, level) == after


def test_escape() -> None:
    """Each character that could drive a terminal or cannot be encoded becomes a JSON escape."""
    escaped = escape(UNSAFE)
    assert not set(escaped) & set(UNSAFE)
    assert json.loads(f'"{escaped}"') == UNSAFE
    assert escape("é€\U0001f389") == "é€\U0001f389"
    assert escape_lines("a\x1b\nb\r") == "a\\u001b\nb\\u000d"


def test_short() -> None:
    """A quotation of the user's input is short and on one line."""
    assert short(" a\nb ") == r"'a\nb'"
    assert short("x" * 40) == f"'{'x' * 40}'"
    assert short("x" * 41) == f"'{'x' * 37}…'"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("DELETE", "; did you mean delete-job?"),
        ("job", "; did you mean create-job or delete-job?"),
        ("craete-job", "; did you mean create-job?"),
        ("ob", ""),
        ("xyz", ""),
    ],
)
def test_nearest(name: str, hint: str) -> None:
    """The hint names what begins like a mistyped name, contains it, or is spelled like it."""
    assert nearest(name, ["create-job", "delete-job", "wait"]) == hint
