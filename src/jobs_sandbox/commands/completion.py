"""What the program says about its commands: help and completion, made from the table."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping

from jobs_sandbox.commands.arguments import Parameter
from jobs_sandbox.commands.command import COMMANDS, CONTROL, DATA, MISC, Command, named
from jobs_sandbox.commands.documents import field_names
from jobs_sandbox.commands.lines import split

WIDTH = 72  # columns of the help
_KEYS = {
    "Tab, →": "complete a word; take the suggestion",
    "Ctrl-R": "search the history",
    "Ctrl-X Ctrl-E": "write the line in $EDITOR",
    "Ctrl-C": "drop the line, or stop waiting for an answer",
    "Ctrl-D": "leave",
}


def help_lines(name: str = "") -> list[str]:
    """All about one command; or, without a name, the commands under the headings of the Swift sample, and the keys."""
    if name:
        return _explained(COMMANDS[name])
    lines: list[str] = []
    for plane in (CONTROL, DATA, MISC):
        lines.append(plane)
        for command in COMMANDS.values():
            if command.plane == plane:
                lines += [f"  {command.usage}", f"      {command.summary}"]
        lines.append("")
    return [*lines, "Keys", *_table(_KEYS.items(), indent=2)]


def _explained(command: Command) -> list[str]:
    lines = [command.usage, f"  {command.summary}", ""]
    for parameter in command.parameters:
        lines += _wrapped(f"  {parameter.name}: ", parameter.meaning, indent=6)
        lines += _table(_values(parameter), indent=6)
    lines += [""] if command.parameters else []
    return [
        *lines,
        f"  example: {command.example}",
        *_wrapped("  prints: ", command.prints, indent=10),
    ]


def _values(parameter: Parameter) -> Iterable[tuple[str, str]]:
    """What an argument may be, as far as that does not depend on a session."""
    fields = [(name, field.meaning) for name, field in parameter.fields.items()]
    return fields or parameter.candidates({})


def _table(rows: Iterable[tuple[str, str]], indent: int) -> list[str]:
    rows = list(rows)
    column = indent + max((len(name) for name, _ in rows), default=0) + 2
    return [
        line
        for name, meaning in rows
        for line in _wrapped(" " * indent + name, meaning, indent=column)
    ]


def _wrapped(begin: str, text: str, indent: int) -> list[str]:
    """``begin`` and ``text`` in lines of `WIDTH`, of which all but the first are indented, and text begins there."""
    return textwrap.wrap(
        text, WIDTH, initial_indent=begin.ljust(indent), subsequent_indent=" " * indent
    )


def complete(text: str, executions: Mapping[str, str]) -> Iterator[tuple[str, str, int]]:
    """Completions at the end of ``text``: candidate, its meaning, and how many characters it replaces."""
    word, rest = split(text)
    if text.lstrip() == word:
        yield from _matching(word, ((name, row.summary) for name, row in COMMANDS.items()))
    elif command := named(word):
        for parameter in command.parameters:
            before, (word, rest) = rest, (rest, "") if parameter.rest else split(rest)
            if before == word:
                candidates = parameter.candidates(executions)
                if parameter.fields:
                    word, candidates = field_names(word, parameter.fields)
                yield from _matching(word, candidates)
                return


def _matching(word: str, candidates: Iterable[tuple[str, str]]) -> list[tuple[str, str, int]]:
    """The candidates that begin like the word, and then those that contain it, whatever the case."""
    found = [
        (candidate, meaning, len(word))
        for candidate, meaning in candidates
        if word.lower() in candidate.lower()
    ]
    return sorted(found, key=lambda item: not item[0].lower().startswith(word.lower()))
