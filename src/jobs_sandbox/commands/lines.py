"""Typed or pasted text → commands and words. Open JSON documents continue a command."""

import re

from jobs_sandbox.core.text import open_brackets

# Text longer than this, four times the longest job document, is not searched for open brackets at
# each key.
_LONGEST = 2**17

# A document begins with a word that begins so; also with a quote, when someone quotes it as for a
# shell.
_DOCUMENT = re.compile(r"""(?<!\S)[{\["']""")


def split_commands(text: str) -> list[str]:
    """Split text of several lines into commands, blank ones included.

    A document with open brackets goes on in the next line, whether or not it is valid JSON. So a
    broken document is one error, and none of its lines is taken for a command.
    """
    return ["\n".join(lines) for lines in _group(text)[0]]


def is_open_document(text: str) -> bool:
    """Whether the last command of a text has a document with open brackets."""
    return len(text) <= _LONGEST and _group(text)[1] > 0


def first_word(text: str) -> tuple[str, str]:
    """The first word, and everything after the blanks that follow it."""
    words = [*text.split(maxsplit=1), "", ""]
    return words[0], words[1]


def _group(text: str) -> tuple[list[list[str]], int]:
    """The lines of each command, and how many brackets the last one leaves open."""
    commands: list[list[str]] = []
    level = 0
    for line in text.split("\n"):
        if level:
            commands[-1].append(line)
            level = open_brackets(line, level)
        else:
            commands.append([line])
            level = _opened(line)
    return commands, level


def _opened(line: str) -> int:
    """How many brackets the first line of a command leaves open."""
    if line.lstrip().startswith("#"):
        return 0
    document = _DOCUMENT.search(line)
    return open_brackets(line[document.start() :]) if document else 0
