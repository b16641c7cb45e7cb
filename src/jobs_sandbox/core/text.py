"""Text from users and from the network: strict JSON, escapes, and quotations."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

MAX_DEPTH = 100
"""Levels of nesting that are read, sent and shown. Python's own limit differs between versions."""

# A string, an opening bracket, or a closing one. JSON allows no line break in a string, so an
# unclosed string ends with its line.
_TOKEN = re.compile(r'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"?|([\[{])|[\]}]')

# Characters that can drive a terminal or reorder its text: C0, DEL, C1, bidirectional controls, and
# the line and paragraph separators. Lone surrogates cannot be encoded at all.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)

_QUOTED = 40  # characters of a quotation
_TOO_SHORT = 2  # characters that stand in too many names


def escape(text: str) -> str:
    """Text on one line, without characters that drive a terminal (``\\u001b`` for ESC)."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def escape_lines(text: str) -> str:
    """The same for text of several lines, whose line breaks are our own."""
    return "\n".join(escape(line) for line in text.split("\n"))


def short(text: str) -> str:
    """A piece of input as an error message quotes it."""
    text = text.strip()
    return repr(text if len(text) <= _QUOTED else text[: _QUOTED - 3] + "…")


def nearest(name: str, names: Iterable[str]) -> str:
    """``; did you mean …?`` with up to three similar names, or ``""``."""
    import difflib  # only a mistake needs it

    known = {candidate.lower(): candidate for candidate in names}
    name = name.lower()[:80]
    found = [candidate for candidate in known if candidate.startswith(name)]
    if not found and len(name) > _TOO_SHORT:
        found = [candidate for candidate in known if name in candidate]
    if not found:
        found = difflib.get_close_matches(name, known, n=1)
    return (
        f"; did you mean {' or '.join(known[candidate] for candidate in found[:3])}?"
        if found
        else ""
    )


def parse_json(text: str | bytes) -> Any:
    """Parse JSON; NaN and Infinity, which Python would let through, are not JSON.

    Raises:
        json.JSONDecodeError: not JSON, with the position.
        ValueError: bytes that are not UTF-8, -16 or -32; a number or constant that JSON or Python
            does not know; more than `MAX_DEPTH` levels.

    """
    if isinstance(text, bytes):
        text = text.decode(json.detect_encoding(text))
    if _is_too_deep(text):
        raise ValueError(f"nested more than {MAX_DEPTH} levels deep")
    return json.loads(text, parse_constant=_refuse_constant, parse_int=_integer)


def open_brackets(text: str, level: int = 0) -> int:
    """How many brackets are open after a text, if ``level`` were open before it."""
    for now in _levels(text, level):
        level = now
    return level


def _is_too_deep(text: str) -> bool:
    """Whether brackets nest deeper than `MAX_DEPTH`; Python 3.13 does not limit them."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return False
    return any(level > MAX_DEPTH for level in _levels(text))


def _levels(text: str, level: int = 0) -> Iterator[int]:
    """How many brackets are open, after each string and bracket."""
    for token in _TOKEN.finditer(text):
        if token[1]:
            level += 1
        elif token[0] in "]}":
            level = max(0, level - 1)
        yield level


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


def _integer(digits: str) -> int:
    try:
        return int(digits)
    except ValueError:
        raise ValueError(f"an integer of {len(digits)} digits is too long") from None
