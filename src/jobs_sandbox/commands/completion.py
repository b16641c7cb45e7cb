"""Help and completion, made from the commands."""

import textwrap
from collections.abc import Iterable

from jobs_sandbox.commands.command import (
    COMMANDS,
    PLANES,
    SHOULD,
    Command,
    JobStatuses,
    Parameter,
    summaries,
)
from jobs_sandbox.commands.documents import field_candidates
from jobs_sandbox.commands.lines import first_word

WIDTH = 78
_NAMES = 34  # columns for the names in the list of commands

_LAST_LINES = (
    "help <command> explains one. Tab completes, Ctrl-R searches, Ctrl-D leaves,",
    "Ctrl-C stops waiting or drops the line, Ctrl-X Ctrl-E runs it from $EDITOR.",
)
_SHOULD_LINES = (
    "should <command>",
    "  run a command whose failure is a warning: a script goes on, with exit status 0",
    "  example: should expect-device connects at-most 6 15",
)


def help_lines(name: str = "") -> list[str]:
    """The help for one command, or all commands under the headings of the Swift sample."""
    if name == SHOULD:
        return list(_SHOULD_LINES)
    if name:
        return _explain(COMMANDS[name])
    lines = []
    for plane in PLANES:
        lines.append(plane)
        lines += [
            f"  {command.name:<{_NAMES}}{command.summary}"
            for command in COMMANDS.values()
            if command.plane == plane and not command.requires
        ]
    for option in ("--device", "--local"):
        names = [command.name for command in COMMANDS.values() if command.requires == option]
        lines.append(f"  with {option}: {', '.join(names)}")
    return [*lines, *_LAST_LINES]


def _explain(command: Command) -> list[str]:
    lines = [*textwrap.wrap(command.usage, WIDTH, subsequent_indent="    "), f"  {command.summary}"]
    lines += _wrap("  ", command.details)
    for parameter in command.parameters:
        description = f"  {parameter.name}: {parameter.meaning}"
        lines += textwrap.wrap(description, WIDTH, subsequent_indent="    ")
        values = _values(parameter)
        column = max(map(len, values), default=0) + 2
        for value, meaning in values.items():
            lines += _wrap(f"      {value:<{column}}", meaning)
    lines.append(f"  example: {command.example}")
    if command.title:
        lines += _wrap("  prints: ", command.title)
        lines += _wrap("  events: ", command.events or "none")
    return lines


def _values(parameter: Parameter) -> dict[str, str]:
    """The values that a parameter takes, as far as they do not depend on a session."""
    if parameter.fields:
        return {name: field.meaning for name, field in parameter.fields.items()}
    return dict(parameter.candidates({}))


def _wrap(begin: str, text: str) -> list[str]:
    """``begin`` and ``text`` in lines of `WIDTH`, with the text in one column."""
    return textwrap.wrap(text, WIDTH, initial_indent=begin, subsequent_indent=" " * len(begin))


def complete(text: str, statuses: JobStatuses) -> list[tuple[str, str, int]]:
    """Completions at the end of ``text``: candidate, hint, and the characters to replace."""
    word, rest = first_word(text)
    if word.lower() == SHOULD:
        text = rest
        word, rest = first_word(rest)
    if text.lstrip() == word:
        return _matching(word, summaries())
    command = COMMANDS.get(word.lower())
    for parameter in command.parameters if command else ():
        before = rest
        word, rest = parameter.split(rest)
        if before == word:
            candidates = parameter.candidates(statuses)
            if parameter.fields:
                word, candidates = field_candidates(word, parameter.fields)
            return _matching(word, candidates)
    return []


def _matching(word: str, candidates: Iterable[tuple[str, str]]) -> list[tuple[str, str, int]]:
    """The candidates that contain the word in any case; those that begin with it first."""
    word = word.lower()
    found = [
        (candidate, hint, len(word)) for candidate, hint in candidates if word in candidate.lower()
    ]
    return sorted(found, key=lambda item: not item[0].lower().startswith(word))
