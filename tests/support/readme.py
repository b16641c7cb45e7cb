"""The README and the pages of docs/: their fenced blocks, shell commands, and steps."""

import re
from pathlib import Path
from typing import NamedTuple

from tests.support.blocks import parse_blocks

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Times and tokens differ from one run to the next.
_CHANGING = (
    (re.compile(r'("(?:timestamp|lastUpdatedAt|queuedAt|startedAt)" ?: )\d{10}\b'), r"\1<time>"),
    (re.compile(r'("clientToken" ?: )"[0-9A-Fa-f-]{36}"'), r'\1"<token>"'),
)
# A heading, or a fenced block: language and text.
_PART = re.compile(r"(?ms)^(#+) ([^\n]+)$|^```([^\n]*)\n(.*?)\n```$")


class Fence(NamedTuple):
    """A fenced block: the headings above it, the language it names, its text."""

    headings: tuple[str, ...]
    language: str
    text: str


class Step(NamedTuple):
    """Lines for the prompt, and the blocks that follow; None where the page has none."""

    headings: tuple[str, ...]
    lines: list[str]
    blocks: list[tuple[str, str]] | None


def fences(*headings: str) -> list[Fence]:
    """The fenced blocks below these headings, in order."""
    found = []
    for page in PAGES:
        path: list[str] = []
        for level, heading, language, text in _PART.findall(page.read_text(encoding="utf-8")):
            if heading:
                path = [*path[: len(level) - 1], heading]
            elif set(headings) <= set(path):
                found.append(Fence(tuple(path), language, text))
    return found


def shell(*headings: str) -> list[str]:
    """The shell commands below these headings."""
    return [fence.text for fence in fences(*headings) if fence.language == "sh"]


def steps(heading: str) -> list[Step]:
    """What is typed at the prompt below a heading, and the blocks that follow."""
    found = []
    there = fences(heading)
    for fence, after in zip(there, [*there[1:], Fence((), "", "")], strict=True):
        if fence.language == "jobs-sandbox":
            blocks = None
            if after.language == "text":
                blocks = [(title, mask(body)) for title, body in parse_blocks(f"{after.text}\n\n")]
            found.append(Step(fence.headings, fence.text.splitlines(), blocks))
    return found


def mask(text: str) -> str:
    """Text with times and tokens replaced, and nothing else."""
    for pattern, replacement in _CHANGING:
        text = pattern.sub(replacement, text)
    return text
