"""The colours of blocks and documents, from the terminal's own palette: readable on dark and on light. Pure.

No bright, black, white or yellow foreground: each of them vanishes on some background.
"""

from collections.abc import Iterator

from pygments.lexers.data import JsonLexer
from pygments.token import Keyword, Name, Number, String

HEADERS = {"response": "green", "event": "cyan", "rejected": "red", "warning": "magenta"}
"""The first line of a block or message, by its kind."""

SYNTAX = {Name.Tag: "blue", String.Double: "green", Number: "cyan", Keyword.Constant: "magenta"}
"""What JSON consists of: keys, strings, numbers and constants, as Pygments' own lexer tells them apart."""

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
# Beyond this a block is read by a program, if at all, and Pygments takes its time.
_LONGEST = 64 * 1024


def coloured(text: str, kind: str) -> str:
    """A block or message with escape sequences; ``text`` itself if its kind has no colour."""
    colour = HEADERS.get(kind)
    if colour is None:
        return text
    first, rest = text.split("\n", 1)
    begin = rest.find("{\n")
    if begin in (0, rest.find("\n") + 1) and len(rest) <= _LONGEST:
        rest = rest[:begin] + "".join(
            _paint(part, colour) for colour, part in json_parts(rest[begin:])
        )
    return f"{_paint(first, colour)}\n{rest}"


def json_parts(text: str) -> Iterator[tuple[str, str]]:
    """JSON, or its beginning, in parts, each with the name of its colour or ``""``."""
    key = ""
    for _, token, value in JsonLexer().get_tokens_unprocessed(text):  # type: ignore[no-untyped-call]
        if token in Name.Tag:
            key = value
        colour = next((colour for kind, colour in SYNTAX.items() if token in kind), "")
        if key == '"status"' and token in String.Double:
            colour = _STATUSES.get(value.strip('"'), colour)
        yield colour, value


def _paint(text: str, colour: str) -> str:
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if colour else text
