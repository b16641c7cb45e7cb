"""Text that was typed, pasted or piped → commands and words: a line is a command, but a JSON document goes on. Pure."""

import re
from typing import Any

from jobs_sandbox.core.text import open_brackets

# Beyond this many characters, four times the longest job document, Enter ends a line whatever is open in it.
_LONGEST = 2**17
# A document begins with a word that begins so; with a quote, too, when someone means to quote it as for a shell.
_BEGIN = re.compile(r"""(?<!\S)[{\["']""")
# No command begins so: it is what is left of a document that was closed too early.
_REST = re.compile(r"""\s*[}\],"]""")


class LineJoiner:
    """Puts lines together to commands: a line each, but for one whose brackets are open, which goes on.

    It does so whether or not what stands in the brackets is JSON, so that one bad document is one error, and none of
    its lines is taken for a command.
    """

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._level = 0

    @property
    def is_open(self) -> bool:
        """Whether the command is not yet complete."""
        return bool(self._lines)

    def add(self, line: str) -> str | None:
        """Take one more line; the command that it completes, or None."""
        self._level = open_brackets(line, self._level) if self._lines else _opened(line)
        self._lines.append(line)
        return None if self._level else self.rest()

    def rest(self) -> str | None:
        """What was begun, complete or not; None if nothing was."""
        lines, self._lines, self._level = self._lines, [], 0
        return "\n".join(lines) if lines else None


def logical_lines(text: str) -> list[str]:
    """Pasted or edited text → commands."""
    joiner = LineJoiner()
    commands: list[list[str]] = []
    for command in [*(joiner.add(line) for line in text.split("\n")), joiner.rest()]:
        if command is None:
            continue
        if commands and _REST.match(command) and _begin(commands[-1][0]):
            commands[-1].append(command)
        else:
            commands.append([command])
    return ["\n".join(parts) for parts in commands]


def is_open_document(text: str) -> bool:
    """Whether the last command of a text has a document whose brackets are still open."""
    joiner = LineJoiner()
    for line in text.split("\n") if len(text) <= _LONGEST else ():
        joiner.add(line)
    return joiner.is_open


def split(text: str) -> tuple[str, str]:
    """The first word, and what follows the blanks after it, byte for byte. Unicode's blanks are blanks here."""
    found: Any = re.match(r"\s*(\S*)\s*(.*)", text, re.DOTALL)
    return found[1], found[2]


def _opened(line: str) -> int:
    """How many brackets a command leaves open."""
    begin = _begin(line)
    return open_brackets(line[begin.start() :]) if begin else 0


def _begin(command: str) -> re.Match[str] | None:
    """Where the document of a command begins, if it has one."""
    return None if command.lstrip().startswith("#") else _BEGIN.search(command)
