"""The colours of blocks and documents, from the terminal's own palette.

Bright colours, black, white and yellow are not used: each is unreadable on some background.
"""

from collections.abc import Iterator

from pygments.lexers.data import JsonLexer
from pygments.token import Keyword, Name, Number, String

_HEADERS = {"response": "green", "event": "cyan", "rejected": "red", "warning": "magenta"}
_SYNTAX = {
    Name.Tag: "blue",
    String.Double: "green",
    Number: "cyan",
    Keyword.Constant: "magenta",
}
_STATUSES = {
    "QUEUED": "cyan",
    "IN_PROGRESS": "blue",
    "SUCCEEDED": "green",
    "FAILED": "red",
    "REJECTED": "red",
    "TIMED_OUT": "red",
    "CANCELED": "magenta",
    "REMOVED": "magenta",
}
_CODES = {"red": 31, "green": 32, "blue": 34, "magenta": 35, "cyan": 36}
_LONGEST = 64 * 1024  # characters; Pygments is slow, and people do not read longer blocks


def coloured(text: str, kind: str) -> str:
    """A block or message with escape sequences; unchanged if its kind has no colour."""
    colour = _HEADERS.get(kind)
    if colour is None:
        return text
    first, rest = text.split("\n", 1)
    begin = rest.find("{\n")
    is_json = begin in (0, rest.find("\n") + 1)  # in the first line, or after a note
    if is_json and len(rest) <= _LONGEST:
        parts = [_paint(part, name) for name, part in json_parts(rest[begin:])]
        rest = rest[:begin] + "".join(parts)
    return f"{_paint(first, colour)}\n{rest}"


def json_parts(text: str) -> Iterator[tuple[str, str]]:
    """JSON, or its beginning, in parts, each with the name of its colour or ``""``."""
    key = ""
    for _, token, value in JsonLexer().get_tokens_unprocessed(text):  # type: ignore[no-untyped-call]
        colour = next((colour for kind, colour in _SYNTAX.items() if token in kind), "")
        if token in Name.Tag:
            key = value
        elif key == '"status"' and token in String.Double:
            colour = _STATUSES.get(value.strip('"'), colour)
        yield colour, value


def _paint(text: str, colour: str) -> str:
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if colour else text
