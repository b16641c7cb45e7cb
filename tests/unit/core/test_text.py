"""JSON is read the same on every Python, and nothing that was sent can drive a terminal."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs_sandbox.core.text import (
    MAX_DEPTH,
    escape,
    escape_lines,
    is_too_deep,
    nearest,
    open_brackets,
    parse_json,
    short,
)

UNSAFE = "\x00\x07\t\n\r\x1b\x7f\x80\x9b\u061c\u200e\u200f\u202a\u202e\u2066\u2069\u2028\u2029\udfff\ud800"


@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 60_000])
@pytest.mark.parametrize("begin", ["[", '{"a":'])
@pytest.mark.parametrize("form", [str, str.encode])
def test_deep_nesting_is_refused(
    levels: int, begin: str, form: Callable[[str], str | bytes]
) -> None:
    """Nesting beyond the limit is refused with the same words on every Python, also where it has no limit."""
    with pytest.raises(ValueError, match=r"^nested more than 100 levels deep$"):
        parse_json(form(begin * levels))


@pytest.mark.parametrize(
    "text",
    [
        "[" * MAX_DEPTH + "]" * MAX_DEPTH,
        '{"a":"' + "[" * 500 + '\\"' + "[" * 500 + '"}',
        "[[]," * 90 + "1",
    ],
    ids=["at the limit", "in a string", "closed again"],
)
def test_what_is_not_deep(text: str) -> None:
    """Nesting up to the limit is read; brackets in strings and closed brackets do not count."""
    assert not is_too_deep(text)


@pytest.mark.parametrize("name", ["NaN", "Infinity", "-Infinity"])
def test_constants(name: str) -> None:
    """Python's additions to JSON are refused, unless the caller asks for them."""
    with pytest.raises(ValueError, match=f"^{name} is not a JSON value$"):
        parse_json(f'{{"a": {name}}}')
    assert str(parse_json(f'{{"a": {name}}}', strict=False)["a"]) == str(float(name))


def test_long_integer() -> None:
    """An integer that Python does not convert is named as what it is."""
    with pytest.raises(ValueError, match=r"^an integer of 5000 digits is too long$"):
        parse_json("9" * 5000)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_everything_else(value: Any) -> None:
    """JSON is read as the standard library reads it, as text and as bytes."""
    text = json.dumps(value)
    assert parse_json(text) == parse_json(text.encode()) == value


@pytest.mark.parametrize(
    ("text", "level", "after"),
    [
        ("", 3, 3),
        ('{"a": [1, {', 0, 3),
        ('{"a": [1, {}]', 0, 1),
        ('"b": "}]"}', 1, 0),
        (r'{"a\"}": "\\"}', 0, 0),
        ("}]}[", 0, 1),
        ('{"never closed}', 0, 1),
        ('{"never closed}\n}', 0, 0),
    ],
)
def test_open_brackets(text: str, level: int, after: int) -> None:
    """Brackets outside strings are counted; a string ends with its line, and a surplus closing bracket is ignored."""
    assert open_brackets(text, level) == after


def test_escape() -> None:
    """Every character that could drive a terminal or cannot be encoded is shown as a JSON escape."""
    escaped = escape(UNSAFE)
    assert not set(escaped) & set(UNSAFE)
    assert escape("é€\U0001f389") == "é€\U0001f389"
    assert json.loads(f'"{escaped}"') == UNSAFE
    assert escape_lines("a\x1b\nb\r") == "a\\u001b\nb\\u000d"


def test_short() -> None:
    """A quotation of the user's input is on one line, and not longer than a message can bear."""
    assert short(" a\nb ") == r"'a\nb'"
    assert short("x" * 5000) == f"'{'x' * 37}…'"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("DELETE", "; did you mean delete-job?"),
        ("job", "; did you mean create-job or delete-job?"),
        ("craete-job", "; did you mean create-job?"),
        ("xyz", ""),
    ],
)
def test_nearest(name: str, hint: str) -> None:
    """A mistyped name is answered with those that begin like it, contain it, or are spelled like it."""
    assert nearest(name, ["create-job", "delete-job", "wait"]) == hint
