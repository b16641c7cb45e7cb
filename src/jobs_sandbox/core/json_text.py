"""JSON as text, read the same on every Python: strict, and nested no deeper than a person can use. Pure."""

import json
import re
from collections.abc import Iterator
from typing import Any

MAX_DEPTH = 100
"""Levels of nesting that are read, sent and laid out. Python's own limit differs from version to version."""

# A string, or an opening or a closing bracket. A string that is not closed ends with its line, as JSON knows no line
# break in one.
_TOKEN = re.compile(r'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"?|([\[{])|[\]}]')


def loads(text: str | bytes, *, strict: bool = True) -> Any:
    """Parse JSON text; unless ``strict``, NaN and Infinity as well, which some services send.

    Raises:
        json.JSONDecodeError: it is not JSON, and where that shows.
        ValueError: bytes that are not UTF-8 (16, 32), a constant or number that JSON or Python does not know, or more
            than `MAX_DEPTH` levels.

    """
    if isinstance(text, bytes):
        text = text.decode(json.detect_encoding(text))
    if is_too_deep(text):
        raise ValueError(f"nested more than {MAX_DEPTH} levels deep")
    return json.loads(text, parse_constant=_no_constant if strict else float, parse_int=_integer)


def is_too_deep(text: str) -> bool:
    """Whether brackets outside strings nest deeper than `MAX_DEPTH`."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return False
    return any(level > MAX_DEPTH for level in _levels(text))


def is_too_deep_to_lay_out(value: object) -> bool:
    """Whether a value holds lists and dicts that nest deeper than `MAX_DEPTH`."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    return bool(level)


def open_brackets(text: str, level: int = 0) -> int:
    """How many brackets outside strings are open after a text, JSON or broken JSON; ``level`` were open before it."""
    for now in _levels(text, level):
        level = now
    return level


def _levels(text: str, level: int = 0) -> Iterator[int]:
    """How many brackets are open, after each string and bracket."""
    for token in _TOKEN.finditer(text):
        if token[1]:
            level += 1
        elif token[0] in "]}":
            level = max(0, level - 1)
        yield level


def same_json(sent: Any, found: Any) -> bool:
    """Whether what a service gives back can be the JSON that it was sent: it may drop members that are null.

    Unlike for ``==``, true is not 1; 1 and 1.0 are the same number.
    """
    if isinstance(sent, dict) and isinstance(found, dict):
        sent, found = ({name: value for name, value in it.items() if value is not None} for it in (sent, found))
        return sent.keys() == found.keys() and all(same_json(value, found[name]) for name, value in sent.items())
    if isinstance(sent, list) and isinstance(found, list):
        return len(sent) == len(found) and all(map(same_json, sent, found))
    return isinstance(sent, bool) == isinstance(found, bool) and bool(sent == found)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


def _integer(digits: str) -> int:
    try:
        return int(digits)
    except ValueError:
        raise ValueError(f"an integer of {len(digits)} digits is too long") from None
