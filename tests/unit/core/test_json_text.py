"""JSON is read the same on every Python."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs_sandbox.core import json_text
from jobs_sandbox.core.json_text import MAX_DEPTH


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


def value_of(levels: int, *, form: type) -> object:
    value: object = form()
    for _ in range(levels - 1):
        value = {"a": value} if form is dict else [1, value]
    return value


@pytest.mark.parametrize(
    "text",
    [
        nested(MAX_DEPTH),
        f"[{nested(MAX_DEPTH - 1)}, {nested(MAX_DEPTH - 1)}]",
        '{"a":"' + "[" * 500 + '\\"' + "[" * 500 + '"}',
        "[[]," * 90 + "1",
    ],
)
def test_depth_that_is_read(text: str) -> None:
    """Nesting up to the limit is read; brackets inside strings, and those that are closed again, do not count."""
    assert not json_text.is_too_deep(text)


@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 60_000])
@pytest.mark.parametrize("begin", ["[", '{"a":'])
@pytest.mark.parametrize("form", [str, str.encode])
def test_depth_that_is_not(levels: int, begin: str, form: Callable[[str], str | bytes]) -> None:
    """Deeper nesting is refused by its depth, not by whatever this Python's parser does about it."""
    with pytest.raises(ValueError, match=r"^nested more than 100 levels deep$"):
        json_text.loads(form(begin * levels))


@pytest.mark.parametrize("name", ["NaN", "Infinity", "-Infinity"])
def test_constants(name: str) -> None:
    """What Python's JSON has besides is no JSON."""
    with pytest.raises(ValueError, match=f"^{name} is not a JSON value$"):
        json_text.loads(f'{{"a": {name}}}')


@pytest.mark.parametrize("name", ["NaN", "Infinity", "-Infinity"])
def test_constants_of_others(name: str) -> None:
    """Where it is asked for, they are read, as some services send them; nothing else is less strict."""
    assert str(json_text.loads(f'{{"a": {name}}}', strict=False)["a"]) == str(float(name))
    with pytest.raises(ValueError, match="levels deep"):
        json_text.loads(nested(MAX_DEPTH + 1), strict=False)


def test_long_integer() -> None:
    """An integer that Python does not convert is named as what it is, without Python's own advice."""
    with pytest.raises(ValueError, match=r"^an integer of 5000 digits is too long$"):
        json_text.loads("9" * 5000)


def test_place_of_a_mistake() -> None:
    """A mistake keeps its place."""
    with pytest.raises(json.JSONDecodeError) as caught:
        json_text.loads('{"a" 1}')
    assert caught.value.pos == 5


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_everything_else(value: Any) -> None:
    """What is JSON comes out as the standard library reads it, as text and as bytes."""
    text = json.dumps(value)
    assert json_text.loads(text) == json_text.loads(text.encode()) == value


@pytest.mark.parametrize("form", [dict, list])
def test_depth_that_is_laid_out(form: type) -> None:
    """What is read can be laid out, and what is deeper cannot, on every Python alike."""
    assert not json_text.is_too_deep_to_lay_out(value_of(MAX_DEPTH, form=form))
    assert json_text.is_too_deep_to_lay_out(value_of(MAX_DEPTH + 1, form=form))
    assert json_text.is_too_deep_to_lay_out({"a": 1, "b": [value_of(200_000, form=form)]})
    assert not json_text.is_too_deep_to_lay_out("[" * 500)


@pytest.mark.parametrize(
    ("text", "level", "after"),
    [
        ("", 0, 0),
        ("", 3, 3),
        ('{"a": [1, {', 0, 3),
        ('{"a": [1, {}]', 0, 1),
        ('"b": "}]"}', 1, 0),
        (r'{"a\"}": "\\"}', 0, 0),
        ("}]}[", 0, 1),
        ('{"never closed}', 0, 1),
        ('{"never closed}\n}', 0, 0),
        ('{"never closed}\\\n}', 0, 0),
    ],
)
def test_open_brackets(text: str, level: int, after: int) -> None:
    """Brackets are counted outside strings, which end with their line at the latest; below none there is nothing."""
    assert json_text.open_brackets(text, level) == after


def test_open_brackets_line_by_line() -> None:
    """Line by line, the count is the same as for the whole."""
    text = '{"a": ["x}\n", {\\\n"b": "\\\n}\n]'
    level = 0
    for line in text.split("\n"):
        level = json_text.open_brackets(line, level)
    assert level == json_text.open_brackets(text)


def test_long_strings() -> None:
    """A string of any length, with any escapes, is one step."""
    assert json_text.open_brackets('{"' + r"\\x[" * 1_000_000) == 1


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        ({"a": 1, "b": [True, {"c": "d"}]}, {"b": [True, {"c": "d"}], "a": 1}),
        ({"a": None, "b": {"c": None}, "d": [{"e": None}]}, {"b": {}, "d": [{}]}),
        ({"b": {}, "d": [{}]}, {"a": None, "b": {"c": None}, "d": [{"e": None}]}),
        ({"a": [None]}, {"a": [None]}),
        ({"a": 1.0}, {"a": 1}),
        (None, None),
        ("a", "a"),
    ],
)
def test_same(sent: Any, found: Any) -> None:
    """What was sent is found again whatever its order, the notation of its numbers, and without its null members."""
    assert json_text.same_json(sent, found)


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        ({"a": 1}, {"a": True}),
        ({"a": False}, {"a": 0}),
        ([1], [True]),
        (1, True),
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {"b": 1}),
        ({"a": 1}, {}),
        ({}, {"a": 1}),
        ({"a": {"b": 1}}, {"a": {"b": 2}}),
        ([1, 2], [1]),
        ([1, 2], [2, 1]),
        ([None], []),
        ({}, []),
        ({}, None),
        ("1", 1),
    ],
)
def test_not_the_same(sent: Any, found: Any) -> None:
    """Another value, type, member, order or length is another document; true is not 1."""
    assert not json_text.same_json(sent, found)
    assert not json_text.same_json(found, sent)


@given(st.recursive(st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(), st.lists))
def test_same_as_itself(value: Any) -> None:
    """A value is the same when it was written and read again."""
    assert json_text.same_json(value, json.loads(json.dumps(value)))
