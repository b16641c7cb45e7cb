"""The README and the pages of docs/ as the tests read them: their sections, fenced blocks, steps and tables."""

import re
from pathlib import Path
from typing import NamedTuple

from tests.support.program import parse_blocks

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
PROMPT_LANGUAGE = "jobs-sandbox"
# What differs from one run to the next: times and tokens.
_CHANGING = (
    (re.compile(r'("(?:timestamp|lastUpdatedAt|queuedAt|startedAt)" ?: )\d{10}\b'), r"\g<1><time>"),
    (re.compile(r'("clientToken" ?: )"[0-9A-Fa-f-]{36}"'), r'\g<1>"<token>"'),
)


class Fence(NamedTuple):
    """A fenced block: the headings it stands under, the language it names, its text."""

    headings: tuple[str, ...]
    language: str
    text: str


class Step(NamedTuple):
    """Lines for the prompt, and the blocks printed under them; None where the README shows none."""

    headings: tuple[str, ...]
    lines: list[str]
    blocks: list[tuple[str, str]] | None


def fences(*headings: str) -> list[Fence]:
    """The fenced blocks below these headings, in order."""
    found = [fence for page in PAGES for fence in _fences(page)]
    return [fence for fence in found if set(headings) <= set(fence.headings)]


def _fences(page: Path) -> list[Fence]:
    found: list[Fence] = []
    path: list[str] = []
    language: str | None = None
    text: list[str] = []
    for line in page.read_text(encoding="utf-8").splitlines():
        if language is not None:
            if line == "```":
                found.append(Fence(tuple(path), language, "\n".join(text)))
                language = None
            else:
                text.append(line)
        elif line.startswith("```"):
            language, text = line.removeprefix("```"), []
        elif heading := re.match("(#+) (.+)", line):
            path = [*path[: len(heading[1]) - 1], heading[2]]
    assert language is None, "a fence is not closed"
    return found


def shell(*headings: str) -> list[str]:
    """The shell commands below these headings."""
    return [fence.text for fence in fences(*headings) if fence.language == "sh"]


def steps(*headings: str) -> list[Step]:
    """What is typed at the prompt below these headings, and what the README shows for it."""
    found: list[Step] = []
    there = fences(*headings)
    for fence, after in zip(there, [*there[1:], None], strict=True):
        if fence.language == PROMPT_LANGUAGE:
            shown = after.text if after is not None and after.language == "text" else None
            blocks = (
                None
                if shown is None
                else [(title, mask(body)) for title, body in parse_blocks(f"{shown}\n\n")]
            )
            found.append(Step(fence.headings, fence.text.splitlines(), blocks))
    return found


def section(heading: str) -> str:
    """The text below a heading of the second level, up to the next one, on whatever page it is."""
    below = rf"(?ms)^## {re.escape(heading)}\n(.*?)(?=^## |\Z)"
    found = [
        section for page in PAGES for section in re.findall(below, page.read_text(encoding="utf-8"))
    ]
    assert len(found) == 1, f"{len(found)} sections {heading}"
    return str(found[0])


def table(heading: str, first_column: str) -> list[list[str]]:
    """The rows of the table in that section whose first column has that name."""
    rows: list[list[str]] = []
    taking = False
    for line in section(heading).splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]
        taking = bool(cells) and (taking or cells[0] == first_column)
        if taking and cells[0] != first_column and set(cells[0]) != {"-"}:
            rows.append(cells)
    assert rows, f"no table of {first_column} in {heading}"
    return rows


def mask(text: str) -> str:
    """``text`` with what differs from one run to the next replaced, and nothing else."""
    for pattern, replacement in _CHANGING:
        text = pattern.sub(replacement, text)
    return text
