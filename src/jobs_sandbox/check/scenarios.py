"""The scenarios: scripts for the prompt, whose head says what a device must do, and why."""

from collections import Counter
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple, cast

from jobs_sandbox.commands.command import parse
from jobs_sandbox.core.errors import UsageError
from jobs_sandbox.core.text import nearest, short

_SUFFIX = ".jobs"
_GROUP = "group:"
_SLOW = "slow"


class Line(NamedTuple):
    """A line of a script, and its number in the file."""

    number: int
    text: str


class Scenario(NamedTuple):
    """A script that judges a device.

    Attributes:
        name: of the file, without its suffix; with its folder if others have the same.
        path: of the file.
        must: what a device must do, one sentence.
        why: the reasons, and the page of AWS's documents.
        group: jobs, connection or security.
        slow: it runs only when it is named, or with ``--all``.
        lines: its commands.

    """

    name: str
    path: Path
    must: str
    why: tuple[str, ...]
    group: str
    slow: bool
    lines: tuple[Line, ...]


def choose(names: Iterable[str], *, everything: bool) -> list[Scenario]:
    """The scenarios of these names or paths; without any, all but the slow ones.

    Args:
        names: a name is one of ours; what ends with ``.jobs`` is a path.
        everything: choose the slow ones, too.

    Raises:
        UsageError: there is no such scenario, it cannot be read, or a line of it is wrong.

    """
    ours = {path.stem: path for path in _shipped()}
    chosen = []
    for name in dict.fromkeys(names):
        if name.endswith(_SUFFIX):
            chosen.append(read(Path(name)))
        elif name in ours:
            chosen.append(read(ours[name]))
        else:
            raise UsageError(
                f"there is no scenario {short(name)}{nearest(name, ours) or '.'}",
                next_step="jobs-sandbox --check --list names all; a file of your own ends with "
                f"{_SUFFIX}.",
            )
    if chosen:
        return _with_unique_names(chosen)
    shipped = [read(path) for path in ours.values()]
    return [scenario for scenario in shipped if everything or not scenario.slow]


def _with_unique_names(chosen: list[Scenario]) -> list[Scenario]:
    """Each scenario once; those whose files have the same name get their paths as names."""
    once = list({scenario.path.resolve(): scenario for scenario in chosen}.values())
    names = Counter(scenario.name for scenario in once)
    shipped = set(_shipped())
    return [
        scenario
        if names[scenario.name] == 1 or scenario.path in shipped
        else scenario._replace(name=str(scenario.path.with_suffix("")))
        for scenario in once
    ]


def read(path: Path) -> Scenario:
    """Read a scenario; raises `UsageError` if that is not possible, or if a line is wrong."""
    try:
        texts = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise _unreadable(path, str(error.strerror)) from error
    except UnicodeDecodeError as error:
        raise _unreadable(path, "it is not UTF-8") from error
    head: list[str] = []
    for text in texts:
        if not text.startswith("#"):
            break
        head.append(text.removeprefix("#").strip())
    lines = [Line(number, text) for number, text in enumerate(texts, 1)]
    lines = [line for line in lines if _is_command(path, line)]
    if not lines:
        raise UsageError(
            f"the scenario {path} has no commands.",
            next_step="write some, as at the prompt: docs/testing-a-device.md shows how.",
        )
    return Scenario(
        name=path.stem,
        path=path,
        must=head[0] if head else "",
        why=tuple(text for text in head[1:] if text and not _is_label(text)),
        group=next((text.split()[-1] for text in head if text.startswith(_GROUP)), "jobs"),
        slow=_SLOW in head,
        lines=tuple(lines),
    )


def _unreadable(path: Path, reason: str) -> UsageError:
    return UsageError(
        f"the scenario {path} cannot be read: {reason}.",
        next_step="check the path; a scenario is a text file with a command a line.",
    )


def _shipped() -> list[Path]:
    folder = files("jobs_sandbox") / "device" / "scenarios"
    return sorted(Path(str(folder)).glob(f"*{_SUFFIX}"))


def _is_label(text: str) -> bool:
    return text == _SLOW or text.startswith(_GROUP)


def _is_command(path: Path, line: Line) -> bool:
    """Whether a line is neither blank nor a comment; raises `UsageError` if it is wrong."""
    no_session = cast("Any", None)  # a line is only read, and nothing runs
    try:
        return parse(line.text, no_session) is not None
    except UsageError as error:
        raise error.replace(message=f"{path}, line {line.number}: {error.message}") from error
