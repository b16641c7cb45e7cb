"""JSON as text, read the same on every Python: strict, and nested no deeper than a person can use. Pure."""

import json
import re
from typing import Any

MAX_DEPTH = 100
"""Levels of nesting that are read, sent and laid out. Python's own limit differs from version to version."""

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"?|([\[{])|([\]}])', re.DOTALL)


def loads(text: str | bytes) -> Any:
    """Parse JSON text.

    Raises:
        json.JSONDecodeError: it is not JSON, and where that shows.
        ValueError: bytes that are not UTF-8 (16, 32), a constant or number that JSON or Python does not know, or more
            than `MAX_DEPTH` levels.

    """
    if isinstance(text, bytes):
        text = text.decode(json.detect_encoding(text))
    if is_too_deep(text):
        raise ValueError(f"nested more than {MAX_DEPTH} levels deep")
    return json.loads(text, parse_constant=_no_constant, parse_int=_integer)


def is_too_deep(text: str) -> bool:
    """Whether brackets outside strings nest deeper than `MAX_DEPTH`."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return False
    depth = 0
    for token in _TOKEN.finditer(text):
        depth += 1 if token[1] else -1 if token[2] else 0
        if depth > MAX_DEPTH:
            return True
    return False


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


def _integer(digits: str) -> int:
    try:
        return int(digits)
    except ValueError:
        raise ValueError(f"an integer of {len(digits)} digits is too long") from None
