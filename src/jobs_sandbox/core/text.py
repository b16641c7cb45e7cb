"""Text from users and from the network, made safe to show, and quoted in messages."""

import re
from collections.abc import Iterable

# Characters that can drive a terminal or reorder its text: C0, DEL, C1, bidirectional controls, and the line and
# paragraph separators. Lone surrogates cannot be encoded at all.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

_QUOTED = 40  # characters of a quotation


def escape(text: str) -> str:
    """``text`` on one line, without characters that could drive a terminal (``\\u001b`` for ESC)."""
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
    found = (
        [candidate for candidate in known if candidate.startswith(name)]
        or [candidate for candidate in known if len(name) > 2 and name in candidate]  # noqa: PLR2004 - too short to tell
        or difflib.get_close_matches(name, known, n=1)
    )
    return f"; did you mean {' or '.join(known[candidate] for candidate in found[:3])}?" if found else ""
